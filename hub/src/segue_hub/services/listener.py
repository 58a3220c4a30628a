"""The listener: what the rest of the hub is told of units that became durable.

Owns the order in which it is told, as a protocol. Who listens, and what it does, it does not know.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from ..storage.ports import Checkpoint
from .entry import Entry
from .resolved import Resolved


class Listener(Protocol):
    """Who folds and tells: called on the event loop, unit by unit, in order."""

    def resolved(self, resolved: Resolved) -> None:
        """Identifiers appeared or moved."""

    def accepted(self, entries: Sequence[Entry]) -> None:
        """Facts became durable; in slices."""

    def settled(self, position: int) -> None:
        """Everything up to a position is folded."""

    def checkpoints(self) -> list[tuple[int, Checkpoint]]:
        """Folded contexts worth keeping, taken along by the next unit."""
