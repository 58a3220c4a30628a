"""A book of one producer's ordinals: which arrived, which are missing, which are lost (semantics FA6). Pure.

Owns the arithmetic. Ordinals come in any order and any number of times; what is said of them is a function of the set.

    arrived   was carried by a request that was answered
    missing   never arrived, though a later one did: a gap. It may still close
    lost      reported lost, or missing when its producer ended
    doubtful  reserved by a producer that was killed, and perhaps never handed out
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from segue.domain.tally import Range, Tally

RUNS: Final = 256
"""Runs of one book at most: beyond, the oldest gap is not tracked any more, and counted as such."""
REASONS: Final = 16
"""Reasons of losses counted apart; others count as `other`."""
ENDED: Final = "ended"
"""Why ordinals are lost that were missing when their producer ended."""


@dataclass(frozen=True, slots=True)
class Book:
    """What a hub knows of one producer's ordinals.

    Attributes:
        begins: the first ordinal that it keeps book of; earlier ones were settled with another hub, or forgotten.
        heard: runs that arrived or were reported lost, rising, with gaps between them.
        arrived: how many arrived.
        reported: how many were reported lost, by reason.
        handed_out, at_most, ended: as the producer said last.
        untracked: ordinals of gaps that are not tracked any more; some may have arrived since.
        heard_at: when it was last heard of, microseconds.
    """

    begins: int = 1
    heard: tuple[Range, ...] = ()
    arrived: int = 0
    reported: Mapping[str, int] = field(default_factory=dict)
    handed_out: int = 0
    at_most: int = 0
    ended: bool = False
    untracked: int = 0
    heard_at: int = 0

    def after(self, tally: Tally, at: int) -> Book:
        """The book after a tally; the same one twice changes nothing but the time."""
        heard, arrived, reported = self.heard, self.arrived, dict(self.reported)
        for first, last in tally.carried:
            heard, fresh = joined(heard, first, last)
            arrived += fresh
        for first, last, reason in tally.lost:
            heard, fresh = joined(heard, first, last)
            if fresh:
                named = reason if reason in reported or len(reported) < REASONS else "other"
                reported[named] = reported.get(named, 0) + fresh
        untracked = self.untracked
        while len(heard) > RUNS:
            (first, before), (after, last), *rest = heard
            untracked += max(0, after - max(before + 1, self.begins))
            heard = ((first, last), *rest)
        return replace(
            self, heard=heard, arrived=arrived, reported=reported, handed_out=max(self.handed_out, tally.handed_out),
            at_most=max(self.at_most, tally.at_most), ended=self.ended or tally.ended, untracked=untracked, heard_at=at,
        )  # fmt: skip

    @property
    def top(self) -> int:
        """The last ordinal that is known to have been handed out; while the producer lives, the last one heard of."""
        heard = self.heard[-1][1] if self.heard else self.begins - 1
        return max(heard, self.handed_out) if self.ended else heard

    @property
    def gaps(self) -> list[Range]:
        """What never came, up to `top`."""
        found, following = [], self.begins
        for first, last in (*self.heard, (self.top + 1, self.top + 1)):
            if first > following:
                found.append((following, first - 1))
            following = max(following, last + 1)
        return found

    @property
    def _open(self) -> int:
        if not self.ended and len(self.heard) == 1 and self.heard[0][0] <= self.begins:
            return 0  # as nearly all are
        return sum(last - first + 1 for first, last in self.gaps)

    @property
    def missing(self) -> int:
        """Ordinals in gaps that may still close."""
        return 0 if self.ended else self._open

    @property
    def lost(self) -> dict[str, int]:
        """Lost ordinals by reason."""
        gone = self._open if self.ended else 0
        return {**self.reported, ENDED: gone} if gone else dict(self.reported)

    @property
    def doubtful(self) -> int:
        """Ordinals that were reserved beyond what is known; at most so many more were handed out, and lost."""
        return max(0, self.at_most - self.top) if self.ended else 0

    def plain(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "begins": self.begins, "heard": [list(run) for run in self.heard], "arrived": self.arrived,
            "reported": dict(self.reported), "handed_out": self.handed_out, "at_most": self.at_most,
            "ended": self.ended, "untracked": self.untracked, "heard_at": self.heard_at,
        }  # fmt: skip


def book_of(plain: Mapping[str, Any]) -> Book:
    """The book of `Book.plain`."""
    return Book(**{**plain, "heard": tuple((first, last) for first, last in plain["heard"])})


def joined(heard: tuple[Range, ...], first: int, last: int) -> tuple[tuple[Range, ...], int]:
    """Runs with one more, and how many of its ordinals were not in them before."""
    if heard and heard[-1][0] <= first <= heard[-1][1] + 1:  # what comes in order, nearly always
        begins, ends = heard[-1]
        return ((*heard[:-1], (begins, max(ends, last))), max(0, last - ends)) if last > ends else (heard, 0)
    # The runs that it touches: from the first that ends at `first - 1` or later, while they begin by `last + 1`.
    low = bisect_left(heard, first - 1, key=lambda run: run[1])
    high = low
    fresh = last - first + 1
    begins, ends = first, last
    while high < len(heard) and heard[high][0] <= last + 1:
        start, end = heard[high]
        fresh -= max(0, min(end, last) - max(start, first) + 1)
        begins, ends = min(begins, start), max(ends, end)
        high += 1
    return (*heard[:low], (begins, ends), *heard[high:]), fresh
