"""The index from leaf to facts: at which positions of the change log a leaf's facts stand.

Owns that it is written in three steps. Facts arrive in time, leaves are anywhere: an index over all facts touches a
page of its own for every fact, which costs five times what the fact itself does, and more the longer the log is. So new
entries go into a table of a few pages; all of it moves at once into a small one, which stays in memory as a whole; and
one bucket of that at a time moves into the large one: neighbours, many to a page. All steps are part of a unit's
transaction, so there is nothing to recover; reads ask all three.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from ..ports import BUCKETS

NEWEST: Final = 8192
"""Entries after which the newest move. A commit writes a page of them for many facts, and a move each page of the small
table; written for every commit, those were half of what a commit wrote."""
EVERY: Final = 2048
"""Facts after which a bucket moves. The small table holds half of `BUCKETS` times as many."""
SHORT: Final = 1_000_000
"""A log of so many positions. Of a longer one a bucket has more pages, each touched for fewer entries, so more move at
once; the small table then has more pages too. What both cost is least where they grow with the root of the length."""


class LeafIndex:
    """The index, as the writing connection fills it.

    Args:
        run: executes on that connection.
        sql: the statements by name.
    """

    def __init__(self, run: Callable[..., Any], sql: dict[str, str]) -> None:
        self._run = run
        self._sql = sql
        self._bucket = 0
        self._newest = 0
        self._waiting = 0

    def add(self, first: int, last: int, count: int) -> None:
        """Facts were written at positions from `first` through `last`: so many."""
        self._run(self._sql["index_leaves"], (first, last))
        self._newest += count
        if self._newest >= NEWEST:
            self._newest = 0
            self._run(self._sql["freshen_leaves"])
            self._run(self._sql["drop_freshened_leaves"])
        self._waiting += count
        every = max(EVERY, int(EVERY * (last / SHORT) ** 0.5))
        while self._waiting >= every:
            self._waiting -= every
            self._run(self._sql["settle_leaves"], (self._bucket,))
            self._run(self._sql["drop_settled_leaves"], (self._bucket,))
            self._bucket = (self._bucket + 1) % BUCKETS
