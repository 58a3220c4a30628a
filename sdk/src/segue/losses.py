"""Losses: what was offered and will never reach the hub, counted by reason, and by the ordinals it had.

Owns both counts until the journal has the second. Nothing is lost in silence: what is not counted here is kept.
"""

from __future__ import annotations

import threading
from typing import Final

from .offered import Offered
from .ordinals import Lost

HELD: Final = 1000
"""Runs of lost ordinals held in memory while the disk cannot be written."""


class Losses:
    """One outbox's.

    Attributes:
        counts: facts by reason.
        runs: ordinals that the journal is still to be told of.
    """

    def __init__(self) -> None:
        self._gate = threading.RLock()  # reentrant: a signal handler may tell a fact while its thread is telling one
        self.counts: dict[str, int] = {}
        self.runs: list[Lost] = []

    def count(self, reason: str, count: int = 1) -> None:
        """So many more; any thread."""
        with self._gate:
            self.counts[reason] = self.counts.get(reason, 0) + count

    def of(self, fact: Offered, reason: str) -> None:
        """A fact that has its ordinal; a run that goes on where one ended makes that longer."""
        self.count(reason)
        runs = self.runs
        last = runs[-1] if runs else Lost("", 0, 0, "")
        if (last.producer, last.last + 1, last.reason) == (fact.producer, fact.ordinal, reason):
            runs[-1] = Lost(last.producer, last.first, fact.ordinal, reason)
        elif len(runs) < HELD:
            runs.append(Lost(fact.producer, fact.ordinal, fact.ordinal, reason))

    def hold(self, lost: list[Lost]) -> None:
        """Runs that are counted otherwise."""
        self.runs += lost[: HELD - len(self.runs)]

    def told(self, count: int) -> None:
        """The journal has the first so many runs."""
        del self.runs[:count]
