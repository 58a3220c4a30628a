"""The replica: the SDK's live copy of contexts.

Owns what is held of each subscribed customer, and the overlay of own facts on it. Readers see one immutable snapshot
at a time; only the session machine changes what is held.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from .domain.fact import Fact
from .domain.freshness import Freshness, freshness_at
from .domain.identifier import Identifier
from .domain.overlay import links_someone_new, overlaid
from .domain.plan import WAITING, Plan
from .domain.projection import NOBODY, Projected
from .domain.section import Section
from .domain.snapshot import Snapshot

UNSEEN: Final = Snapshot(NOBODY, WAITING)
"""Stands where nobody has looked yet."""


class Held:
    """What is held of one customer, for one purpose.

    Attributes:
        shown: what decisions read: the hub's context with own facts on top.
        version: of the hub's context; 0 where none was received.
        heard_at: our clock (microseconds) when the hub last spoke of it; 0 never.
        pending: own facts that no frame has included yet, by id, oldest first.
        users: sessions that use it now.
        keep_until: our clock (microseconds) until which it stays without a session.
        latest: the snapshot that decisions were made on last.
        sections: as received, for whoever keeps them on disk.
        answered: set once the hub has answered the first time.
        changed: set whenever what is held changes; waiters clear it.
    """

    __slots__ = (
        "_base", "answered", "changed", "customer", "heard_at", "identifier", "identity_pending", "keep_until",
        "last_answers", "latest", "number", "pending", "persisted_at", "plan", "purpose", "sections", "shown", "users",
        "version", "view",
    )  # fmt: skip

    def __init__(self, number: int, identifier: Identifier, purpose: str) -> None:
        self.number = number
        self.identifier = identifier
        self.purpose = purpose
        self.version = 0
        self.view = ""
        self.customer = ""
        self.plan = ""
        self._base: Projected = NOBODY
        self.shown: Projected = NOBODY
        self.heard_at = 0
        self.persisted_at = 0
        self.pending: dict[bytes, Fact] = {}
        self.identity_pending = False
        self.users = 0
        self.keep_until = 0
        self.answered = threading.Event()
        self.changed = threading.Event()
        self.last_answers: dict[str, object] = {}
        self.sections: Sequence[Section] = ()
        self.latest = UNSEEN

    def freshness(self, at: int) -> Freshness:
        """How fresh what is shown is, at our clock's `at`."""
        return freshness_at(at, self.heard_at, self.persisted_at)

    def snapshot(self, plan: Plan, strict: bool) -> Snapshot:
        """What is shown now, as a plan reads it; the same one until either changes."""
        found = self.latest
        told = (found.version, found.strict) == (self.version, strict)
        if not told or found.projected is not self.shown or found.plan is not plan:
            found = self.latest = Snapshot(self.shown, plan, self.version, strict)
        return found

    def take(self, projected: Projected, name: tuple[int, str, str], included: Iterable[bytes], plan: Plan,
             at: int) -> None:  # fmt: skip
        """A whole context arrived: (version, view, customer), with the own facts that it includes.

        Readers see the overlay without them and the context with them in one step.
        """
        for id_ in included:
            self.pending.pop(id_, None)
        self._base = projected
        self.version, self.view, self.customer = name
        self._lay(plan)
        self.heard(at)

    def gone(self, included: Iterable[bytes], plan: Plan, at: int) -> None:
        """The hub knows nobody by this identifier (any more)."""
        self.take(NOBODY, (0, "", ""), included, plan, at)

    def restore(self, projected: Projected, plan: Plan, at: int) -> None:
        """A context from disk, of a time when the hub was last heard."""
        self._base, self.persisted_at = projected, at
        self._lay(plan)

    def heard(self, at: int) -> None:
        """The hub says that what is held is current."""
        self.heard_at = at
        self.answered.set()
        self.changed.set()

    def show(self, fact: Fact, plan: Plan, most: int) -> None:
        """An own fact goes on top. Of more than `most` the oldest quarter is shown no more, until the hub has them.

        A quarter at once, since what is left is laid anew: whoever tells facts all day without a hub pays the same for
        each, and a decision never rests on more own facts than it can name.
        """
        self.pending[fact.id] = fact
        full = len(self.pending) > most
        for id_ in list(self.pending)[: max(1, most // 4)] if full else ():
            del self.pending[id_]
        self.identity_pending = self.identity_pending or links_someone_new(self._base, fact)
        if full or len(self.pending) == 1 or self.shown is self._base:
            self._lay(plan)
        else:
            self.shown = overlaid(self.shown, plan, [fact])

    def drop(self, ids: Iterable[bytes], plan: Plan) -> None:
        """Frames included these, or the hub refused them."""
        before = len(self.pending)
        for id_ in ids:
            self.pending.pop(id_, None)
        if len(self.pending) != before:
            self._lay(plan)

    def _lay(self, plan: Plan) -> None:
        self.shown = overlaid(self._base, plan, self.pending.values()) if self.pending else self._base
        self.identity_pending = any(links_someone_new(self._base, fact) for fact in self.pending.values())


class Replica:
    """All that is held, by identifier and purpose, and by subscription number."""

    def __init__(self) -> None:
        self._by_name: dict[tuple[Identifier, str], Held] = {}
        self._by_number: dict[int, Held] = {}

    def __len__(self) -> int:
        return len(self._by_number)

    def all(self) -> list[Held]:
        """Everything held."""
        return list(self._by_number.values())

    def find(self, identifier: Identifier, purpose: str) -> Held | None:
        """What is held of an identifier for a purpose."""
        return self._by_name.get((identifier, purpose))

    def numbered(self, number: int) -> Held | None:
        """What a subscription holds."""
        return self._by_number.get(number)

    def add(self, number: int, identifier: Identifier, purpose: str) -> Held:
        """Room for one more."""
        held = Held(number, identifier, purpose)
        self._by_name[identifier, purpose] = held
        self._by_number[number] = held
        return held

    def remove(self, held: Held) -> None:
        """Lets go."""
        self._by_name.pop((held.identifier, held.purpose), None)
        self._by_number.pop(held.number, None)

    def expired(self, at: int) -> Iterator[Held]:
        """What no session uses and no lease keeps."""
        for held in self.all():
            if held.users <= 0 and at >= held.keep_until:
                yield held

    def digest(self) -> str:
        """The digest over what is held, to compare with a bookmark's."""
        digest = hashlib.sha256()
        for number in sorted(self._by_number):
            held = self._by_number[number]
            digest.update(f"{number}:{held.version}:{held.view};".encode())
        return digest.hexdigest()[:16]
