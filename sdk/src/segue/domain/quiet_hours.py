"""Quiet hours, and where a customer's day begins: wall-clock times in a zone, as instants.

Owns the turns of a daily interval and of calendar days, weeks and months, over changes of the clocks.
"""

from __future__ import annotations

from datetime import date, datetime, timedelta, tzinfo
from datetime import time as clock_time
from functools import lru_cache
from typing import Final

from .expression.calendar import zone
from .expression.failure import ExpressionError
from .instant import SECOND, from_datetime, to_datetime

_MINUTE: Final = 60 * SECOND
CALENDAR: Final = ("day", "week", "month")
"""Windows that begin at midnight: of the day, of Monday, of the first."""


def zone_or(name: str, default: str) -> tzinfo:
    """The zone of a name, or the default where there is no such zone."""
    try:
        return zone(name)
    except ExpressionError:
        return zone(default)


def quiet_at(at: int, start: int, end: int, local_zone: tzinfo) -> tuple[bool, int]:
    """Whether an instant is within quiet hours, and when that turns.

    Args:
        at: microseconds.
        start: minute of the day at which they begin.
        end: minute of the day at which they end; on the next day where it is before `start`.
        local_zone: whose wall clock is meant.
    """
    local = to_datetime(at).astimezone(local_zone)
    is_quiet = _is_quiet(local, start, end)
    return is_quiet, _turn(local, start, end, is_quiet)


def _is_quiet(local: datetime, start: int, end: int) -> bool:
    minute = local.hour * 60 + local.minute
    return start <= minute < end if start <= end else minute >= start or minute < end


def _turn(local: datetime, start: int, end: int, is_quiet: bool) -> int:
    """The next instant, in microseconds, at which quiet hours end or begin."""
    minute = end if is_quiet else start
    wanted = datetime.combine(local.date(), clock_time(minute // 60, minute % 60), tzinfo=local.tzinfo)
    if wanted <= local:
        wanted = datetime.combine(local.date() + timedelta(days=1), wanted.timetz())
    at, turn = from_datetime(local), from_datetime(wanted)
    if at < turn and to_datetime(turn).astimezone(local.tzinfo).utcoffset() == local.utcoffset():
        return turn
    return _turn_by_minutes(at - at % _MINUTE, local.tzinfo, start, end, is_quiet)


@lru_cache(maxsize=1024)
def _turn_by_minutes(at: int, local_zone: tzinfo | None, start: int, end: int, is_quiet: bool) -> int:
    """As `_turn`, where the clocks change on the way: a wall time may be skipped or come twice, and the change itself
    may be the turn. Quiet hours and changes of the clocks begin at whole minutes, so this goes minute by minute.
    """
    turn = at
    for turn in range(at + _MINUTE, at + 2 * 1440 * _MINUTE, _MINUTE):
        if _is_quiet(to_datetime(turn).astimezone(local_zone), start, end) is not is_quiet:
            break
    return turn


@lru_cache(maxsize=4096)
def _midnight(day: date, local_zone: tzinfo) -> int:
    """The first instant of a day; where the clocks skip midnight, the first that there is."""
    return from_datetime(datetime.combine(day, clock_time(), tzinfo=local_zone))


def period(at: int, unit: str, local_zone: tzinfo) -> tuple[int, int]:
    """The calendar day, week or month that holds an instant: its first instant, and that of the next."""
    today = to_datetime(at).astimezone(local_zone).date()
    if unit == "day":
        first, after = today, today + timedelta(days=1)
    elif unit == "week":
        first = today - timedelta(days=today.weekday())
        after = first + timedelta(days=7)
    else:
        first = today.replace(day=1)
        after = (first + timedelta(days=32)).replace(day=1)
    return _midnight(first, local_zone), _midnight(after, local_zone)
