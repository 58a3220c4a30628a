"""Mappings: how the rows of one sort of file become facts.

Owns the compiled form of a mapping and what becomes of a row. One row may become several
facts; ids come from source and native id (FA1), so that importing twice, or a re-sorted file, adds nothing.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from segue.domain.fact import CONSENT, EVENT, SUBSCRIPTION, TRAIT, Fact, check, derived_id, properties_bytes
from segue.domain.identifier import Identifier
from segue.domain.interaction import InteractionRef
from segue.domain.vocabulary import did_you_mean
from segue.errors import FactError

from .mapping_check import FACTS_PER_ROW
from .reader import BrokenRow, Row
from .value import Rejected, RowScope, as_text, compiled, moment_of, text_of, value_of

_KINDS = {"event": EVENT, "trait": TRAIT, "consent": CONSENT, "subscription": SUBSCRIPTION}
REASONS = 1000
OTHER_REASONS = "other reasons: see the rejects file"


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
        self._who = _who_reader(mapping.get("identifiers") or {})
        self._reference = _reference_reader(mapping.get("interaction"))
        self._templates = [_Template(template, index, mapping) for index, template in enumerate(mapping["facts"])]

    def outcome(self, number: int, row: Row | BrokenRow) -> Outcome:
        """What becomes of a row."""
        if isinstance(row, BrokenRow):
            return Outcome(reject=Reject(number, row.cause, "Correct the line"))
        if self._skip:
            scope = RowScope(_without_none(row))
            for condition, reason in self._skip:
                if condition.holds(scope):
                    return Outcome(skipped=reason)
        for name in self._native:
            if name not in row:
                return Outcome(reject=Reject(number, f"no column {name!r}", _nearest_cure(name, row)))
        nulls = self._nulls
        scope = RowScope({
            name: value for name, value in row.items()
            if value is not None and (value if type(value) is str else as_text(value)) not in nulls
        })  # fmt: skip
        present = scope.row
        native = "\x1f".join([as_text(present.get(name, "")) for name in self._native])
        try:
            seq = int(present[self._seq]) if self._seq else number
            if not 0 <= seq < 1 << 56:
                raise ValueError
        except (KeyError, TypeError, ValueError):
            return Outcome(reject=Reject(number, f"{self._seq}: is no whole number", "Correct seq in the mapping"))
        outcome = Outcome()
        try:
            common: _Common | None = None
            for template in self._templates:
                if template.when is None or template.when.holds(scope):
                    common = common or _Common(self.source, native, seq, self._who(scope), self._reference(scope))
                    fact = template.fact(scope, common)
                    if fact is not None:
                        check(fact)
                        outcome.facts.append(fact)
        except (Rejected, FactError) as error:
            return Outcome(reject=Reject(number, str(error), error.cure))
        if not outcome.facts:
            outcome.skipped = "nothing to say: no fact applies"
        return outcome


def _without_none(row: Row) -> Row:
    if None not in row.values():
        return row
    return {name: value for name, value in row.items() if value is not None}


def _nearest_cure(name: str, row: Row) -> str:
    return f"{did_you_mean(name, row)} Correct native_id in the mapping".strip()


class _Common(NamedTuple):
    """What all facts of one row share, unless a fact says its own."""

    source: str
    native: str
    seq: int
    identifiers: tuple[Identifier, ...]
    reference: InteractionRef | None


def _who_reader(names: Mapping[str, Any]) -> Callable[[RowScope], tuple[Identifier, ...]]:
    readers = [(kind, text_of(spec)) for kind, spec in names.items()]
    return lambda scope: tuple([Identifier(kind, text) for kind, read in readers if (text := read(scope))])


def _reference_reader(interaction: Mapping[str, Any] | None) -> Callable[[RowScope], InteractionRef | None]:
    if not interaction:
        return lambda scope: None
    name, direction = text_of(interaction["id"]), interaction.get("direction", "")
    outcome = text_of(interaction.get("outcome", ""))

    def reference(scope: RowScope) -> InteractionRef | None:
        id_ = name(scope)
        return InteractionRef(id_, direction, outcome(scope)) if id_ else None

    return reference


class _Template:
    """One fact that a row may become, `when` it applies."""

    def __init__(self, template: Mapping[str, Any], index: int, mapping: Mapping[str, Any]) -> None:
        sort = next(sort for sort in _KINDS if sort in template)
        self._kind = _KINDS[sort]
        self._index = index
        self._type = text_of(template[sort])
        self.when = compiled(template["when"]) if "when" in template else None
        self._at = moment_of(template["at"], mapping.get("zone", "UTC"))
        self._channel = text_of(template.get("channel", ""))
        self._who = _who_reader(template["identifiers"]) if template.get("identifiers") else None
        self._reference = _reference_reader(template["interaction"]) if template.get("interaction") else None
        self._properties = [(name, value_of(spec)) for name, spec in template.get("properties", {}).items()]
        self._value: Callable[[RowScope], Any] | None = value_of(template["value"]) if "value" in template else None

    def fact(self, scope: RowScope, common: _Common) -> Fact | None:
        type_ = self._type(scope)
        value = self._value(scope) if self._value is not None else None
        if not type_ or (self._value is not None and value is None):
            return None
        at = self._at(scope)
        if at is None:
            raise Rejected(f"{type_}: has no time", "Fill the column, or say `when` the fact applies")
        identifiers = common.identifiers if self._who is None else self._who(scope)
        if not identifiers:
            raise Rejected(f"{type_}: names nobody", "Fill an identifier, or skip such rows with a reason")
        return Fact(
            derived_id(at, common.source, f"{common.native}\x1e{self._index}"), self._kind, type_, at,
            common.seq * FACTS_PER_ROW + self._index, identifiers, self._channel(scope), "",
            common.reference if self._reference is None else self._reference(scope),
            properties_bytes(self._details(scope, value)),
        )  # fmt: skip

    def _details(self, scope: RowScope, value: Any) -> dict[str, Any]:
        if self._kind == TRAIT:
            return {"value": value, "source": ""}
        if self._kind in (CONSENT, SUBSCRIPTION):
            return {"state": value}
        return {name: found for name, read in self._properties if (found := read(scope)) is not None}


@dataclass(slots=True)
class Tally:
    """Every row explained: `rows` are those kept, skipped and rejected, each counted once, by its first reason."""

    rows: int = 0
    kept: int = 0
    facts: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    rejected: Counter[str] = field(default_factory=Counter)
    results: Counter[str] = field(default_factory=Counter)

    def count(self, outcome: Outcome) -> None:
        """Counts what the mapping made of a row."""
        self.rows += 1
        if outcome.reject is not None:
            self.reject(outcome.reject)
        elif outcome.skipped:
            self.skipped[outcome.skipped] += 1
        else:
            self.kept += 1
            self.facts += len(outcome.facts)

    def reject(self, reject: Reject) -> None:
        """Counts a rejected row; beyond a thousand different reasons the rest is one."""
        reason = reject.reason if reject.reason in self.rejected or len(self.rejected) < REASONS else OTHER_REASONS
        self.rejected[reason] += 1

    def plain(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "rows": self.rows, "kept": self.kept, "facts": self.facts, "skipped": dict(self.skipped),
            "rejected": dict(self.rejected), "rejected_rows": sum(self.rejected.values()),
            "results": dict(self.results),
        }  # fmt: skip
