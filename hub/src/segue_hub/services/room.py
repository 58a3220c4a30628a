"""Room: whether the store has space, and the asking for it again while it has none.

Owns the state between the first unit that found no space and the moment there is some again. Refuses nothing itself:
whoever asks meanwhile is tried, and refused by the store.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

import structlog

log = structlog.get_logger("segue.hub")

RETRY: Final = 1.0
"""Seconds between two looks."""


class Room:
    """Whether there is space.

    Args:
        has_room: asks the disk; may take its time.

    Attributes:
        lacking: why facts are refused; empty while they are not.
        listener: told of each change.
    """

    def __init__(self, has_room: Callable[[], bool]) -> None:
        self._has_room = has_room
        self._task: asyncio.Task[None] | None = None
        self.lacking = ""
        self.listener: Callable[[], None] = lambda: None

    def ran_out(self, reason: str) -> None:
        """A unit found no space."""
        if self.lacking:
            return
        log.error("no space left: facts are refused, what is stored is served", reason=reason)
        self.lacking = reason
        self.listener()
        self._task = asyncio.create_task(self._wait(), name="room")

    async def _wait(self) -> None:
        while True:
            await asyncio.sleep(RETRY)
            try:
                found = await asyncio.to_thread(self._has_room)
            except OSError:
                continue  # whatever is wrong with the disk, the next unit will tell
            if found:
                log.info("there is space again: facts are taken")
                self.lacking = ""
                self.listener()
                return

    async def close(self) -> None:
        """Asks no more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
