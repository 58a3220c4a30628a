"""Checkpoints that wait to be written: contexts on their way to the store, a unit of writing at a time.

Owns their order and their bounds. None is needed, as the log has it all; one that waits is newer than what is stored.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from typing import Final

from ..storage.ports import Checkpoint

TAKEN: Final = 512
"""Taken along by one unit of writing at most."""
WAITING: Final = 4_096
"""Kept waiting at most; beyond, the oldest is dropped."""


class CheckpointQueue:
    """Checkpoints by customer, the oldest first.

    Attributes:
        crowded: called where so many wait that a unit of writing is needed for them alone.
    """

    def __init__(self) -> None:
        self._waiting: dict[int, tuple[Checkpoint, int]] = {}
        self.crowded: Callable[[], None] = lambda: None

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, customer: int, checkpoint: Checkpoint, moved: int) -> None:
        """One more, instead of an older one of the same customer, whose identifiers moved at a position."""
        self._waiting.pop(customer, None)
        self._waiting[customer] = checkpoint, moved
        if len(self._waiting) > TAKEN:
            if len(self._waiting) > WAITING:
                del self._waiting[next(iter(self._waiting))]
            self.crowded()

    def take(self) -> list[tuple[int, Checkpoint]]:
        """Those for the next unit of writing."""
        some = [(customer, self._waiting.pop(customer)[0]) for customer in list(islice(self._waiting, TAKEN))]
        if len(self._waiting) > TAKEN:
            self.crowded()
        return some

    def of(self, customer: int, moved: int) -> Checkpoint | None:
        """What waits of a customer as she is: not of before a merge or split that is committed, and not told yet."""
        found = self._waiting.get(customer)
        return found[0] if found is not None and found[1] == moved else None

    def drop(self, customer: int) -> None:
        """She is another one now."""
        self._waiting.pop(customer, None)

    def clear(self) -> None:
        """All contexts are others now."""
        self._waiting.clear()
