"""The ledger: what was told to whom of an audience, so that a retraction reaches those who were told (TI2, TI8).

Owns the order derive -> write -> tell. One task derives the members of every audience that a cursor listens to, also
while nobody is connected, in the order of instants: first what fell due, each as of its own instant, then whose facts
changed. What came of it is one unit: members, tellings, wake-ups, and the position of the change log through which all
is derived. Nothing is told before it is durable: whatever is killed when, each cursor hears every change once, or again
with the same id, and none before its instant.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Final

import structlog
from segue.domain.fact import Fact
from segue.domain.instant import SECOND

from ..storage.ledger_ports import Telling
from ..storage.ports import Store, StoreFull, Unit
from .contexts import Contexts
from .cursors import Cursor, Listener
from .entry import Entry
from .kept_audiences import KeptAudiences, Key
from .ledger_listeners import POSITION, LedgerListeners
from .ledger_recovery import changed_after
from .ledger_scan import PLAN, LedgerScan
from .memberships import Change, Memberships, News, write_changes
from .plans import News as WorkspaceNews
from .plans import Plans
from .resolved import Resolved
from .timers import Timers

log = structlog.get_logger("segue.hub")

SLICE: Final = 64
"""Customers derived before the event loop gets its turn."""
CHUNK: Final = 10_000
"""Changes and wake-ups that one unit takes along, about."""
LAZY: Final = 0.1
"""Seconds in which acknowledgements, wake-ups and the position may wait for a unit, where nobody is told anything."""
RETRY: Final = 1.0
"""Seconds until a store that was full is tried again."""

Order = tuple[Callable[[Unit], None], Callable[[], None]]
"""What a unit takes along, and what follows once it is durable."""


class Ledger:
    """One hub's ledger.

    Args:
        store: where it is kept.
        contexts, plans: what membership is derived from.
        timers: wake when something falls due.
        clock: the hub's time in microseconds.
        decode: a fact as the store keeps it.
        limit: customers held in memory.

    Attributes:
        write: writes a unit, in order with all others.
        on_broken: called where the store cannot promise durability any more.
    """

    def __init__(
        self, store: Store, contexts: Contexts, plans: Plans, timers: Timers, clock: Callable[[], int],
        decode: Callable[[bytes], Fact], limit: int = 100_000,
    ) -> None:  # fmt: skip
        self._store = store
        self._contexts = contexts
        self._plans = plans
        self._timers = timers
        self._clock = clock
        self._decode = decode
        self._kept = KeptAudiences(store.ledger, plans)
        self._memberships = Memberships(store.ledger, contexts, plans, clock, limit)
        self._scan = LedgerScan(store.ledger, contexts, self._kept, self._memberships, clock, self.order, self._room)
        self._listeners = LedgerListeners(
            self._kept, plans, self._memberships, clock, self.order, self._begin, lambda: self._compare("")
        )
        self._later: dict[int, News] = {}
        self._turn: dict[int, News] = {}
        self._moved: set[int] = set()
        self._orders: list[Order] = []
        self._heard: dict[int, int] = {}
        position, _, through = store.noted(POSITION).partition(" ")
        self._position, self._through = int(position or 0), int(through or 0)
        self._settled = contexts.position
        self._work, self._written = asyncio.Event(), asyncio.Event()
        self._stale = self._late = self._closing = False
        self._lazy: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None
        self.write: Callable[[Callable[[Unit, int], int]], Any] | None = None
        self.on_broken: Callable[[str], None] = lambda _: None
        plans.listeners.append(lambda: self._compare(PLAN))

    def start(self) -> None:
        """Begins, with what happened while the hub was away."""
        self._memberships.numbers = self._kept.numbers
        self._work.set()
        self._task = asyncio.create_task(self._run(self._store.head()[0]), name="ledger")
        self._task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        """Whatever ends the task but `close` ends the hub: it must not seem to tell."""
        error = None if task.cancelled() else task.exception()
        if error is not None:
            log.error("the ledger ended", exc_info=error)
            self.on_broken(f"the ledger ended: {type(error).__name__}: {error}")

    # -- who listens ---------------------------------------------------------------------------------------------------

    async def listen(self, key: Key, listener: Listener, heard: int) -> Cursor:
        """Somebody listens at a cursor: see `LedgerListeners.listen`."""
        cursor = await self._listeners.listen(key)
        self.heard(cursor, heard)
        cursor.listen(listener, heard)
        return cursor

    async def forget(self, key: Key) -> None:
        """Ends a cursor: see `LedgerListeners.forget`."""
        await self._listeners.forget(key)

    def heard(self, cursor: Cursor, through: int) -> None:
        """A cursor's listener heard everything through a number."""
        if cursor.heard(through):
            cursor.heard_at = self._clock()
            self._heard[cursor.number] = cursor.acknowledged
            self._stale = True
            self._work.set()

    def _begin(self) -> str:
        """Somebody listens, and nobody did before: what is derived is derived from here on."""
        self._position, self._through = self._settled, self._clock()
        return self._reached(self._position)

    def cursors(self) -> list[dict[str, Any]]:
        """All cursors, as plain data."""
        return self._kept.listed()

    def plain(self) -> dict[str, Any]:
        """How it is, as JSON."""
        return {**self._kept.plain(), "fired": self._memberships.wake_ups.fired}

    # -- what the rest of the hub tells --------------------------------------------------------------------------------

    def stage(self, unit: Unit, resolved: Resolved, at: int) -> None:
        """In the unit that changes who is one: these customers are asked again, whatever happens after it."""
        if self._kept and resolved.changed:
            unit.ledger.rouse(resolved.changed, at)

    def overtaken(self, entries: Sequence[Entry]) -> None:
        """Facts are about to be folded: what fell due of their customers before them comes first (TI1)."""
        if self._kept:
            now = self._clock()
            for entry in entries:
                self._memberships.overtaken(entry.customer, min(now, entry.fact.occurred_at), entry.position)

    def resolved(self, resolved: Resolved) -> None:
        """Customers became one or came apart."""
        if self._kept and resolved.changed:
            self._moved |= resolved.changed
            self._work.set()

    def accepted(self, entries: Sequence[Entry]) -> None:
        """Customers changed."""
        if self._kept:
            for entry in entries:
                self._later.setdefault(entry.customer, News()).join(News(oldest=entry.fact.occurred_at))
            self._work.set()

    def settled(self, position: int) -> None:
        """Everything up to a position is folded, and was told here."""
        self._settled = position
        if self._kept:
            self._stale = True
            self._work.set()

    def informed(self, news: WorkspaceNews) -> None:
        """Incidents are others than they were: who reads them is derived anew."""
        self._compare("")

    def _compare(self, reason: str) -> None:
        self._memberships.numbers = self._kept.numbers
        self._kept.compare(reason)
        self._scan.begin()

    def order(self, order: Order) -> None:
        """The next unit takes something along."""
        self._orders.append(order)
        self._work.set()

    async def _room(self) -> None:
        """Waits until not too much waits to be written."""
        while self._memberships.unwritten > CHUNK:
            self._written.clear()
            self._work.set()
            await self._written.wait()

    # -- the task ------------------------------------------------------------------------------------------------------

    async def _run(self, last: int) -> None:
        recovered = False
        while True:
            await self._work.wait()
            self._work.clear()
            try:
                if not recovered:
                    await self._recover(last)
                    recovered = True
                await self._pass()
            except StoreFull as error:
                log.warning("the ledger waits for space; nobody is told anything meanwhile", reason=str(error))
                self._timers.arm("ledger", self._clock() + int(RETRY * SECOND), lambda _: self._work.set())
            if self._closing:
                return

    async def _recover(self, last: int) -> None:
        """What was durable before it was derived, as of then: time goes on from there.

        Args:
            last: the position of the change log when the hub started.
        """
        # Nor later than what is due next: where the clock was set back meanwhile, that lies before what was reached.
        at = min(self._through, self._clock(), self._memberships.wake_ups.next_at - 1)
        position = self._position
        while self._kept and position < last:
            changed, position = changed_after(self._store, self._decode, position, last)
            for customer, news in changed.items():
                self._safely(self._memberships.derive, customer, at, news)
            await self._write(position)
            await asyncio.sleep(0)
        self._compare("")

    async def _pass(self) -> None:
        """Derives what is due, then whose facts changed, until nothing is left to derive; then writes."""
        memberships, wake_ups = self._memberships, self._memberships.wake_ups
        while True:
            for customer, news in self._later.items():
                self._turn.setdefault(customer, News()).join(news)
            self._later = {}
            position, steps = self._settled, 0
            while True:
                now = self._clock()
                if wake_ups.next_at <= now:
                    self._safely(memberships.due, now)
                elif self._moved:  # together, so that who leaves for it is told before who joins
                    for customer in sorted(self._moved):
                        self._safely(memberships.bring_up, customer, now, News(identity=True))
                    self._moved = set()
                elif self._turn:
                    customer = next(iter(self._turn))
                    self._safely(memberships.bring_up, customer, now, self._turn.pop(customer))
                else:
                    break
                steps += 1
                if steps % SLICE == 0:
                    await asyncio.sleep(0)
                if memberships.unwritten > CHUNK:
                    await self._write(None)
            await self._write(position)
            if not (self._later or self._moved):
                break
        self._timers.arm("ledger", wake_ups.next_at, lambda _: self._work.set())

    @staticmethod
    def _safely(derive: Callable[..., object], *arguments: object) -> None:
        try:
            derive(*arguments)
        except Exception:  # one customer that cannot be derived may not silence all others
            log.exception("the membership of a customer cannot be derived")

    async def _write(self, position: int | None) -> None:
        """One unit with all that changed; and, where all is derived through a position, with that."""
        waits = self._stale or self._memberships.unwritten or self._orders
        urgent = self._memberships.changes or self._orders or self._memberships.unwritten > CHUNK
        if not waits or not (urgent or self._late or self._closing):
            if waits and self._lazy is None:
                self._lazy = asyncio.get_running_loop().call_later(LAZY, self._is_late)
            return
        assert self.write is not None, "wired by the composition root"
        changes, wakes = self._memberships.take()
        orders, self._orders = self._orders, []
        heard, self._heard = self._heard, {}
        told = [(cursor, _tellings(cursor, changes)) for cursor in self._kept.cursors.values()]
        told = [(cursor, tellings) for cursor, tellings in told if tellings]
        now = self._clock()
        if self._memberships.changes:
            position = None  # some wait for what is overdue: not all is derived and written
        # Everything that fell due before the next wake-up was asked: a hub that is killed goes on from here.
        self._through = max(self._through, min(now, self._memberships.wake_ups.next_at - 1))
        reached = self._reached(self._position if position is None else position)
        self._stale = self._late = False

        def write(unit: Unit, last: int) -> int:
            write_changes(unit, changes)
            for cursor, tellings in told:
                unit.ledger.tell(cursor.number, tellings)
            for number, through in heard.items():
                unit.ledger.told(number, through, now)
            unit.ledger.wake(wakes.items())
            for order, _ in orders:
                order(unit)
            unit.note(POSITION, reached)
            return last

        try:
            await self.write(write)
        except BaseException:  # also where it was cancelled: what was to be written waits for the next unit
            self._memberships.lost(changes)
            self._orders = orders + self._orders
            self._heard = heard | self._heard
            self._stale = True
            raise
        self._memberships.kept()
        self._position = position if position is not None else self._position
        self._stale = self._stale or position is None
        for cursor, tellings in told:
            cursor.written(tellings[-1].number)
            if cursor.is_crowded:
                self._conflate(cursor)
        for _, then in orders:
            then()
        self._written.set()

    def _reached(self, position: int) -> str:
        return f"{position} {self._through}"

    def _is_late(self) -> None:
        self._lazy, self._late = None, True
        self._work.set()

    def _conflate(self, cursor: Cursor) -> None:
        behind = cursor.raise_fence()
        self.order((lambda unit: unit.ledger.conflate(cursor.number, behind), cursor.conflated))

    async def close(self) -> None:
        """Writes what there is, and stops."""
        self._closing = True
        self._work.set()
        await self._scan.close()
        if self._lazy is not None:
            self._lazy.cancel()
        await asyncio.gather(*filter(None, [self._task]), return_exceptions=True)


def _tellings(cursor: Cursor, changes: Sequence[Change]) -> list[Telling]:
    """What a cursor is to hear of changes that happen in this order."""
    own = [change for change in changes if change.audience == cursor.audience_number]
    return [Telling(number, c.customer, c.left, c.at, c.reason) for number, c in enumerate(own, cursor.next)]
