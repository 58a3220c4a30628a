"""Cursors: named places in what is told of an audience, and who listens there.

Owns what is live of them: how far each was told and has acknowledged, and which of several processes hears. One
listens, the first that came; the others stand by, and the next of them goes on where it stopped.
"""

from __future__ import annotations

from collections import deque
from typing import Final, Protocol

from segue.domain.instant import NEVER

from ..storage.ledger_ports import LedgerReads, StoredCursor, Telling

WINDOW: Final = 2_000
"""Tellings that are on their way to a listener at most."""
BACKLOG: Final = 100_000
"""Tellings that wait for a cursor before joins and leaves that cancel out are left out."""


class Listener(Protocol):
    """Somebody who is told."""

    @property
    def instance(self) -> str:
        """Names the process."""

    def wake(self) -> None:
        """There is more to tell, or it is this one's turn."""

    def replaced(self) -> None:
        """Another stream of the same process listens instead."""


class Cursor:
    """One cursor, live.

    Attributes:
        audience: its name.
        next: number of the next telling.
        ready: number of the last that is durable: it may be told.
        acknowledged: everything through this number was heard.
        heard_at: when something was last acknowledged, in microseconds.
        fence: nothing behind this number is told while it is set: it is being conflated.
    """

    def __init__(self, stored: StoredCursor, audience: str, ledger: LedgerReads) -> None:
        self.number = stored.number
        self.touchpoint = stored.touchpoint
        self.name = stored.name
        self.audience = audience
        self.audience_number = stored.audience
        self.next = stored.next
        self.ready = stored.next - 1
        first = ledger.tellings(stored.number, 0, 1)
        self.acknowledged = first[0].number - 1 if first else self.ready
        self.heard_at = stored.heard_at
        self.fence = NEVER
        self._ledger = ledger
        self._crowded_at = self.acknowledged + BACKLOG
        self._listeners: list[Listener] = []
        self._sent = self.acknowledged
        self._under_way: deque[tuple[int, int]] = deque()

    @property
    def connected(self) -> list[str]:
        """The instances that listen or stand by, the one that hears first."""
        return [listener.instance for listener in self._listeners]

    @property
    def waiting(self) -> int:
        """How many tellings are still to be heard."""
        return self._ledger.waiting(self.number, self.acknowledged)

    def listen(self, listener: Listener, heard: int) -> None:
        """Somebody comes; `heard` is the number through which its process heard already."""
        for other in [o for o in self._listeners if o.instance == listener.instance]:
            self.leave(other)
            other.replaced()
        self._listeners.append(listener)
        if self._listeners[0] is listener:
            self._begin()
            self._sent = max(self._sent, min(heard, self.ready))
        listener.wake()

    def leave(self, listener: Listener) -> None:
        """Somebody goes; who stands by takes over."""
        if listener not in self._listeners:
            return
        heard = self._listeners[0] is listener
        self._listeners.remove(listener)
        if heard and self._listeners:
            self._begin()
            self._listeners[0].wake()

    def _begin(self) -> None:
        self._sent = self.acknowledged
        self._under_way.clear()

    def hears(self, listener: Listener) -> bool:
        """Whether it is this one's turn."""
        return bool(self._listeners) and self._listeners[0] is listener

    def due(self, listener: Listener) -> bool:
        """Whether there is something to tell it now."""
        return self.hears(listener) and self._sent < min(self.ready, self.fence) and self._room > 0

    @property
    def _room(self) -> int:
        return WINDOW - sum(count for _, count in self._under_way)

    def part(self, listener: Listener, most: int) -> list[Telling]:
        """The next tellings for a listener; they are on their way from now on."""
        if not self.due(listener):
            return []
        found = self._ledger.tellings(self.number, self._sent, min(most, self._room))
        found = [telling for telling in found if telling.number <= self.fence]
        self._sent = found[-1].number if found else min(self.ready, self.fence)
        if found:
            self._under_way.append((self._sent, len(found)))
        return found

    def heard(self, through: int) -> bool:
        """Something was acknowledged; returns whether that is news."""
        through = min(through, self.ready)
        while self._under_way and self._under_way[0][0] <= through:
            self._under_way.popleft()
        if through <= self.acknowledged:
            return False
        self.acknowledged = through
        self._wake()
        return True

    def written(self, last: int) -> None:
        """Tellings through a number are durable."""
        self.ready, self.next = last, last + 1
        self._wake()

    @property
    def is_crowded(self) -> bool:
        """Whether so much waits that what cancels out is to be left out."""
        return self.fence == NEVER and self.ready > max(self._crowded_at, self.acknowledged + BACKLOG)

    def raise_fence(self) -> int:
        """Begins to conflate: behind what may be on its way. Returns that number."""
        first = self._ledger.tellings(self.number, self.acknowledged, WINDOW)
        self.fence = first[-1].number if first else self.ready
        return self.fence

    def conflated(self) -> None:
        """What waited is conflated."""
        self.fence = NEVER
        self._crowded_at = self.ready + BACKLOG
        self._wake()

    def _wake(self) -> None:
        if self._listeners:
            self._listeners[0].wake()
