"""Facts as an outbox has them: on their way into its journal, and as they wait there.

Owns their shapes, and that a fact writes itself down on our own thread. Knows no disk and no limit.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

from .domain.fact import Fact

Source = Fact | Callable[[], Fact]
"""A fact, or what makes it; may take its time, and raise."""


@dataclass(slots=True)
class Offered:
    """A fact on its way into the journal.

    Attributes:
        source: of which id and body are not written yet.
        journalled: set once it is on disk.
        producer, ordinal: its number, as soon as it has one.
    """

    id: bytes
    body: bytes
    lane: int
    journalled: threading.Event | None = None
    source: Source | None = None
    producer: str = ""
    ordinal: int = 0


def written(source: Source) -> tuple[bytes, bytes]:
    """A fact as the journal keeps it; on our own thread, which has loaded the wire."""
    from .wire import fact_to_bytes

    fact = source() if callable(source) else source
    return fact.id, fact_to_bytes(fact)


@dataclass(frozen=True, slots=True)
class Row:
    """A fact that waits; `number` is 0 where no disk keeps it."""

    number: int
    id: bytes
    body: bytes
    producer: str = ""
    ordinal: int = 0
