"""Counted: how much the store holds, for people and metrics, without the hub waiting for it to be counted.

Owns when it is counted. To count millions of rows takes seconds: a store that is small is counted at once, a large one
beside the hub's work, now and then, so that what is told of it is a little old, and nothing at first. One that cannot
be counted is told of as it was.
"""

from __future__ import annotations

import threading
import time
from typing import Final

import structlog

from ..storage.ports import Store

log = structlog.get_logger("segue.hub")

AT_ONCE: Final = 50_000
"""Positions of the change log up to which everything is counted whenever it is asked for."""
SHARE: Final = 50.0
"""It rests so many times as long as the counting took."""
REST: Final = 15.0
"""Seconds that it rests at least."""


class Counted:
    """One store's counts.

    Args:
        store: counts itself, in whatever thread it is asked to.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._counts: dict[str, int] = {}
        self._thread: threading.Thread | None = None
        self._due = 0.0

    def plain(self) -> dict[str, int]:
        """Facts, customers ..., as counted last; empty where that was never."""
        if self._store.head()[0] <= AT_ONCE:
            self._count()
        elif (self._thread is None or not self._thread.is_alive()) and time.monotonic() >= self._due:
            self._thread = threading.Thread(target=self._count, name="segue-counting", daemon=True)
            self._thread.start()
        return dict(self._counts)

    def _count(self) -> None:
        began = time.monotonic()
        try:
            self._counts = self._store.counts()
        except Exception:  # its file is gone, or the hub has ended: the store tells its writer what is wrong
            log.warning("the store could not be counted", exc_info=True)
        took = time.monotonic() - began
        self._due = time.monotonic() + max(REST, SHARE * took)
