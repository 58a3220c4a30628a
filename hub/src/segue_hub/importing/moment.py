"""Times of a row: local clock times, epochs and RFC 3339 as instants in microseconds.

Owns formats, zones and the rule by which a clock time rolls over midnight. A file says the same time again and again
(the second call of that minute, the same entry in every fact of a row), so what was read once is remembered.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime, timedelta, tzinfo
from decimal import Decimal
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

from segue.domain.instant import SECOND, from_datetime, parse_instant

UNITS: Final = {"s": SECOND, "ms": 1000, "us": 1}
_HALF_A_DAY: Final = 43_200 * SECOND
_DAY: Final = timedelta(days=1)
_REMEMBERED: Final = 8192
# As in strptime; directives that are not here are left to it.
_DIRECTIVES: Final = {
    "Y": r"(?P<Y>\d\d\d\d)", "y": r"(?P<y>\d\d)", "m": r"(?P<m>1[0-2]|0[1-9]|[1-9])",
    "d": r"(?P<d>3[0-1]|[1-2]\d|0[1-9]|[1-9]| [1-9])", "H": r"(?P<H>2[0-3]|[0-1]\d|\d)",
    "M": r"(?P<M>[0-5]\d|\d)", "S": r"(?P<S>6[0-1]|[0-5]\d|\d)", "%": "%",
}  # fmt: skip
_PARTS: Final = {"Y": "year", "y": "year", "m": "month", "d": "day", "H": "hour", "M": "minute", "S": "second"}

Reading = Callable[[str], datetime | int]
"""A text as an instant, or as a local time that still lacks its zone."""


class Clock:
    """Reads the texts of one column or template.

    Args:
        form: as of strptime; RFC 3339 where empty.
        unit: `s`, `ms` or `us` since 1970; texts where empty.
        zone: of times that name none.
    """

    def __init__(self, form: str, unit: str, zone: tzinfo) -> None:
        self._zone = zone
        self._read: Reading = (
            (lambda text: _epoch(text, UNITS[unit])) if unit else format_reader(form) if form else _standard
        )
        self.instant = lru_cache(maxsize=_REMEMBERED)(self._instant)
        self.not_before = lru_cache(maxsize=_REMEMBERED)(self._not_before)

    def _at(self, moment: datetime | int) -> int:
        if isinstance(moment, int):
            return moment
        return from_datetime(moment if moment.tzinfo else moment.replace(tzinfo=self._zone))

    def _instant(self, text: str) -> int:
        """The instant of a text.

        Raises:
            ValueError: the text is no such time.
        """
        try:
            return self._at(self._read(text))
        except ArithmeticError as error:  # no number, or beyond all calendars
            raise ValueError(str(error)) from None

    def _not_before(self, text: str, earlier: int) -> int:
        """The same, on the next day where it would lie more than twelve hours before `earlier`: one day by the calendar
        of the zone, which need not have 24 hours.

        Raises:
            ValueError: the text is no such time.
        """
        at = self.instant(text)
        if at >= earlier - _HALF_A_DAY:
            return at
        moment = self._read(text)
        return at + 86_400 * SECOND if isinstance(moment, int) else self._at(moment + _DAY)


@lru_cache(maxsize=64)
def clock_of(form: str, unit: str, zone: str) -> Clock:
    """The one clock of a format and zone: all facts of a mapping share what it remembers."""
    return Clock(form, unit, ZoneInfo(zone))


def _epoch(text: str, unit: int) -> int:
    return int(text) * unit if text.isdigit() else round(Decimal(text) * unit)


def _standard(text: str) -> datetime | int:
    try:
        return parse_instant(text)
    except ValueError:
        return datetime.fromisoformat(text)


def format_reader(form: str) -> Callable[[str], datetime]:
    """`datetime.strptime` for one format: the same answers, several times faster where it has only plain numbers."""
    pattern = _pattern(form)
    if pattern is None:
        return lambda text: datetime.strptime(text, form)  # the caller adds the zone
    match, given = pattern.fullmatch, list(pattern.groupindex)
    century, year = "y" in given, given.index("y") if "y" in given else 0
    names = [_PARTS[name] for name in given]

    def read(text: str) -> datetime:
        found = match(text)
        if found is None:
            raise ValueError(f"{text!r} does not match {form!r}")
        values = [int(text) for text in found.groups()]
        if century:
            values[year] += 2000 if values[year] <= 68 else 1900
        return datetime(**dict(zip(names, values, strict=True)))  # type: ignore[arg-type]

    return read


def _pattern(form: str) -> re.Pattern[str] | None:
    """The format as a regular expression; None where only strptime knows it."""
    parts = re.findall(r"%(.)|(\s+)|([^%\s]+)", form, re.DOTALL)
    named = [directive for directive, _, _ in parts if directive not in ("", "%")]
    plain = {*named} <= {*_DIRECTIVES} and len({*named}) == len(named) and not form.endswith("%")
    if not plain or not {"m", "d"} <= {*named} or sum(name in "Yy" for name in named) != 1:
        return None  # other directives, or no whole date
    return re.compile(
        "".join(_DIRECTIVES[name] if name else r"\s+" if space else re.escape(text) for name, space, text in parts),
        re.IGNORECASE,
    )
