"""The publisher: what the outbox holds, to the hub, one batch under way at a time.

Owns batching, backoff, and what becomes of a batch: delivered, refused fact by fact, or not readable at all. Each
batch says which ordinals it carries; what is lost of them, and producers that ended, are told in requests of their own,
so that bookkeeping never stands in a fact's way. Used by the worker thread; gRPC's threads only hand results in.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Final

from .backoff import pause
from .clock import SYSTEM, System
from .domain.tally import Tally, runs
from .ordinals import Statement
from .outbox import Outbox, Row
from .transport import UNDELIVERABLE, Transport, Verdict

log = logging.getLogger("segue")

BATCH_ROWS: Final = 500
BATCH_BYTES: Final = 1024 * 1024


class Publisher:
    """Publishes an outbox.

    Args:
        outbox: what is published.
        connected: gives the transport, opened on first use.
        wake: called when a result came in; `settle` then takes it.
        system: whose time backing off is counted in.
    """

    def __init__(
        self, outbox: Outbox, connected: Callable[[], Transport], wake: Callable[[], None], system: System = SYSTEM
    ) -> None:  # fmt: skip
        self._ticks = system.ticks
        self._outbox = outbox
        self._connected = connected
        self._wake = wake
        self._results: deque[tuple[list[Row] | Statement, list[Verdict] | None, str, int]] = deque()
        self._retry_at = 0.0
        self._failures = 0
        self._unreached = False
        self._batch = BATCH_ROWS
        self.under_way = False
        self.last_error = ""

    def publish(self) -> None:
        """Sends the next batch, or what is to be told of ordinals, unless one is under way or it is too early."""
        if self.under_way or self._ticks() < self._retry_at:
            return
        statement = self._outbox.statement() if self._outbox.untold else None
        rows = self._outbox.take(self._batch, BATCH_BYTES) if statement is None else []
        if not (rows or statement):
            return
        self.under_way = True

        def done(verdicts: list[Verdict] | None, error: str, backoff_ms: int) -> None:
            self._results.append((statement or rows, verdicts, error, backoff_ms))
            self._wake()

        try:
            told = statement.tallies if statement is not None else tallies(rows)
            self._connected().publish([row.body for row in rows], told, done)
        except Exception as error:  # noqa: BLE001  # a CA file that is not there yet, a row that cannot be read ...
            done(None, f"{type(error).__name__}: {error}", 0)

    def welcomed(self) -> None:
        """A stream says that the hub is there again: what could not reach it goes. A pause that it asked for holds."""
        if self._unreached:
            self._unreached, self._retry_at, self._failures = False, 0.0, 0
            self._wake()

    def settle(self) -> list[bytes]:
        """Takes the results that came in; returns the ids of facts that the hub will never take."""
        gone: list[bytes] = []
        while self._results:
            sent, verdicts, error, backoff_ms = self._results.popleft()
            self.under_way = False
            self.last_error = error
            try:
                gone += self._settled(sent, verdicts, error, backoff_ms)
            except Exception:
                # It cannot be written down, say on a full disk: as if there was no answer. There it is a duplicate.
                self._back_off()
                raise
        return gone

    def _settled(
        self, sent: list[Row] | Statement, verdicts: list[Verdict] | None, error: str, backoff_ms: int
    ) -> list[bytes]:
        unreadable = verdicts is None and backoff_ms == UNDELIVERABLE
        if verdicts is None and not unreadable:
            self._back_off(backoff_ms)
            return []
        if isinstance(sent, Statement):
            self._told(sent, error, backoff_ms)
            return []
        if verdicts is None:
            return self._divide(sent, error)
        self._failures, self._batch = 0, BATCH_ROWS
        self._retry_at = self._ticks() + backoff_ms / 1000
        return self._answered(sent, verdicts)

    def _back_off(self, asked_ms: int = 0) -> None:
        self._outbox.unanswered()
        self._failures += 1
        self._unreached = asked_ms <= 0
        self._retry_at = self._ticks() + pause(self._failures, asked_ms)

    def _told(self, statement: Statement, error: str, backoff_ms: int) -> None:
        """The hub has a statement, or will never read it: its facts are gone either way, so nobody says it twice."""
        if error:
            log.warning("segue: the hub does not take what is said of lost ordinals: %s", error)
        else:
            self._failures = 0
            self._retry_at = self._ticks() + backoff_ms / 1000
        self._outbox.told(statement)

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
        self._outbox.unanswered()
        if len(rows) > 1:
            return []
        self._outbox.settle([], [(rows[0], "UNDELIVERABLE", error)], heard=False)
        log.warning("segue: a fact cannot be delivered: %s [id %s]", error, rows[0].id.hex())
        return [rows[0].id]


def tallies(rows: Sequence[Row]) -> list[Tally]:
    """What a batch from the head of the lanes says of its producers' ordinals."""
    numbered = sorted((row.producer, row.ordinal) for row in rows if row.ordinal)
    found = []
    for producer, pairs in groupby(numbered, key=lambda pair: pair[0]):
        ordinals = [ordinal for _, ordinal in pairs]
        found.append(Tally(producer, runs(ordinals), ordinals[0] - 1))
    return found
