"""The host of P10: a touchpoint that watches an audience by a cursor, and notes when it was told of whom.

Run by `workers.Worker("ear")`. Times are the machine's clock, which the hub's is on an undisturbed machine.
"""

from __future__ import annotations

import threading
import time
from typing import Any

import segue
from segue.domain.instant import from_datetime

from .workers import serve


class Ear:
    """Who was told, and how long after the instant of each telling, in microseconds."""

    def __init__(self) -> None:
        self._touchpoint: Any = None
        self._heard: list[tuple[str, int, int, bool]] = []
        self._lock = threading.Lock()

    def open(self, hub: str, key: str, state: str, audience: str) -> str:
        """Listens."""
        self._touchpoint = segue.Touchpoint("other", hub=hub, key=key, state=state)
        assert self._touchpoint.wait_ready(20)
        self._touchpoint.watch(audience, self._hear, cursor="ear")
        return str(self._touchpoint.status()["connection"])

    def _hear(self, tellings: list[segue.Telling]) -> None:
        now = time.time_ns() // 1000
        with self._lock:
            self._heard += [(t.identifiers[0].value, from_datetime(t.at), now, t.left) for t in tellings]

    def heard(self) -> list[tuple[str, int, int, bool]]:
        """Everything so far, as (account, instant, heard at, left)."""
        with self._lock:
            return list(self._heard)

    def close(self) -> str:
        """Ends."""
        self._touchpoint.close()
        return "closed"


if __name__ == "__main__":
    ear = Ear()
    serve({"open": ear.open, "heard": ear.heard, "close": ear.close})
