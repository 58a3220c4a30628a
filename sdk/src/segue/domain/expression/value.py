"""The values that an expression computes with, and how they compare.

Owns CEL's types in Python: int is `int`, uint is `UInt`, double is `float`, string is `str`, bytes is `bytes`,
list is `list`, map is `dict` (keys through `map_key`), null is `None`; instants and spans are `Timestamp` and
`Duration` in nanoseconds, since CEL resolves nanoseconds (Segue's own instants are microseconds).
"""

from __future__ import annotations

import math
from typing import Any, Final

NEVER: Final = (1 << 63) - 1
"""An instant that never comes: a value that does not flip."""

INT_MIN: Final = -(1 << 63)
INT_MAX: Final = (1 << 63) - 1
UINT_MAX: Final = (1 << 64) - 1
NANOS: Final = 1_000_000_000
TIMESTAMP_MIN: Final = -62_135_596_800 * NANOS
TIMESTAMP_MAX: Final = 253_402_300_799 * NANOS + 999_999_999
DURATION_MAX: Final = 315_576_000_000 * NANOS


class UInt(int):
    """An unsigned 64-bit integer; a type of its own, as `1` and `1u` differ in CEL."""

    __slots__ = ()


class Timestamp:
    """An instant, in nanoseconds since 1970-01-01T00:00:00Z."""

    __slots__ = ("nanos",)

    def __init__(self, nanos: int) -> None:
        self.nanos = nanos

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Timestamp) and self.nanos == other.nanos

    def __hash__(self) -> int:
        return hash(("timestamp", self.nanos))

    def __repr__(self) -> str:
        return f"Timestamp({self.nanos})"


class Duration:
    """A span of time, in nanoseconds."""

    __slots__ = ("nanos",)

    def __init__(self, nanos: int) -> None:
        self.nanos = nanos

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Duration) and self.nanos == other.nanos

    def __hash__(self) -> int:
        return hash(("duration", self.nanos))

    def __repr__(self) -> str:
        return f"Duration({self.nanos})"


class TypeValue:
    """A type as a value: what `type(x)` gives."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TypeValue) and self.name == other.name

    def __hash__(self) -> int:
        return hash(("type", self.name))

    def __repr__(self) -> str:
        return f"TypeValue({self.name})"


class _Flag:
    """A boolean as the key of a map: Python's `True == 1`, CEL's does not."""

    __slots__ = ("value",)

    def __init__(self, value: bool) -> None:
        self.value = value


_TRUE, _FALSE = _Flag(True), _Flag(False)

Value = Any
"""Any of the above."""

TYPE_NAMES: Final[dict[type, str]] = {
    type(None): "null_type",
    bool: "bool",
    int: "int",
    UInt: "uint",
    float: "double",
    str: "string",
    bytes: "bytes",
    list: "list",
    dict: "map",
    Timestamp: "google.protobuf.Timestamp",
    Duration: "google.protobuf.Duration",
    TypeValue: "type",
}
NUMBERS: Final = (int, UInt, float)


def map_key(key: Value) -> Any:
    """The dict key that stands for a CEL map key."""
    if key is True:
        return _TRUE
    if key is False:
        return _FALSE
    return key


def key_value(key: Any) -> Value:
    """The CEL map key that a dict key stands for."""
    return key.value if type(key) is _Flag else key


def equal(left: Value, right: Value) -> bool:
    """CEL equality: across numeric types by value, otherwise different types are unequal."""
    left_type, right_type = type(left), type(right)
    if left_type in NUMBERS and right_type in NUMBERS:
        return order(left, right) == 0
    if left_type is not right_type:
        return False
    if left_type is list:
        return len(left) == len(right) and all(equal(a, b) for a, b in zip(left, right, strict=True))
    if left_type is dict:
        return len(left) == len(right) and all(k in right and equal(v, right[k]) for k, v in left.items())
    return bool(left == right)


def order(left: Value, right: Value) -> int | None:
    """-1, 0, 1 as `left` sorts before, with or after `right`; 2 where a NaN takes part; None where unordered types."""
    left_type, right_type = type(left), type(right)
    if left_type in NUMBERS and right_type in NUMBERS:
        if (left_type is float and math.isnan(left)) or (right_type is float and math.isnan(right)):
            return 2
        if left_type is not right_type and float in (left_type, right_type):
            # As CEL does: a whole number meets a double as a double, even where that rounds.
            left, right = float(left), float(right)
        return int(left > right) - int(left < right)
    if left_type is not right_type:
        return None
    if left_type in (str, bytes, bool):
        return int(left > right) - int(left < right)
    if left_type in (Timestamp, Duration):
        return int(left.nanos > right.nanos) - int(left.nanos < right.nanos)
    return None
