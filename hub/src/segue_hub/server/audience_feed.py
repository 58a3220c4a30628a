"""The feeds of one audience to one stream: its members and then who joins and leaves, or what a cursor is to hear.

Owns the backlog of a stream that does not read. Beyond a bound it is dropped, and when the stream reads again it gets
the members of that moment anew: memory is bounded by the audience, not by traffic. What a cursor is to hear waits in
the ledger. Knows no messages.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from ..services.audiences import Change
from ..services.cursors import Cursor
from ..storage.ledger_ports import Telling

BACKLOG: Final = 10_000
"""Joiners and leavers that wait for a stream at most."""
PART: Final = 500
"""Members of one message at most."""


@dataclass(frozen=True, slots=True)
class Part:
    """What one message tells: joiners and leavers, or a piece of a snapshot from `reset` to `ends`."""

    changes: Sequence[Change]
    reset: bool = False
    ends: bool = False


class AudienceFeed:
    """What one stream is still to hear of one audience.

    Args:
        audience: its name.
        purpose: why the stream reads it.
        wake: called when there is something to send.
        dropped: told how many changes were dropped for a snapshot.
    """

    def __init__(
        self, audience: str, purpose: str, wake: Callable[[], None], dropped: Callable[[int], None]
    ) -> None:  # fmt: skip
        self.audience = audience
        self.purpose = purpose
        self._wake = wake
        self._dropped = dropped
        self._members: Callable[[], Sequence[tuple[int, int]]] | None = None
        self._changes: deque[Change] = deque()
        self._snapshot: Sequence[tuple[int, int]] | None = None
        self._sent = 0
        self._reset = False

    def open(self, members: Callable[[], Sequence[tuple[int, int]]]) -> None:
        """Begins, with a snapshot; `members` gives those of now as (customer, since)."""
        self._members = members
        self._reset = True
        self._wake()

    @property
    def due(self) -> bool:
        """Whether there is something to send."""
        return self._reset or self._snapshot is not None or bool(self._changes)

    def tell(self, changes: Sequence[Change]) -> None:
        """Customers joined or left."""
        if self._members is None or self._reset:
            return  # the snapshot that is still to be taken will show it
        if len(self._changes) + len(changes) > BACKLOG:
            self._dropped(len(self._changes) + len(changes))
            self._changes.clear()
            self._snapshot = None
            self._reset = True
        else:
            self._changes.extend(changes)
        self._wake()

    def part(self) -> Part | None:
        """The next message; None where there is nothing to tell."""
        if self._reset:
            assert self._members is not None
            self._reset, self._snapshot, self._sent = False, self._members(), 0
        if self._snapshot is not None:
            start, self._sent = self._sent, self._sent + PART
            members, ends = self._snapshot[start : self._sent], self._sent >= len(self._snapshot)
            if ends:
                self._snapshot = None
            return Part([Change(self.audience, customer, False, at) for customer, at in members], start == 0, ends)
        if self._changes:
            return Part([self._changes.popleft() for _ in range(min(PART, len(self._changes)))])
        return None


class CursorFeed:
    """What one stream is to hear at a cursor, while it is its turn.

    Args:
        audience: its name.
        purpose: why the stream reads it.
        instance: names the process.
        wake: called when there is something to send.
    """

    def __init__(self, audience: str, purpose: str, instance: str, wake: Callable[[], None]) -> None:
        self.audience = audience
        self.purpose = purpose
        self.cursor: Cursor | None = None
        self._instance = instance
        self._wake = wake

    @property
    def instance(self) -> str:
        """See `cursors.Listener.instance`."""
        return self._instance

    def wake(self) -> None:
        """See `cursors.Listener.wake`."""
        self._wake()

    def replaced(self) -> None:
        """See `cursors.Listener.replaced`."""
        self.cursor = None

    @property
    def due(self) -> bool:
        """Whether there is something to send."""
        return self.cursor is not None and self.cursor.due(self)

    def part(self) -> Sequence[Telling]:
        """The next message; empty where there is nothing to tell."""
        return self.cursor.part(self, PART) if self.cursor is not None else ()

    def close(self) -> None:
        """The stream listens no more."""
        if self.cursor is not None:
            self.cursor.leave(self)
