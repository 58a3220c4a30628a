"""Mappings: how the rows of one sort of file become facts.

Owns the mapping's shape (published in the same JSON Schema as plans) and the compiled form. One row may become several
facts; ids come from source and native id (FA1), so that importing twice, or a re-sorted file, adds nothing.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from segue.domain.fact import CONSENT, EVENT, SUBSCRIPTION, TRAIT, Fact, check, derived_id, properties_bytes
from segue.domain.identifier import Identifier
from segue.domain.interaction import InteractionRef
from segue.errors import FactError, InputError

from ..checking.expression import ExpressionFlawed, check_row_expression
from ..checking.problem import Problem
from ..checking.shape import Shape
from ..checking.yaml_text import YamlBroken, read_yaml
from .reader import BrokenRow, Row
from .value import Rejected, compiled, holds, moment_of, text_of, value_of

_KINDS = {"event": EVENT, "trait": TRAIT, "consent": CONSENT, "subscription": SUBSCRIPTION}
FACTS_PER_ROW = 64


class MappingInvalid(InputError):
    """A mapping that cannot be used; `problems` say why, with places."""

    code = "MAPPING_INVALID"

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems


@dataclass(frozen=True, slots=True)
class Reject:
    """A row, or a fact of it, that was not taken: why, and what to do."""

    row: int
    reason: str
    cure: str


@dataclass(slots=True)
class Outcome:
    """What became of a row."""

    facts: list[Fact] = field(default_factory=list)
    skipped: str = ""
    reject: Reject | None = None


def load_mapping(path: Path) -> Mapping[str, Any]:
    """Reads and checks a mapping file.

    Raises:
        MappingInvalid: with file, line, column, cause and cure.
    """
    file = path.name
    try:
        text = read_yaml(path.read_text(encoding="utf-8"))
    except YamlBroken as error:
        raise MappingInvalid([
            Problem(file=file, line=error.line, column=error.column, field="mapping", message=f"no YAML: {error}")
        ]) from None  # fmt: skip
    shape = Shape(file, text, "")
    shape.hold("mapping")
    problems = list(shape.problems)
    for expression in shape.expressions:
        try:
            tree = check_row_expression(expression.source, expression.result)
        except ExpressionFlawed as error:
            names = ".".join(str(part) for part in expression.path)
            problems += [
                Problem(file=file, line=expression.place.line, column=expression.place.column + flaw.column,
                        field=names, message=flaw.message, cure=flaw.cure)
                for flaw in error.flaws
            ]  # fmt: skip
            continue
        holder: Any = text.value
        for part in expression.path[:-1]:
            holder = holder[part]
        holder[expression.path[-1]] = {"source": expression.source, "tree": tree}
    if not problems:
        for index, template in enumerate(text.value["facts"]):
            sorts = [sort for sort in _KINDS if sort in template]
            if len(sorts) != 1 or (sorts != ["event"] and "value" not in template):
                place = text.places["facts", index]
                problems.append(
                    Problem(file=file, line=place.line, column=place.column, field=f"facts.{index}",
                            message=f"says {len(sorts)} sorts of fact",
                            cure="Give one of event, trait, consent, subscription; all but event with a value")
                )  # fmt: skip
    if problems:
        raise MappingInvalid(problems)
    return dict(text.value)


class Mapper:
    """A compiled mapping.

    Args:
        mapping: as `load_mapping` gives it.
    """

    def __init__(self, mapping: Mapping[str, Any]) -> None:
        self.source: str = mapping["source"]
        self.reads: Mapping[str, str] = mapping.get("reads", {})
        self.digest = hashlib.sha256(json.dumps(mapping, sort_keys=True).encode()).hexdigest()[:16]
        self._nulls = frozenset(mapping.get("nulls", ("",)))
        self._native: list[str] = mapping["native_id"]
        self._seq: str = mapping.get("seq", {}).get("column", "")
        self._skip = [(compiled(entry["when"]), entry["reason"]) for entry in mapping.get("skip", ())]
        self._templates = [_Template(template, index, mapping) for index, template in enumerate(mapping["facts"])]

    def outcome(self, number: int, row: Row | BrokenRow) -> Outcome:
        """What becomes of a row."""
        if isinstance(row, BrokenRow):
            return Outcome(reject=Reject(number, row.cause, "Correct the line"))
        for condition, reason in self._skip:
            if holds(condition, row):
                return Outcome(skipped=reason)
        nulls = self._nulls
        row = {name: None if isinstance(value, str) and value in nulls else value for name, value in row.items()}
        missing = [name for name in self._native if name not in row]
        if missing:
            return Outcome(reject=Reject(number, f"no column {missing[0]!r}", "Correct native_id in the mapping"))
        native = "\x1f".join("" if row[name] is None else str(row[name]) for name in self._native)
        try:
            seq = int(row[self._seq]) if self._seq else number
        except (KeyError, TypeError, ValueError):
            return Outcome(reject=Reject(number, f"{self._seq}: is no whole number", "Correct seq in the mapping"))
        outcome = Outcome()
        for template in self._templates:
            try:
                fact = template.fact(row, self.source, native, seq)
                if fact is not None:
                    check(fact)
                    outcome.facts.append(fact)
            except Rejected as error:
                return Outcome(reject=Reject(number, str(error), error.cure))
            except FactError as error:
                return Outcome(reject=Reject(number, str(error), error.cure))
        if not outcome.facts:
            outcome.skipped = "nothing to say: no fact applies"
        return outcome


class _Template:
    """One fact that a row may become."""

    def __init__(self, template: Mapping[str, Any], index: int, mapping: Mapping[str, Any]) -> None:
        sort = next(sort for sort in _KINDS if sort in template)
        self._kind = _KINDS[sort]
        self._index = index
        self._type = text_of(template[sort])
        self._when = compiled(template["when"]) if "when" in template else None
        self._at = moment_of(template["at"], mapping.get("zone", "UTC"))
        self._channel = text_of(template.get("channel", ""))
        names = template.get("identifiers") or mapping.get("identifiers") or {}
        self._identifiers = [(kind, text_of(spec)) for kind, spec in names.items()]
        self._properties = [(name, value_of(spec)) for name, spec in template.get("properties", {}).items()]
        self._value: Callable[[Row], Any] | None = value_of(template["value"]) if "value" in template else None
        interaction = template.get("interaction") or mapping.get("interaction")
        self._interaction = (
            (text_of(interaction["id"]), interaction.get("direction", ""), text_of(interaction.get("outcome", "")))
            if interaction
            else None
        )

    def fact(self, row: Row, source: str, native: str, seq: int) -> Fact | None:
        if self._when is not None and not holds(self._when, row):
            return None
        type_ = self._type(row)
        value = self._value(row) if self._value is not None else None
        if not type_ or (self._value is not None and value is None):
            return None
        at = self._at(row)
        if at is None:
            raise Rejected(f"{type_}: has no time", "Fill the column, or say `when` the fact applies")
        identifiers = tuple(Identifier(kind, text) for kind, read in self._identifiers if (text := read(row)))
        if not identifiers:
            raise Rejected(f"{type_}: names nobody", "Fill an identifier, or skip such rows with a reason")
        return Fact(
            derived_id(at, source, f"{native}\x1e{self._index}"), self._kind, type_, at,
            seq * FACTS_PER_ROW + self._index, identifiers, self._channel(row), "", self._reference(row),
            properties_bytes(self._details(row, value)),
        )  # fmt: skip

    def _reference(self, row: Row) -> InteractionRef | None:
        if self._interaction is None:
            return None
        read, direction, outcome = self._interaction
        id_ = read(row)
        return InteractionRef(id_, direction, outcome(row)) if id_ else None

    def _details(self, row: Row, value: Any) -> dict[str, Any]:
        if self._kind == TRAIT:
            return {"value": value, "source": ""}
        if self._kind in (CONSENT, SUBSCRIPTION):
            return {"state": value}
        read = ((name, found(row)) for name, found in self._properties)
        return {name: found for name, found in read if found is not None}


@dataclass(slots=True)
class Tally:
    """Every row explained."""

    rows: int = 0
    kept: int = 0
    facts: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    rejected: Counter[str] = field(default_factory=Counter)
    results: Counter[str] = field(default_factory=Counter)

    def plain(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "rows": self.rows, "kept": self.kept, "facts": self.facts, "skipped": dict(self.skipped),
            "rejected_rows": sum(self.rejected.values()), "results": dict(self.results),
        }  # fmt: skip
