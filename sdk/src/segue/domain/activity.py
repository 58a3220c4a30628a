"""Activity: when a channel or event type was last seen, and how often of late.

Owns the bounded list of recent instants behind `seen`, `count` and `last` (semantics TI1, TI5, TI10). A window is
half-open: an instant `t` counts while `t > now - window`.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Iterable
from typing import Final

from .expression.value import NEVER

KEPT: Final = 16
"""Recent instants kept of a name, unless the plan compares a count with more."""
MOST: Final = 64
"""The most instants ever kept; `plan check` refuses to compare a count with more."""


class Activity:
    """What is kept of one channel or event type. Contents share it: who folds changes in place what is its own, and
    copies first what is not.

    The instants stand side by side in an array: as objects they would lie anywhere in memory, and every fact that is
    folded would have to touch all of them.

    Attributes:
        total: how many were ever seen.
        recent: the newest instants, oldest first, at most the limit given to `see`.
        owner: the mark of the content that may change it (`Content.owner`); None where all have to copy it.
    """

    __slots__ = ("owner", "recent", "total")

    def __init__(self, total: int, recent: array[int], owner: object = None) -> None:
        self.total = total
        self.recent = recent
        self.owner = owner

    def copy(self, owner: object) -> Activity:
        """One that its owner can change without touching this one."""
        return Activity(self.total, self.recent[:], owner)

    def see(self, at: int, limit: int) -> None:
        """One more occurrence, which sorts last."""
        self.total += 1
        recent = self.recent
        recent.append(at)
        while len(recent) > limit:
            del recent[0]  # one nearly always, and half of what a slice costs

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


def activity_of(total: int, recent: Iterable[int]) -> Activity:
    """An activity from plain numbers."""
    return Activity(total, array("q", recent))


NONE: Final = activity_of(0, ())
"""A name never seen."""
