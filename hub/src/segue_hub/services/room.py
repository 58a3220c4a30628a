"""Room: whether the store takes more, and the trying again while it does not: no space, or no file.

Owns the state between the first unit that found no space and the first that found some again. Refuses nothing itself:
what comes meanwhile is tried, and refused by the store.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

import structlog

from ..storage.ports import StoreBroken, StoreFull, Unit

log = structlog.get_logger("segue.hub")

RETRY: Final = 1.0
"""Seconds between two tries."""
TRIED: Final = 256 * 1024
"""Bytes that must find space before a full store counts as having some again."""
_NOTE: Final = "room"


class Room:
    """Whether there is space.

    Args:
        write: writes a unit, in order with all others.

    Attributes:
        lacking: why facts are refused; empty while they are not.
        listener: told of each change.
    """

    def __init__(self, write: Callable[[Callable[[Unit, int], int]], Awaitable[int]]) -> None:
        self._write = write
        self._task: asyncio.Task[None] | None = None
        self.lacking = ""
        self.listener: Callable[[], None] = lambda: None

    def ran_out(self, reason: str) -> None:
        """A unit found no space."""
        if self.lacking:
            return
        log.error("facts are refused, what is stored is served", reason=reason)
        self.lacking = reason
        self.listener()
        self._task = asyncio.create_task(self._wait(), name="room")

    async def _wait(self) -> None:
        while True:
            await asyncio.sleep(RETRY)
            try:
                await self._write(_noting(TRIED))
                await self._write(_noting(0))
            except StoreFull:
                continue
            except StoreBroken:
                return
            log.info("facts are taken again")
            self.lacking = ""
            self.listener()
            return

    async def close(self) -> None:
        """Tries no more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)


def _noting(size: int) -> Callable[[Unit, int], int]:
    def write(unit: Unit, position: int) -> int:
        unit.note(_NOTE, " " * size)
        return position

    return write
