"""Conversions between CEL's types, and the texts of instants and spans.

Owns `int()`, `uint()`, `double()`, `string()`, `bytes()`, `bool()`, `timestamp()`, `duration()`, `type()`, `dyn()`.
Durations take Segue's own grammar on top of CEL's: `d` and `w` are units too (semantics TI9).
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Final

from .failure import ExpressionError, no_overload
from .value import (
    DURATION_MAX,
    INT_MAX,
    INT_MIN,
    NANOS,
    TIMESTAMP_MAX,
    TIMESTAMP_MIN,
    TYPE_NAMES,
    UINT_MAX,
    Duration,
    Timestamp,
    TypeValue,
    UInt,
    Value,
)

_UNITS: Final[dict[str, int]] = {
    "ns": 1, "us": 1_000, "µs": 1_000, "ms": 1_000_000, "s": NANOS, "m": 60 * NANOS, "h": 3600 * NANOS,
    "d": 86_400 * NANOS, "w": 7 * 86_400 * NANOS,
}  # fmt: skip
_SPAN = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)(ns|us|µs|ms|s|m|h|d|w)")
_INSTANT = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt](\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?([Zz]|[+-](?:[01]\d|2[0-3]):[0-5]\d)",
    re.ASCII,
)
_DOUBLE = re.compile(r"\s*[+-]?(?:(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?|inf(?:inity)?|nan)\s*", re.ASCII | re.IGNORECASE)


def parse_duration(text: str) -> int:
    """Nanoseconds of a duration such as `90s`, `15m`, `1h30m`, `30d`, `2w`.

    Raises:
        ExpressionError: the text is no duration, or is out of range.
    """
    rest, sign = text, 1
    if rest[:1] in ("-", "+"):
        sign, rest = (-1 if rest[0] == "-" else 1), rest[1:]
    if rest == "0":
        return 0
    total, position = 0, 0
    while position < len(rest):
        match = _SPAN.match(rest, position)
        if match is None:
            raise ExpressionError(f'{text!r} is no duration: write for example "90s", "15m", "1h", "30d", "2w"')
        number, unit = match.groups()
        whole, _, fraction = number.partition(".")
        total += int(whole or "0") * _UNITS[unit]
        if fraction:
            total += int(fraction) * _UNITS[unit] // 10 ** len(fraction)
        position = match.end()
    if not rest:
        raise ExpressionError(f'{text!r} is no duration: write for example "90s", "15m", "1h", "30d", "2w"')
    return in_span(sign * total).nanos


def in_span(nanos: int) -> Duration:
    """A `Duration`, checked to be in CEL's range (10,000 years either way)."""
    if not -DURATION_MAX <= nanos <= DURATION_MAX:
        raise ExpressionError("duration out of range")
    return Duration(nanos)


def in_calendar(nanos: int) -> Timestamp:
    """A `Timestamp`, checked to be in CEL's range (years 1 to 9999)."""
    if not TIMESTAMP_MIN <= nanos <= TIMESTAMP_MAX:
        raise ExpressionError("timestamp out of range")
    return Timestamp(nanos)


def parse_timestamp(text: str) -> int:
    """Nanoseconds since 1970 of an RFC 3339 instant.

    Raises:
        ExpressionError: the text is no instant with a zone.
    """
    match = _INSTANT.fullmatch(text)
    if match is None:
        raise ExpressionError(f"{text!r} is no RFC 3339 instant")
    year, month, day, hour, minute, second = (int(part) for part in match.groups()[:6])
    fraction, zone = match.group(7), match.group(8)
    offset = timedelta(0)
    if zone not in "Zz":
        offset = timedelta(hours=int(zone[1:3]), minutes=int(zone[4:6])) * (-1 if zone[0] == "-" else 1)
    try:
        moment = datetime(year, month, day, hour, minute, second, tzinfo=UTC)
    except ValueError as error:
        raise ExpressionError(f"{text!r} is no RFC 3339 instant: {error}") from None
    seconds = (moment - datetime(1970, 1, 1, tzinfo=UTC)) - offset
    nanos = (seconds.days * 86_400 + seconds.seconds) * NANOS + int((fraction or "").ljust(9, "0"))
    return in_calendar(nanos).nanos


def timestamp_text(nanos: int) -> str:
    """The RFC 3339 text of an instant, with as few fraction digits (0, 3, 6, 9) as it needs."""
    seconds, fraction = divmod(nanos, NANOS)
    moment = datetime(1970, 1, 1) + timedelta(seconds=seconds)
    return f"{moment.year:04d}-{moment:%m-%dT%H:%M:%S}{_fraction(fraction)}Z"


def duration_text(nanos: int) -> str:
    """The text of a span in seconds: `90s`, `1.500s`."""
    sign, rest = ("-", -nanos) if nanos < 0 else ("", nanos)
    return f"{sign}{rest // NANOS}{_fraction(rest % NANOS)}s"


def _fraction(nanos: int) -> str:
    if not nanos:
        return ""
    digits = f"{nanos:09d}"
    while digits.endswith("000"):
        digits = digits[:-3]
    return "." + digits


def double_text(value: float) -> str:
    """The text of a double as CEL writes it: shortest that reads back, with an exponent from a million on."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "inf" if value > 0 else "-inf"
    text = repr(value)
    text = text[:-2] if text.endswith(".0") else text
    if abs(value) < 1e6 or "e" in text:
        return text
    digits = text.lstrip("-").replace(".", "")
    return f"{value:.{len(digits.rstrip('0')) - 1}e}"


def to_int(value: Value) -> int:
    kind = type(value)
    if kind is int:
        return int(value)
    if kind is UInt:
        result = int(value)
    elif kind is float:
        if not (math.isfinite(value) and INT_MIN < value < INT_MAX):
            raise ExpressionError("integer out of range")
        result = int(value)
    elif kind is str:
        if not re.fullmatch(r"[+-]?[0-9]+", value):
            raise ExpressionError(f"cannot convert {value!r} to int")
        result = int(value)
    elif kind is Timestamp:
        result = value.nanos // NANOS
    else:
        raise no_overload("int", value)
    if not INT_MIN <= result <= INT_MAX:
        raise ExpressionError("integer out of range")
    return result


def to_uint(value: Value) -> UInt:
    kind = type(value)
    if kind is UInt:
        return UInt(value)
    if kind is int:
        result = value
    elif kind is float:
        if not (math.isfinite(value) and 0 <= value < float(1 << 64)):
            raise ExpressionError("unsigned integer out of range")
        result = int(value)
    elif kind is str:
        if not re.fullmatch(r"\+?[0-9]+", value):
            raise ExpressionError(f"cannot convert {value!r} to uint")
        result = int(value)
    else:
        raise no_overload("uint", value)
    if not 0 <= result <= UINT_MAX:
        raise ExpressionError("unsigned integer out of range")
    return UInt(result)


def to_double(value: Value) -> float:
    if type(value) in (int, UInt, float):
        return float(value)
    if type(value) is str:
        if not _DOUBLE.fullmatch(value):
            raise ExpressionError(f"cannot convert {value!r} to double")
        return float(value)
    raise no_overload("double", value)


def to_string(value: Value) -> str:
    kind = type(value)
    if kind is str:
        return str(value)
    if kind is bool:
        return "true" if value else "false"
    if kind in (int, UInt):
        return str(int(value))
    if kind is float:
        return double_text(value)
    if kind is bytes:
        try:
            return bytes(value).decode("utf-8")
        except UnicodeDecodeError:
            raise ExpressionError("bytes are no UTF-8 text") from None
    if kind is Timestamp:
        return timestamp_text(value.nanos)
    if kind is Duration:
        return duration_text(value.nanos)
    raise no_overload("string", value)


def to_bytes(value: Value) -> bytes:
    if type(value) is bytes:
        return bytes(value)
    if type(value) is str:
        return value.encode("utf-8")
    raise no_overload("bytes", value)


_BOOLS: Final = {
    "1": True, "t": True, "T": True, "true": True, "TRUE": True, "True": True,
    "0": False, "f": False, "F": False, "false": False, "FALSE": False, "False": False,
}  # fmt: skip


def to_bool(value: Value) -> bool:
    if type(value) is bool:
        return value
    if type(value) is str and value in _BOOLS:
        return _BOOLS[value]
    if type(value) is str:
        raise ExpressionError(f"cannot convert {value!r} to bool")
    raise no_overload("bool", value)


def to_timestamp(value: Value) -> Timestamp:
    if type(value) is Timestamp:
        return value
    if type(value) is str:
        return Timestamp(parse_timestamp(value))
    if type(value) is int:
        return in_calendar(value * NANOS)
    raise no_overload("timestamp", value)


def to_duration(value: Value) -> Duration:
    if type(value) is Duration:
        return value
    if type(value) is str:
        return Duration(parse_duration(value))
    raise no_overload("duration", value)


def to_type(value: Value) -> TypeValue:
    name = TYPE_NAMES.get(type(value))
    if name is None:
        raise no_overload("type", value)
    return TypeValue(name)


def fixed_zone(text: str) -> timezone | None:
    """The zone of a fixed offset such as `+05:30`, or None where the text names a zone."""
    match = re.fullmatch(r"([+-]?)([01]\d|2[0-3]):([0-5]\d)", text, re.ASCII)
    if match is None:
        return None
    offset = timedelta(hours=int(match.group(2)), minutes=int(match.group(3)))
    return timezone(-offset if match.group(1) == "-" else offset)


CONVERSIONS: Final[dict[str, Callable[[Value], Value]]] = {
    "int": to_int,
    "uint": to_uint,
    "double": to_double,
    "string": to_string,
    "bytes": to_bytes,
    "bool": to_bool,
    "timestamp": to_timestamp,
    "duration": to_duration,
    "type": to_type,
    "dyn": lambda value: value,
}
