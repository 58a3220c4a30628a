"""Activity: when a channel or event type was last seen, and how often of late.

Owns the bounded list of recent instants behind `seen`, `count` and `last` (semantics TI1, TI5, TI10). A window is
half-open: an instant `t` counts while `t > now - window`.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from typing import Final

from .expression.value import NEVER

KEPT: Final = 16
"""Recent instants kept of a name, unless the plan compares a count with more."""
MOST: Final = 64
"""The most instants ever kept; `plan check` refuses to compare a count with more."""


@dataclass(slots=True, unsafe_hash=True)
class Activity:
    """What is kept of one channel or event type. Nobody changes one: `frozen` would treble what making one costs.

    Attributes:
        total: how many were ever seen.
        recent: the newest instants, oldest first, at most the limit given to `seen_at`.
    """

    total: int
    recent: tuple[int, ...]

    def seen_at(self, at: int, limit: int) -> Activity:
        """With one more occurrence, which sorts last."""
        return Activity(self.total + 1, (*self.recent[-limit + 1 :], at))

    @property
    def last(self) -> int:
        """The newest instant."""
        return self.recent[-1]

    def count(self, at: int, window: int) -> tuple[int, int, bool]:
        """How many lie within `window` before `at`.

        Returns:
            The count, the instant at which it may change, and whether more may lie within than are kept.
        """
        recent = self.recent
        first = bisect_right(recent, at - window)
        counted = len(recent) - first
        flip = recent[first] + window if counted else NEVER
        return counted, flip, first == 0 and self.total > len(recent)


NONE: Final = Activity(0, ())
"""A name never seen."""
