"""Shadows: new versions of decision functions, asked beside the ones that act, off the host's time.

Owns one thread, which exists only where there is a shadow, and a bounded queue to it. What does not fit is skipped and
counted; a shadow that never comes back holds up other shadows, and nothing else.
"""

from __future__ import annotations

import logging
import os
import queue
import threading
from collections.abc import Callable
from typing import Final

log = logging.getLogger("segue")

WAITING: Final = 1_000
"""Questions that wait for the shadow."""
ANSWERED, FAILED, SKIPPED = "answered", "failed", "skipped"


class Shadows:
    """Of one process.

    Attributes:
        counts: by question: `answered`, `failed` and `skipped`, since nobody had time.
    """

    def __init__(self) -> None:
        self._queue: queue.SimpleQueue[tuple[str, Callable[[], bool]] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._pid = 0
        self.counts: dict[str, dict[str, int]] = {}

    def ask(self, name: str, work: Callable[[], bool]) -> None:
        """Takes a question; returns at once.

        Args:
            name: of the question.
            work: asks the shadow and records what it answered; says whether it answered.
        """
        if self._pid != os.getpid():
            self._queue, self._thread, self._pid = queue.SimpleQueue(), None, os.getpid()
        self.counts.setdefault(name, {ANSWERED: 0, FAILED: 0, SKIPPED: 0})
        if self._queue.qsize() >= WAITING:
            self._count(name, SKIPPED)
            return
        self._queue.put((name, work))
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, args=(self._queue,), name="segue-shadow", daemon=True)
            self._thread.start()

    def _work(self, waiting: queue.SimpleQueue[tuple[str, Callable[[], bool]] | None]) -> None:
        while (found := waiting.get()) is not None:
            name, work = found
            try:
                self._count(name, ANSWERED if work() else FAILED)
            except BaseException as error:  # noqa: BLE001  # the host's own code: whatever it raises, the host must never notice
                self._count(name, FAILED)
                log.warning("segue: the shadow of %s failed: %s", name, type(error).__name__)

    def _count(self, name: str, what: str) -> None:
        counts = self.counts.setdefault(name, {ANSWERED: 0, FAILED: 0, SKIPPED: 0})
        counts[what] += 1

    def close(self) -> None:
        """Asks nothing more; what waits is not asked."""
        if self._thread is not None and self._pid == os.getpid():
            while not self._queue.empty():
                try:
                    left = self._queue.get_nowait()
                except queue.Empty:
                    break
                if left is not None:
                    self._count(left[0], SKIPPED)
            self._queue.put(None)
