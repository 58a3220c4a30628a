"""Values and times of a row, as a mapping describes them.

Owns how a column, a template or an expression becomes a value, and how local times become instants.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

from segue.domain.expression import Compiled, ExpressionError, Node, compile_tree
from segue.domain.expression.value import Timestamp
from segue.domain.instant import SECOND, from_datetime, parse_instant

from .reader import Row

Spec = Mapping[str, Any] | str
_FIELD = re.compile(r"\{([^{}]+)\}")
_DAY: Final = 86_400 * SECOND


class Rejected(ValueError):
    """A row that cannot become a fact: why, and what to do."""

    def __init__(self, cause: str, cure: str) -> None:
        super().__init__(cause)
        self.cure = cure


class _RowScope:
    """What a row expression is asked about."""

    __slots__ = ("at", "flips", "locals", "row")

    def __init__(self, row: Row) -> None:
        self.row = {name: value for name, value in row.items() if value is not None}
        self.at = 0
        self.locals: dict[str, Any] = {}
        self.flips: dict[str, int] = {}


class _RowBindings:
    def variable(self, name: str) -> Node | None:
        return Node(lambda env: env.row) if name == "row" else None  # type: ignore[attr-defined]

    def function(self, name: str, arguments: list[Node]) -> Node | None:
        return None


def compiled(expression: Mapping[str, Any]) -> Compiled:
    """A checked row expression, ready to be asked."""
    return compile_tree(expression["tree"], _RowBindings())


def holds(expression: Compiled, row: Row) -> bool:
    """Whether it is true of a row; a missing column makes it false."""
    return expression.holds(_RowScope(row))


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def _template(template: str, row: Row) -> str | None:
    names = _FIELD.findall(template)
    if any(row.get(name) is None for name in names):
        return None
    return _FIELD.sub(lambda match: _text(row[match.group(1)]), template)


_AS: Final[dict[str, Callable[[str], Any]]] = {
    "string": str,
    "int": int,
    "double": float,
    "bool": lambda text: {"true": True, "false": False, "1": True, "0": False, "yes": True, "no": False}[text.lower()],
    "json": json.loads,
}
_NORMAL: Final[dict[str, Callable[[str], str]]] = {
    "lower": str.lower,
    "slug": lambda text: re.sub(r"[^a-z0-9.]+", "_", text.lower()).strip("_"),
    "hash": lambda text: hashlib.sha256(text.encode()).hexdigest()[:16],
}


def value_of(spec: Spec) -> Callable[[Row], Any]:
    """A reader of one value; None where the row has none.

    Raises (when read):
        Rejected: the value is not of the type asked for.
    """
    if isinstance(spec, str):
        return lambda row: spec
    read = _source_of(spec)
    nulls = frozenset(spec.get("nulls", ()))
    replace, normalise, kind = spec.get("replace", {}), _NORMAL.get(spec.get("normalise", "")), spec.get("as")

    def value(row: Row) -> Any:
        found = read(row)
        if found is None or (isinstance(found, str) and found in nulls):
            return None
        if replace:
            found = replace.get(_text(found), found)
        if normalise is not None:
            found = normalise(_text(found))
        if kind is not None:
            try:
                found = _AS[kind](_text(found))
            except (ValueError, KeyError):
                raise Rejected(f"{_text(found)!r} is no {kind}", f"Correct column {spec.get('column', '')!r}") from None
        return found

    return value


def _source_of(spec: Mapping[str, Any]) -> Callable[[Row], Any]:
    if "column" in spec:
        column = spec["column"]
        return lambda row: row.get(column)
    if "template" in spec:
        template = spec["template"]
        return lambda row: _template(template, row)
    if "expression" in spec:
        expression = compiled(spec["expression"])

        def evaluate(row: Row) -> Any:
            try:
                found = expression.value(_RowScope(row))
            except ExpressionError:
                return None
            return found.nanos // 1000 if isinstance(found, Timestamp) else found

        return evaluate
    constant = spec.get("constant")
    return lambda row: constant


def text_of(spec: Spec) -> Callable[[Row], str]:
    """A reader of one text; empty where the row has none."""
    read = value_of(spec)

    def text(row: Row) -> str:
        found = read(row)
        return "" if found is None else _text(found)

    return text


def moment_of(spec: Mapping[str, Any], default_zone: str) -> Callable[[Row], int | None]:
    """A reader of one instant in microseconds; None where the row has none.

    `rolls_over` names an earlier moment: a clock time more than twelve hours before it belongs to the next day.

    Raises (when read):
        Rejected: the text is no time of that format.
    """
    read = _source_of(spec)
    nulls = frozenset(spec.get("nulls", ()))
    form, unit = spec.get("format"), {"s": SECOND, "ms": 1000, "us": 1}.get(spec.get("unit", ""))
    zone = ZoneInfo(spec.get("zone") or default_zone or "UTC")
    earlier = moment_of(spec["rolls_over"], default_zone) if "rolls_over" in spec else None
    column = spec.get("column") or spec.get("template")

    def moment(row: Row) -> int | None:
        found = read(row)
        if found is None or (isinstance(found, str) and found in nulls):
            return None
        try:
            at = _instant(found, form, unit, zone)
        except ValueError:
            shape = form or "RFC 3339, e.g. 2026-05-04T10:42:00Z"
            raise Rejected(f"{column}: {_text(found)!r} is no time", f"Write it as {shape}, or set `format`") from None
        before = earlier(row) if earlier is not None else None
        return at + _DAY if before is not None and at < before - _DAY // 2 else at

    return moment


def _instant(found: Any, form: str | None, unit: int | None, zone: ZoneInfo) -> int:
    if unit is not None:
        return int(float(found) * unit)
    if isinstance(found, datetime):
        return from_datetime(found if found.tzinfo else found.replace(tzinfo=zone))
    if form is not None:
        parsed = _parsed(str(found), form)
        return from_datetime(parsed if parsed.tzinfo else parsed.replace(tzinfo=zone))
    try:
        return parse_instant(str(found))
    except ValueError:
        parsed = datetime.fromisoformat(str(found))
        return from_datetime(parsed if parsed.tzinfo else parsed.replace(tzinfo=zone))


def _parsed(text: str, form: str) -> datetime:
    return datetime.strptime(text, form)  # the caller adds the zone
