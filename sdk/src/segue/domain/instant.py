"""Instants and spans of Segue: integers in microseconds.

Owns the unit, the grammar of durations in plans and Python, and the texts people read. Never asks a clock.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final

from .expression.conversion import duration_text, parse_duration, parse_timestamp, timestamp_text
from .expression.failure import ExpressionError
from .expression.value import NEVER

__all__ = [
    "NEVER",
    "SECOND",
    "ago",
    "from_datetime",
    "instant_text",
    "parse_instant",
    "span",
    "span_text",
    "to_datetime",
]

SECOND: Final = 1_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@lru_cache(maxsize=1024)
def span(text: str | timedelta) -> int:
    """Microseconds of a duration: `"90s" "15m" "1h" "30d" "2w"` or a `timedelta`.

    Raises:
        ValueError: the text is no duration, or is negative.
    """
    if isinstance(text, timedelta):
        result = (text.days * 86_400 + text.seconds) * SECOND + text.microseconds
    else:
        try:
            result = parse_duration(text) // 1000
        except ExpressionError as error:
            raise ValueError(str(error)) from None
    if result < 0:
        raise ValueError(f"{text!r} is negative")
    return result


def parse_instant(text: str) -> int:
    """Microseconds of an RFC 3339 instant with a zone.

    Raises:
        ValueError: the text is no such instant.
    """
    try:
        return parse_timestamp(text) // 1000
    except ExpressionError as error:
        raise ValueError(str(error)) from None


def instant_text(at: int) -> str:
    """RFC 3339 in UTC; `never` for an instant that never comes."""
    return "never" if at >= NEVER else timestamp_text(at * 1000)


def span_text(microseconds: int) -> str:
    """A span in its largest whole unit: `15m`, `1h`, `30d`."""
    for unit, size in (("w", 604_800), ("d", 86_400), ("h", 3600), ("m", 60), ("s", 1)):
        if microseconds and microseconds % (size * SECOND) == 0:
            return f"{microseconds // (size * SECOND)}{unit}"
    return duration_text(microseconds * 1000)


def ago(microseconds: int) -> str:
    """A span for people, rounded, at least a second: `4 s`, `12 min`, `3 h`, `2 days`."""
    seconds = max(0, microseconds) / SECOND
    if seconds < 90:
        return f"{max(1.0, seconds):.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    if seconds < 172_800:
        return f"{seconds / 3600:.0f} h"
    return f"{seconds / 86_400:.0f} days"


def from_datetime(moment: datetime) -> int:
    """Microseconds of an aware datetime.

    Raises:
        ValueError: the datetime has no zone.
    """
    if moment.tzinfo is None:
        raise ValueError("a datetime without a zone says no instant; give it a tzinfo")
    delta = moment - _EPOCH
    return (delta.days * 86_400 + delta.seconds) * SECOND + delta.microseconds


def to_datetime(at: int) -> datetime:
    """The aware UTC datetime of an instant."""
    return _EPOCH + timedelta(microseconds=at)
