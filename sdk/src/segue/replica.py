"""The replica: the SDK's live copy of contexts.

Owns what is held of each subscribed customer, and the overlay of own facts on it. Readers see one immutable snapshot
at a time; only the session machine changes what is held.
"""

from __future__ import annotations

import hashlib
import logging
import threading
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from .domain.fact import Fact
from .domain.freshness import Freshness, freshness_at
from .domain.identifier import Identifier
from .domain.overlay import links_someone_new, overlaid
from .domain.plan import WAITING, Plan
from .domain.projection import NOBODY, Projected
from .domain.section import Section
from .domain.snapshot import Snapshot
from .wake import Latch

log = logging.getLogger("segue")

UNSEEN: Final = Snapshot(NOBODY, WAITING)
"""Stands where nobody has looked yet."""


class Held:
    """What is held of one customer, for one purpose.

    Attributes:
        laid: what decisions read, but for the own facts that nobody has asked about yet.
        unlaid: those; they are laid over it together, once somebody asks.
        version: of the hub's context; 0 where none was received.
        heard_at: our clock (microseconds) when the hub last spoke of it; 0 never.
        pending: own facts that no frame has included yet, by id, oldest first.
        users: sessions that use it now.
        keep_until: our clock (microseconds) until which it stays without a session.
        latest: the snapshot that decisions were made on last.
        sections: as received, where contexts are kept on disk.
        answered: set once the hub has answered the first time.
        changed: an event of whoever waits for changes, put here by him; set with each.
    """

    __slots__ = (
        "_base", "_gate", "_plan", "answered", "changed", "customer", "heard_at", "identifier", "identity_pending",
        "keep_until", "laid", "last_answers", "latest", "number", "pending", "persisted_at", "plan", "purpose",
        "sections", "unlaid", "users", "version", "view",
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
        self.laid: Projected = NOBODY
        self.unlaid: list[Fact] = []
        self._plan: Plan = WAITING
        # Reentrant: a host's signal handler may tell a fact while the same thread is reading.
        self._gate = threading.RLock()
        self.heard_at = 0
        self.persisted_at = 0
        self.pending: dict[bytes, Fact] = {}
        self.identity_pending = False
        self.users = 0
        self.keep_until = 0
        self.answered = Latch()
        self.changed: threading.Event | None = None
        self.last_answers: dict[str, tuple[Any, ...]] = {}
        self.sections: Sequence[Section] = ()
        self.latest = UNSEEN

    def freshness(self, at: int) -> Freshness:
        """How fresh what is shown is, at our clock's `at`."""
        return freshness_at(at, self.heard_at, self.persisted_at)

    @property
    def shown(self) -> Projected:
        """What decisions read: the hub's context with own facts on top."""
        laid = self.laid
        while not self.unlaid:
            if laid is self.laid:  # else both changed in between
                return laid
            laid = self.laid
        with self._gate:
            unlaid, laid = self.unlaid, self.laid
            count = len(unlaid)
            try:
                laid = overlaid(laid, self._plan, unlaid[:count]) if count else laid
            except Exception:  # the host must never notice: they are told all the same, and seen once the hub has them
                log.exception("segue: own facts cannot be shown")
            if self.unlaid is unlaid:  # else a signal handler told more than is shown, and all is laid anew
                self.laid = laid  # before the list is empty: who finds it so reads this
                del unlaid[:count]
        return laid

    def snapshot(self, plan: Plan, strict: bool) -> Snapshot:
        """What is shown now, as a plan reads it; the same one until either changes."""
        found = self.latest
        told = (found.version, found.strict) == (self.version, strict)
        if not told or found.projected is not self.shown or found.plan is not plan:
            projected = self.shown
            made = Snapshot(projected, plan, self.version, strict)
            found = self.latest = made.after(found) if found.judges_as(projected, plan, strict) else made
        return found

    def take(self, projected: Projected, name: tuple[int, str, str], included: Iterable[bytes], plan: Plan,
             at: int) -> None:  # fmt: skip
        """A whole context arrived: (version, view, customer), with the own facts that it includes.

        Readers see the overlay without them and the context with them in one step.
        """
        with self._gate:
            self._forget(included)
            self._base = projected
            self.version, self.view, self.customer = name
            self._lay(plan)
        self.heard(at)

    def gone(self, included: Iterable[bytes], plan: Plan, at: int) -> None:
        """The hub knows nobody by this identifier (any more)."""
        self.take(NOBODY, (0, "", ""), included, plan, at)

    def restore(self, projected: Projected, plan: Plan, at: int) -> None:
        """A context from disk, of a time when the hub was last heard."""
        with self._gate:
            self._base, self.persisted_at = projected, at
            self._lay(plan)

    def heard(self, at: int) -> None:
        """The hub says that what is held is current."""
        self.heard_at = at
        self.answered.set()
        if self.changed is not None:
            self.changed.set()

    def show(self, fact: Fact, plan: Plan, most: int) -> None:
        """An own fact goes on top. Of more than `most` the oldest quarter is shown no more, until the hub has them.

        A quarter at once, since what is left is laid anew, once somebody asks: whoever tells facts all day without a
        hub pays the same for each, and a decision never rests on more own facts than it can name.
        """
        with self._gate:
            self.pending[fact.id] = fact
            if len(fact.identifiers) > 1:
                self.identity_pending = self.identity_pending or links_someone_new(self._base, fact)
            if len(self.pending) > most:
                for id_ in list(self.pending)[: max(1, most // 4)]:
                    del self.pending[id_]
                self._plan = plan
                # Before what they lie over is the bare context: who finds none to lay reads what was laid before.
                self.unlaid = list(self.pending.values())
                self.laid = self._base
                self.identity_pending = any(links_someone_new(self._base, own) for own in self.unlaid)
            else:
                self._plan = plan
                self.unlaid.append(fact)

    def drop(self, ids: Iterable[bytes], plan: Plan) -> None:
        """Frames included these, or the hub refused them."""
        with self._gate:
            before = len(self.pending)
            self._forget(ids)
            if len(self.pending) != before:
                self._lay(plan)

    def _forget(self, ids: Iterable[bytes]) -> None:
        """These are not pending any more; under the gate."""
        pending = self.pending
        if pending:
            for id_ in ids:
                pending.pop(id_, None)
            if not pending:
                self.pending = {}  # one that was emptied keeps its room

    def _lay(self, plan: Plan) -> None:
        """Lays all that is pending over the hub's context; under the gate."""
        self.laid = overlaid(self._base, plan, self.pending.values()) if self.pending else self._base
        self.unlaid.clear()
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
