"""Wake-ups: something is asked again at the instant at which its answer may have changed (law 3, TI8).

Owns one heap in memory and one sleeper. A wake-up is a lower bound; whoever is woken derives again and arms the next.
Never early: a sleeper that wakes before its instant by the hub's clock sleeps on.
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable, Hashable
from typing import Final

import structlog
from segue.domain.instant import NEVER, SECOND

log = structlog.get_logger("segue.hub")

_LONGEST: Final = 0.5
"""Seconds that the sleeper sleeps at most before it looks at the clock: no clock tells when it was set forward."""


class Timers:
    """Pending wake-ups, at most one per name.

    Args:
        clock: the hub's time in microseconds.
    """

    def __init__(self, clock: Callable[[], int]) -> None:
        self._clock = clock
        self._heap: list[tuple[int, int, Hashable]] = []
        self._due: dict[Hashable, tuple[int, Callable[[int], None]]] = {}
        self._ordinal = 0
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._closing = False
        self.fired = 0

    def start(self) -> None:
        """Begins to wake."""
        self._task = asyncio.create_task(self._run(), name="timers")

    def arm(self, name: Hashable, at: int, wake: Callable[[int], None]) -> None:
        """Wakes at an instant (microseconds); replaces what the name had pending."""
        if at >= NEVER:
            self._due.pop(name, None)
            return
        self._due[name] = (at, wake)
        self._ordinal += 1
        if len(self._heap) > 2 * len(self._due) + 64:
            # Replaced wake-ups would wait in the heap for their old instants.
            self._heap = [(due, number, other) for number, (other, (due, _)) in enumerate(self._due.items())]
            heapq.heapify(self._heap)
        else:
            heapq.heappush(self._heap, (at, self._ordinal, name))
        if self._heap[0][0] == at:
            self._changed.set()

    def disarm(self, name: Hashable) -> None:
        """Forgets a wake-up."""
        self._due.pop(name, None)

    @property
    def pending(self) -> int:
        """How many are armed."""
        return len(self._due)

    async def _run(self) -> None:
        while not self._closing:
            self._changed.clear()
            wait = _LONGEST
            while self._heap:
                at, _, name = self._heap[0]
                armed = self._due.get(name)
                if armed is None or armed[0] != at:
                    heapq.heappop(self._heap)
                    continue
                now = self._clock()
                if now < at:
                    wait = min(wait, (at - now) / SECOND)
                    break
                heapq.heappop(self._heap)
                del self._due[name]
                self.fired += 1
                try:
                    armed[1](at)
                except Exception:  # one wake-up that fails may not silence all others
                    log.exception("a wake-up failed", name=str(name))
                if self.fired % 256 == 0:
                    await asyncio.sleep(0)
            try:
                await asyncio.wait_for(self._changed.wait(), wait)
            except TimeoutError:
                continue

    async def close(self) -> None:
        """Stops waking."""
        self._closing = True  # a wait that ends as it is cancelled goes on (Python 3.11)
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
