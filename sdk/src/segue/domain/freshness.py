"""Freshness: how old what a decision was made on is.

Owns the four states and the silence after which what is held counts as stale. Knows no clock: instants are arguments.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from .instant import SECOND

LIVE: Final = "LIVE"
STALE: Final = "STALE"
PERSISTED: Final = "PERSISTED"
MISSING: Final = "MISSING"
SILENCE: Final = 30 * SECOND
"""After this long without a word from the hub, what is held is stale."""


@dataclass(slots=True, unsafe_hash=True)
class Freshness:
    """How fresh what a decision was made on is. Nobody changes one (`frozen` would treble what making one costs).

    Attributes:
        state: `LIVE`, `STALE` (the hub has been silent), `PERSISTED` (from disk) or `MISSING`.
        age: microseconds since the hub was last heard; 0 where never.
    """

    state: str
    age: int = 0

    def __str__(self) -> str:
        if self.state == MISSING or (self.state == LIVE and self.age < 2 * SECOND):
            return self.state
        return f"{self.state}, {self.age / SECOND:.0f} s old"


FRESH: Final = Freshness(LIVE)


def is_live(clock: int, heard_at: int) -> bool:
    """Whether `freshness_at` says `LIVE`."""
    return heard_at != 0 and clock - heard_at < SILENCE


def freshness_at(clock: int, heard_at: int, persisted_at: int) -> Freshness:
    """How fresh what is held is, all three by one clock, in microseconds.

    Args:
        clock: now.
        heard_at: when the hub last spoke of it; 0 never.
        persisted_at: when the hub was last heard before it came from disk; 0 where it did not.
    """
    if heard_at:
        age = clock - heard_at
        return Freshness(LIVE if is_live(clock, heard_at) else STALE, age if age > 0 else 0)
    if persisted_at:
        return Freshness(PERSISTED, max(0, clock - persisted_at))
    return Freshness(MISSING)
