"""The publisher: what the outbox holds, to the hub, one batch under way at a time.

Owns batching, backoff, and what becomes of a batch: delivered, refused fact by fact, or not readable at all. Used by
the worker thread; gRPC's threads only hand results in.
"""

from __future__ import annotations

import logging
import random
import time
from collections import deque
from collections.abc import Callable
from typing import Final

from .outbox import Outbox, Row
from .transport import UNDELIVERABLE, Transport, Verdict

log = logging.getLogger("segue")

BATCH_ROWS: Final = 500
BATCH_BYTES: Final = 1024 * 1024


def jitter(failures: int) -> float:
    """Full jitter: up to min(30 s, 0.25 * 2^n)."""
    return random.uniform(0.0, min(30.0, 0.25 * 2 ** min(failures, 10)))  # noqa: S311  # spreads load, no secret


class Publisher:
    """Publishes an outbox.

    Args:
        outbox: what is published.
        connected: gives the transport, opened on first use.
        wake: called when a result came in; `settle` then takes it.
    """

    def __init__(self, outbox: Outbox, connected: Callable[[], Transport], wake: Callable[[], None]) -> None:
        self._outbox = outbox
        self._connected = connected
        self._wake = wake
        self._results: deque[tuple[list[Row], list[Verdict] | None, str, int]] = deque()
        self._retry_at = 0.0
        self._failures = 0
        self._batch = BATCH_ROWS
        self.under_way = False
        self.last_error = ""

    def publish(self) -> None:
        """Sends the next batch, unless one is under way or it is too early."""
        if self.under_way or time.monotonic() < self._retry_at:
            return
        rows = self._outbox.take(self._batch, BATCH_BYTES)
        if not rows:
            return
        self.under_way = True

        def done(verdicts: list[Verdict] | None, error: str, backoff_ms: int) -> None:
            self._results.append((rows, verdicts, error, backoff_ms))
            self._wake()

        try:
            self._connected().publish([row.body for row in rows], done)
        except Exception as error:  # noqa: BLE001  # a CA file that is not there yet, a row that cannot be read ...
            done(None, f"{type(error).__name__}: {error}", 0)

    def settle(self) -> list[bytes]:
        """Takes the results that came in; returns the ids of facts that the hub will never take."""
        gone: list[bytes] = []
        while self._results:
            rows, verdicts, error, backoff_ms = self._results.popleft()
            self.under_way = False
            self.last_error = error
            if verdicts is None and backoff_ms == UNDELIVERABLE:
                gone += self._divide(rows, error)
            elif verdicts is None:
                self._failures += 1
                self._retry_at = time.monotonic() + jitter(self._failures)
            else:
                self._failures, self._batch = 0, BATCH_ROWS
                self._retry_at = time.monotonic() + backoff_ms / 1000
                gone += self._answered(rows, verdicts)
        return gone

    def _answered(self, rows: list[Row], verdicts: list[Verdict]) -> list[bytes]:
        answers = list(zip(rows, verdicts, strict=True))
        refused = [(row, code, reason) for row, (status, code, reason) in answers if status == "REJECTED"]
        self._outbox.settle([row for row, verdict in answers if verdict[0] != "REJECTED"], refused)
        for row, code, reason in refused:
            log.warning("segue: the hub refused a fact (%s): %s [id %s]", code, reason, row.id.hex())
        return [row.id for row, _, _ in refused]

    def _divide(self, rows: list[Row], error: str) -> list[bytes]:
        """The hub cannot read a batch at all: half of it is tried, and a lone fact that is the cause is laid aside."""
        self._batch = max(1, len(rows) // 2)
        if len(rows) > 1:
            return []
        self._outbox.settle([], [(rows[0], "UNDELIVERABLE", error)])
        log.warning("segue: a fact cannot be delivered: %s [id %s]", error, rows[0].id.hex())
        return [rows[0].id]
