"""Values of a row, as a mapping describes them.

Owns how a column, a template or an expression becomes a value, and what a row expression is asked about. Readers are
made once per mapping; one that can only say the same thing is a constant, one column alone is a mere look-up.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, Final

from segue.domain.expression import Compiled, ExpressionError, Node, compile_tree
from segue.domain.expression.value import Timestamp

from .moment import clock_of
from .reader import Row

Spec = Mapping[str, Any] | str
_FIELD: Final = re.compile(r"\{([^{}]+)\}")


class Rejected(ValueError):
    """A row that cannot become a fact: why, and what to do."""

    def __init__(self, cause: str, cure: str) -> None:
        super().__init__(cause)
        self.cure = cure


class RowScope:
    """What row expressions are asked about: the columns that are not null."""

    __slots__ = ("at", "flips", "locals", "row")

    def __init__(self, row: Row) -> None:
        self.row = row
        self.at = 0
        self.locals: dict[str, Any] = {}
        self.flips: dict[str, int] = {}


class _RowBindings:
    def variable(self, name: str) -> Node | None:
        return Node(lambda env: env.row) if name == "row" else None  # type: ignore[attr-defined]

    def function(self, name: str, arguments: list[Node]) -> Node | None:
        return None


def compiled(expression: Mapping[str, Any]) -> Compiled:
    """A checked row expression, ready to be asked: `holds(scope)` is false where a column is missing."""
    return compile_tree(expression["tree"], _RowBindings())


def as_text(value: Any) -> str:
    """A value as a column of text has it: `5` for 5.0, `true` for True."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


_AS: Final[dict[str, Callable[[str], Any]]] = {
    "string": str,
    "int": int,
    "double": float,
    "bool": lambda text: {"true": True, "false": False, "1": True, "0": False, "yes": True, "no": False}[text.lower()],
    "json": json.loads,
}
_NORMAL: Final[dict[str, Callable[[str], str]]] = {
    "lower": str.lower,
    "slug": lru_cache(4096)(lambda text: re.sub(r"[^a-z0-9.]+", "_", text.lower()).strip("_")),
    "hash": lru_cache(4096)(lambda text: hashlib.sha256(text.encode()).hexdigest()[:16]),
}

Reader = Callable[[RowScope], Any]
"""Reads one value of a row; None where the row has none."""


def value_of(spec: Spec) -> Reader:
    """A reader of one value; None where the row has none.

    Raises (when read):
        Rejected: the value is not of the type asked for.
    """
    if isinstance(spec, str):
        return lambda scope: spec
    read = _source_of(spec)
    nulls = frozenset(spec.get("nulls", ()))
    replace, normalise, kind = spec.get("replace", {}), _NORMAL.get(spec.get("normalise", "")), spec.get("as")
    if not (nulls or replace or normalise or kind):
        return read

    def value(scope: RowScope) -> Any:
        found = read(scope)
        if found is None or (nulls and as_text(found) in nulls):
            return None
        if replace:
            found = replace.get(as_text(found), found)
        if normalise is not None:
            found = normalise(as_text(found))
        if kind is not None:
            try:
                found = _AS[kind](as_text(found))
            except (ValueError, KeyError):
                named = spec.get("column") or spec.get("template") or "the expression"
                cure = f"Correct it, or do not read it as {kind}"
                raise Rejected(f"{named}: {as_text(found)!r} is no {kind}", cure) from None
        return found

    return value


def _source_of(spec: Mapping[str, Any]) -> Reader:
    if "column" in spec:
        column = spec["column"]
        return lambda scope: scope.row.get(column)
    if "template" in spec:
        return template_reader(spec["template"])
    if "expression" in spec:
        expression = compiled(spec["expression"])

        def evaluate(scope: RowScope) -> Any:
            try:
                found = expression.value(scope)
            except ExpressionError:
                return None
            return found.nanos // 1000 if isinstance(found, Timestamp) else found

        return evaluate
    constant = spec.get("constant")
    return lambda scope: constant


def fields_of(template: str) -> list[str]:
    """The columns that a template names."""
    return _FIELD.findall(template)


def template_reader(template: str) -> Callable[[RowScope], str | None]:
    """A reader of a text with `{column}` in it; None where one of them is null."""
    parts = _FIELD.split(template)
    words, names = parts[::2], parts[1::2]
    pairs = list(zip(names, words[1:], strict=True))

    def read(scope: RowScope) -> str | None:
        row, text = scope.row, words[0]
        for name, word in pairs:
            value = row.get(name)
            if value is None:
                return None
            text += (value if type(value) is str else as_text(value)) + word
        return text

    return read


def text_of(spec: Spec) -> Callable[[RowScope], str]:
    """A reader of one text; empty where the row has none."""
    if isinstance(spec, str):
        return lambda scope: spec
    read = value_of(spec)

    def text(scope: RowScope) -> str:
        found = read(scope)
        return "" if found is None else as_text(found)

    return text


def moment_of(spec: Mapping[str, Any], default_zone: str) -> Callable[[RowScope], int | None]:
    """A reader of one instant in microseconds; None where the row has none.

    `rolls_over` names an earlier moment: a clock time more than twelve hours before it belongs to the next day.

    Raises (when read):
        Rejected: the text is no time of that format.
    """
    read = _source_of(spec)
    nulls = frozenset(spec.get("nulls", ()))
    zone = spec.get("zone") or default_zone or "UTC"
    clock = clock_of(spec.get("format", ""), spec.get("unit", ""), zone)
    earlier = moment_of(spec["rolls_over"], zone) if "rolls_over" in spec else None
    named = spec.get("column") or spec.get("template")

    def moment(scope: RowScope) -> int | None:
        found = read(scope)
        if found is None:
            return None
        text = found if type(found) is str else str(found)
        if nulls and text in nulls:
            return None
        before = earlier(scope) if earlier is not None else None
        try:
            return clock.instant(text) if before is None else clock.not_before(text, before)
        except ValueError:
            shape = spec.get("format") or ("a number" if spec.get("unit") else "RFC 3339, e.g. 2026-05-04T10:42:00Z")
            raise Rejected(f"{named}: {text!r} is no time", f"Write it as {shape}, or set `format`") from None

    return moment
