"""Slow readers: streams that do not read what they are written.

Owns how long a write may take. One look a second at all streams, instead of a timer for each message. A write that is
under way is never cancelled: its bytes belong to gRPC until they are gone.
"""

from __future__ import annotations

import asyncio
from typing import Final

_LOOK: Final = 1.0


class Writes:
    """One stream's write that is under way.

    Attributes:
        since: when it began, by the loop's clock; 0 while there is none.
        overdue: done where it takes too long.
    """

    def __init__(self) -> None:
        self.since = 0.0
        self.overdue: asyncio.Future[None] = asyncio.get_running_loop().create_future()


class SlowReaders:
    """Looks at all streams while there are any.

    Args:
        slow_reader_ms: a write may take so long.
    """

    def __init__(self, slow_reader_ms: int) -> None:
        self._after = slow_reader_ms / 1000
        self._watched: set[Writes] = set()
        self._task: asyncio.Task[None] | None = None

    def watch(self, writes: Writes) -> None:
        """A stream is open."""
        self._watched.add(writes)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._look(), name="slow-readers")

    def forget(self, writes: Writes) -> None:
        """A stream ended."""
        self._watched.discard(writes)
        if not self._watched and self._task is not None:
            self._task.cancel()
            self._task = None

    async def _look(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(min(_LOOK, self._after / 4))
            before = loop.time() - self._after
            for writes in self._watched:
                if 0.0 < writes.since < before and not writes.overdue.done():
                    writes.overdue.set_result(None)
