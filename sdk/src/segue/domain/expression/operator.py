"""Operators and standard functions of CEL on plain values.

Owns arithmetic with overflow, comparison, text, membership, size and indexing. Time that moves is not here: see
`moving`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

from .calendar import CALENDAR, part
from .conversion import CONVERSIONS, in_calendar, in_span
from .failure import ExpressionError, no_overload
from .value import INT_MAX, INT_MIN, UINT_MAX, Duration, Timestamp, UInt, Value, equal, map_key, order

_KEYS: Final = frozenset({int, UInt, float, bool, str})


def _int(value: int) -> int:
    if not INT_MIN <= value <= INT_MAX:
        raise ExpressionError("integer overflow")
    return value


def _uint(value: int) -> UInt:
    if not 0 <= value <= UINT_MAX:
        raise ExpressionError("unsigned integer overflow")
    return UInt(value)


def add(left: Value, right: Value) -> Value:
    kind, other = type(left), type(right)
    if kind is other:
        if kind is int:
            return _int(left + right)
        if kind is UInt:
            return _uint(int(left) + int(right))
        if kind in (float, str, bytes, list):
            return left + right
        if kind is Duration:
            return in_span(left.nanos + right.nanos)
    if kind is Timestamp and other is Duration:
        return in_calendar(left.nanos + right.nanos)
    if kind is Duration and other is Timestamp:
        return in_calendar(left.nanos + right.nanos)
    raise no_overload("_+_", left, right)


def subtract(left: Value, right: Value) -> Value:
    kind, other = type(left), type(right)
    if kind is other:
        if kind is int:
            return _int(left - right)
        if kind is UInt:
            return _uint(int(left) - int(right))
        if kind is float:
            return left - right
        if kind in (Duration, Timestamp):
            return in_span(left.nanos - right.nanos)
    if kind is Timestamp and other is Duration:
        return in_calendar(left.nanos - right.nanos)
    raise no_overload("_-_", left, right)


def multiply(left: Value, right: Value) -> Value:
    kind = type(left)
    if kind is type(right):
        if kind is int:
            return _int(left * right)
        if kind is UInt:
            return _uint(int(left) * int(right))
        if kind is float:
            return left * right
    raise no_overload("_*_", left, right)


def divide(left: Value, right: Value) -> Value:
    kind = type(left)
    if kind is type(right):
        if kind in (int, UInt):
            if right == 0:
                raise ExpressionError("division by zero")
            quotient = abs(int(left)) // abs(int(right))
            if kind is UInt:
                return UInt(quotient)
            return _int(quotient if (left < 0) == (right < 0) else -quotient)
        if kind is float:
            if right == 0:
                if left == 0 or math.isnan(left):
                    return math.nan
                return math.copysign(math.inf, left) * math.copysign(1.0, right)
            return left / right
    raise no_overload("_/_", left, right)


def modulo(left: Value, right: Value) -> Value:
    kind = type(left)
    if kind is type(right) and kind in (int, UInt):
        if right == 0:
            raise ExpressionError("modulus by zero")
        if kind is int and left == INT_MIN and right == -1:
            raise ExpressionError("integer overflow")
        rest = abs(int(left)) % abs(int(right))
        return UInt(rest) if kind is UInt else (-rest if left < 0 else rest)
    raise no_overload("_%_", left, right)


def negate(value: Value) -> Value:
    if type(value) is int:
        return _int(-value)
    if type(value) is float:
        return -value
    raise no_overload("-_", value)


def negation(value: Value) -> bool:
    if type(value) is bool:
        return not value
    raise no_overload("!_", value)


def _comparison(name: str, accepted: frozenset[int]) -> Callable[[Value, Value], bool]:
    def compare(left: Value, right: Value) -> bool:
        sign = order(left, right)
        if sign is None:
            raise no_overload(name, left, right)
        return sign in accepted

    return compare


def member(item: Value, container: Value) -> bool:
    if type(container) is list:
        return any(equal(item, other) for other in container)
    if type(container) is dict and type(item) in _KEYS:
        return _find(container, item) is not None
    raise no_overload("@in", item, container)


def _find(container: dict[Value, Value], key: Value) -> tuple[Value] | None:
    kind = type(key)
    if kind is float:
        if not key.is_integer():
            return None
        key = int(key)
    elif kind not in (int, UInt, bool, str):
        return None
    key = map_key(key)
    return (container[key],) if key in container else None


def index(container: Value, key: Value) -> Value:
    if type(container) is list:
        if type(key) is float and key.is_integer():
            key = int(key)
        if type(key) not in (int, UInt):
            raise no_overload("_[_]", container, key)
        if not 0 <= key < len(container):
            raise ExpressionError(f"index out of bounds: {int(key)}")
        return container[key]
    if type(container) is dict:
        found = _find(container, key)
        if found is None:
            raise ExpressionError(f"no such key: {key!r}")
        return found[0]
    raise no_overload("_[_]", container, key)


def select(container: Value, field: str) -> Value:
    if type(container) is dict:
        if field in container:
            return container[field]
        raise ExpressionError(f"no such key: {field!r}")
    raise ExpressionError(f"{type(container).__name__} has no fields (asked for {field!r})")


def has(container: Value, field: str) -> bool:
    if type(container) is dict:
        return field in container
    raise ExpressionError(f"{type(container).__name__} has no fields (asked for {field!r})")


def size(value: Value) -> int:
    if type(value) in (str, bytes, list, dict):
        return len(value)
    raise no_overload("size", value)


def _text(name: str, function: Callable[[str, str], bool]) -> Callable[[Value, Value], bool]:
    def apply(text: Value, part_: Value) -> bool:
        if type(text) is str and type(part_) is str:
            return function(text, part_)
        raise no_overload(name, text, part_)

    return apply


def _calendar(name: str) -> Callable[..., int]:
    def apply(value: Value, zone_name: Value = "") -> int:
        if type(zone_name) is not str:
            raise no_overload(name, value, zone_name)
        return part(name, value, zone_name)

    return apply


FUNCTIONS: Final[dict[str, Callable[..., Value]]] = {
    "_+_": add,
    "_-_": subtract,
    "_*_": multiply,
    "_/_": divide,
    "_%_": modulo,
    "-_": negate,
    "!_": negation,
    "_==_": equal,
    "_!=_": lambda left, right: not equal(left, right),
    "_<_": _comparison("_<_", frozenset({-1})),
    "_<=_": _comparison("_<=_", frozenset({-1, 0})),
    "_>_": _comparison("_>_", frozenset({1})),
    "_>=_": _comparison("_>=_", frozenset({0, 1})),
    "@in": member,
    "_in_": member,
    "_[_]": index,
    "size": size,
    "startsWith": _text("startsWith", str.startswith),
    "endsWith": _text("endsWith", str.endswith),
    "contains": _text("contains", lambda text, part_: part_ in text),
    **CONVERSIONS,
    **{name: _calendar(name) for name in CALENDAR},
}
"""Every standard function by its name in a checked tree; a member call passes its target first."""
