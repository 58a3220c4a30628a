"""Catching up: contexts of customers who are not live are brought up to their newest facts, when there is time.

Owns when. A fact of somebody who is not live is not folded at once (`contexts`); without anybody asking for her, what
whoever asks at last would have to fold grew and grew. So some of these facts have their customer brought up in the
background: all of them while the hub has time, fewer while facts come in faster than that, and never none.
"""

from __future__ import annotations

import asyncio
import time
from typing import Final

import structlog

from .contexts import Contexts
from .ingest import Ingest

log = structlog.get_logger("segue.hub")

SLICE: Final = 0.001
"""Seconds of work before others get their turn."""
SHARE: Final = 15.0
"""While facts wait or are written, it rests so many times as long as it worked."""


class CatchingUp:
    """One hub's.

    Args:
        contexts: knows who is behind, and folds.
        ingest: whether facts wait.
    """

    def __init__(self, contexts: Contexts, ingest: Ingest) -> None:
        self._contexts = contexts
        self._ingest = ingest
        self._task: asyncio.Task[None] | None = None
        self._work = asyncio.Event()
        contexts.fallen_behind = self._work.set

    def start(self) -> None:
        """Begins."""
        self._task = asyncio.create_task(self._run(), name="catching-up")

    async def _run(self) -> None:
        while True:
            await self._work.wait()
            self._work.clear()
            while self._contexts.behind:
                began = time.perf_counter()
                self._slice(began + SLICE)
                await asyncio.sleep((time.perf_counter() - began) * SHARE if self._ingest.queue.bytes else 0)

    def _slice(self, until: float) -> None:
        while self._contexts.behind and time.perf_counter() < until:
            try:
                self._contexts.catch_up()
            except Exception:  # one customer that cannot be folded may not keep all others behind
                log.exception("a context cannot be brought up to its newest facts")

    async def close(self) -> None:
        """Stops; who is behind stays so until somebody asks."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
