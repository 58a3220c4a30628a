"""Taking an instant apart in a zone: `getHours("Europe/Berlin")` and the like.

Owns the calendar functions of CEL and, for a moving instant, the first later instant at which their answer may
differ. Zone data is that of the pinned `tzdata`.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache
from importlib.util import find_spec
from io import BytesIO
from pathlib import PurePath
from typing import Any, Final
from zoneinfo import ZoneInfo

from .conversion import fixed_zone
from .failure import ExpressionError, no_overload
from .value import NANOS, Duration, Timestamp, Value

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_HOUR = 3600 * NANOS


@lru_cache(maxsize=512)
def zone(name: str) -> tzinfo:
    """The zone of an IANA name, a fixed offset, or UTC for the empty text.

    Raises:
        ExpressionError: no such zone.
    """
    if name in ("", "UTC", "Z"):
        return UTC
    fixed = fixed_zone(name)
    if fixed is not None:
        return fixed
    if name not in _zone_names():
        raise ExpressionError(f"no time zone is called {name!r}")
    # Not `ZoneInfo(name)`: that reads the machine's own files first, and machines differ.
    return ZoneInfo.from_file(BytesIO(_tzdata("zoneinfo", *name.split("/"))), key=name)


@lru_cache(maxsize=1)
def _zone_names() -> frozenset[str]:
    return frozenset(_tzdata("zones").decode().split())


def _tzdata(*names: str) -> bytes:
    # Nothing is imported for it: a child that is forked while another thread does so would wait for it for ever.
    spec = find_spec("tzdata")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("the package tzdata is not installed: Segue needs it for its time zones")
    loader: Any = spec.loader
    data: bytes = loader.get_data(str(PurePath(spec.origin).parent.joinpath(*names)))
    return data


def _local(instant: Timestamp, name: str) -> datetime:
    try:
        return (_EPOCH + timedelta(seconds=instant.nanos // NANOS)).astimezone(zone(name))
    except OverflowError:
        raise ExpressionError("the instant is outside the years 1 to 9999 of the calendar there") from None


_PARTS: Final[dict[str, Callable[[datetime], int]]] = {
    "getFullYear": lambda local: local.year,
    "getMonth": lambda local: local.month - 1,
    "getDayOfYear": lambda local: local.timetuple().tm_yday - 1,
    "getDayOfMonth": lambda local: local.day - 1,
    "getDate": lambda local: local.day,
    "getDayOfWeek": lambda local: local.isoweekday() % 7,
    "getHours": lambda local: local.hour,
    "getMinutes": lambda local: local.minute,
    "getSeconds": lambda local: local.second,
}
_SPANS: Final[dict[str, int]] = {"getHours": _HOUR, "getMinutes": 60 * NANOS, "getSeconds": NANOS}
CALENDAR: Final = frozenset({*_PARTS, "getMilliseconds"})
"""The names of the functions of this file."""


def part(function: str, value: Value, name: str = "") -> int:
    """One part of an instant in a zone, or of a duration (whole hours, minutes, seconds; milliseconds within)."""
    if type(value) is Timestamp:
        if function == "getMilliseconds":
            return value.nanos // 1_000_000 % 1000
        return _PARTS[function](_local(value, name))
    if type(value) is Duration:
        sign, nanos = (-1, -value.nanos) if value.nanos < 0 else (1, value.nanos)
        if function == "getMilliseconds":
            return sign * (nanos // 1_000_000 % 1000)
        if function in _SPANS:
            return sign * (nanos // _SPANS[function])
    raise no_overload(function, value)


def changes_within(function: str, instant: Timestamp | Duration, name: str = "") -> int:
    """Nanoseconds after which the part of a growing value may differ: never late, for months and years early."""
    if isinstance(instant, Duration):
        span = _SPANS.get(function, 1_000_000)
        # Parts of a span are cut towards zero: below zero they change just after a whole one.
        return span - instant.nanos % span if instant.nanos >= 0 else -instant.nanos % span + 1
    if function == "getMilliseconds":
        return 1_000_000 - instant.nanos % 1_000_000
    if function == "getSeconds":
        return NANOS - instant.nanos % NANOS
    local = _local(instant, name)
    second = local.second * NANOS + instant.nanos % NANOS
    if function == "getMinutes":
        wait = 60 * NANOS - second
    else:
        wait = _HOUR - (local.minute * 60 * NANOS + second)
        if function != "getHours":
            wait += (23 - local.hour) * _HOUR
    # Where the clocks change before that (some zones do so at one past midnight), the part may differ from then on.
    return min(wait, _clocks_hold(instant, name, wait))


def _clocks_hold(instant: Timestamp, name: str, wait: int) -> int:
    """Nanoseconds until the zone's offset is another one, if that is within `wait`; no zone changes it twice a day."""
    begin = instant.nanos // NANOS
    held = _offset(begin, name)
    same, other = begin, (instant.nanos + wait) // NANOS
    if _offset(other, name) == held:
        return wait
    while other - same > 1:
        middle = (same + other) // 2
        if _offset(middle, name) == held:
            same = middle
        else:
            other = middle
    return other * NANOS - instant.nanos


def _offset(second: int, name: str) -> timedelta | None:
    """Of a zone at a second since 1970; None beyond the calendar."""
    try:
        return (_EPOCH + timedelta(seconds=second)).astimezone(zone(name)).utcoffset()
    except OverflowError:
        return None
