"""The ingest queue: batches that wait for the writer, bounded by bytes and by how long they wait.

Owns the bound. A batch counts until it is durable or failed, so what is being written counts too. What nobody waits for
any more is dropped unwritten: whoever sent it was told nothing, and sends it again.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final

from ..limits import Limits
from .entry import Batch
from .failure import Refusal
from .pressure import Pressure

BATCH_COST: Final = 512
"""Bytes that a batch counts besides its facts: what is said of ordinals is no fact, and takes room too."""


class IngestQueue:
    """Batches in their order.

    Args:
        limits: how much may wait, and how long.
        pressure: counts what is refused.
    """

    def __init__(self, limits: Limits, pressure: Pressure) -> None:
        self.limit = limits.queue_bytes
        self._patience = limits.queue_ms
        self._pressure = pressure
        self._batches: deque[tuple[float, Batch]] = deque()
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._batches)

    def refusal(self, size: int = 0) -> Refusal | None:
        """Why a batch cannot be taken in now; None where it can."""
        if self.bytes + size > self.limit:
            return self._pressure.refuse("queue_bytes", f"{self.bytes} bytes wait to be written", 500)
        if self._batches:
            waits = int((_now() - self._batches[0][0]) * 1000)
            if waits > self._patience:
                return self._pressure.refuse("queue_ms", f"facts wait {waits} ms for the writer", min(5000, waits))
        return None

    def put(self, batch: Batch) -> None:
        """Queues a batch; it counts until its answer is there, or nobody waits for it."""
        self.bytes += batch.size
        batch.done.add_done_callback(lambda _: self._settled(batch))
        self._batches.append((_now(), batch))

    def _settled(self, batch: Batch) -> None:
        self.bytes -= batch.size

    def take(self, most: int) -> list[Batch]:
        """The next batches, of so many facts; without those that nobody waits for."""
        taken, count = [], 0
        while self._batches and count < most:
            _, batch = self._batches.popleft()
            if batch.done.cancelled():
                self._pressure.abandoned += 1
                continue
            taken.append(batch)
            count += len(batch.entries) or 1
        return taken

    def all(self) -> list[Batch]:
        """Everything that waits."""
        return [batch for _, batch in self._batches]


def _now() -> float:
    """Seconds that never jump, other than the hub's clock."""
    return asyncio.get_running_loop().time()
