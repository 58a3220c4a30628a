"""Calendars: named opening hours in a zone, with days that are different.

Owns whether a calendar is open at a moment and the instant at which that changes, exact also where the clocks change.
Hours are wall time, and belong to the day on which they begin. Zone data is that of the pinned `tzdata`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from datetime import time as clock_time
from typing import Any, Final

from .expression.calendar import zone
from .expression.failure import ExpressionError
from .expression.value import NEVER
from .instant import SECOND, from_datetime, to_datetime

DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_DAY: Final = timedelta(days=1)
_MIDNIGHT: Final = 1440


@dataclass(frozen=True, slots=True)
class Hours:
    """From a minute of the day until another; one that is not later is on the next day."""

    start: int
    end: int

    @property
    def overnight(self) -> bool:
        """Whether they end on the next day, or with this one."""
        return self.end <= self.start


class Calendar:
    """Opening hours. Immutable.

    Args:
        name: as in the plan.
        zone_name: whose wall time is meant.
        week: hours by day, Monday first.
        exceptions: hours of days that are different; none where it stays closed.
    """

    __slots__ = ("_latest", "_memo", "_zone", "exceptions", "name", "week")

    def __init__(
        self, name: str, zone_name: str, week: Sequence[Sequence[Hours]], exceptions: Mapping[date, Sequence[Hours]]
    ) -> None:
        self.name = name
        self.week = week
        self.exceptions = exceptions
        self._zone = zone(zone_name)
        self._latest = max(exceptions, default=date.min)
        self._memo = (0, 0, False)

    def is_open(self, at: int) -> bool:
        """Whether it is open at a moment."""
        return self.open_until(at)[0]

    def open_until(self, at: int) -> tuple[bool, int]:
        """Whether it is open at a moment, and the first later instant at which that differs."""
        since, until, value = self._memo  # of the last answer: it is the same for every customer
        if not since <= at < until:
            try:
                value = self._at(at)
                until = self._turn(at, value)
            except OverflowError:
                raise ExpressionError("the instant is outside the years 1 to 9999 of the calendar there") from None
            self._memo = (at, until, value)
        return value, until

    def _hours(self, day: date) -> Sequence[Hours]:
        found = self.exceptions.get(day)
        return self.week[day.weekday()] if found is None else found

    def _at(self, at: int) -> bool:
        local = to_datetime(at).astimezone(self._zone)
        day, minute = local.date(), local.hour * 60 + local.minute
        if any(h.start <= minute < (_MIDNIGHT if h.overnight else h.end) for h in self._hours(day)):
            return True
        return any(h.overnight and minute < h.end for h in self._hours(day - _DAY))

    def _turn(self, at: int, value: bool) -> int:
        """The first later instant at which `_at` differs: asked at every instant at which it could.

        A day is looked at together with the next, and the first with the one before: clocks that go back at midnight
        show the day before once more.
        """
        day = to_datetime(at).astimezone(self._zone).date() - _DAY
        last = max(day, self._latest) + 9 * _DAY
        today = set(self._candidates(day))
        while day <= last:
            day += _DAY
            tomorrow = set(self._candidates(day))
            turn = next((i for i in sorted(today | tomorrow) if i > at and self._at(i) is not value), NEVER)
            if turn in today:
                return turn
            today = tomorrow
        return NEVER

    def _candidates(self, day: date) -> Iterator[int]:
        """Every instant of a day at which it may open or close, and some more: those of a wall time that the clocks
        skip or show twice, and the change of the clocks itself.
        """
        today, before = self._hours(day), self._hours(day - _DAY)
        minutes = {0, *(h.start for h in today), *(h.end for h in today), *(h.end for h in before if h.overnight)}
        for minute in minutes:
            wall = datetime.combine(day, clock_time(minute // 60, minute % 60), tzinfo=self._zone)
            yield from (from_datetime(wall.replace(fold=fold)) for fold in (0, 1))
        begin = from_datetime(datetime.combine(day, clock_time(), tzinfo=self._zone)) // SECOND - 3600
        end = begin + 27 * 3600
        if self._offset(begin) != self._offset(end):
            while end - begin > 1:
                middle = (begin + end) // 2
                if self._offset(middle) == self._offset(begin):
                    begin = middle
                else:
                    end = middle
            yield end * SECOND

    def _offset(self, seconds: int) -> timedelta | None:
        return to_datetime(seconds * SECOND).astimezone(self._zone).utcoffset()


def calendar_of(name: str, body: Mapping[str, Any], default_zone: str) -> Calendar:
    """The calendar of a plan's document.

    Raises:
        ValueError, KeyError, TypeError, ExpressionError: it is none.
    """
    week: list[list[Hours]] = [[] for _ in DAYS]
    for entry in body.get("hours", ()):
        for day in entry["days"]:
            week[DAYS.index(day)].append(_hours_of(entry))
    exceptions: dict[date, list[Hours]] = {}
    for entry in body.get("exceptions", ()):
        hours = exceptions.setdefault(date.fromisoformat(entry["date"]), [])
        if "from" in entry:
            hours.append(_hours_of(entry))
    return Calendar(name, body.get("zone") or default_zone, week, exceptions)


def _hours_of(entry: Mapping[str, str]) -> Hours:
    return Hours(_minute(entry["from"]), _minute(entry["to"]))


def _minute(text: str) -> int:
    hours, _, minutes = text.partition(":")
    return int(hours) * 60 + int(minutes)
