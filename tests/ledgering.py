"""A hub's ledger without a network: the services that it works with, on any store, and a clock that stands still.

Owns `Parts` (they can be closed and opened again on the same store, as if the hub had been killed), `Host` (who listens
at a cursor, and what it heard), and the full scan that everything is compared with.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from segue.domain.derivation import derive
from segue.domain.fact import Fact
from segue.domain.fold import fold
from segue.domain.grant import everything
from segue.domain.identifier import Identifier
from segue.domain.plan import Plan
from segue.wire import fact_from_bytes, fact_to_bytes, facts_from_bytes
from segue_hub.app import _Listeners
from segue_hub.services.audiences import Audiences
from segue_hub.services.contexts import Contexts
from segue_hub.services.cursors import Cursor
from segue_hub.services.earlier_plans import EarlierPlans
from segue_hub.services.fan_out import FanOut
from segue_hub.services.ingest import Ingest
from segue_hub.services.kept_audiences import Key
from segue_hub.services.ledger import Ledger
from segue_hub.services.plans import Plans
from segue_hub.services.timers import Timers
from segue_hub.services.workspace import WorkspaceLog
from segue_hub.storage.ledger_ports import Telling
from segue_hub.storage.ports import Store


class Host:
    """Somebody who listens at a cursor and acknowledges what it heard.

    Attributes:
        heard: everything, in order.
        at: the clock's time at which each was heard.
    """

    def __init__(self, parts: Parts, instance: str = "one", *, acknowledges: bool = True) -> None:
        self._parts = parts
        self.instance = instance
        self.acknowledges = acknowledges
        self.cursor: Cursor | None = None
        self.heard: list[Telling] = []
        self.at: list[int] = []

    def wake(self) -> None:
        """There is more."""
        while self.cursor is not None and (part := self.cursor.part(self, 500)):
            self.heard += part
            self.at += [self._parts.now] * len(part)
            if self.acknowledges:
                self._parts.ledger.heard(self.cursor, part[-1].number)

    def replaced(self) -> None:
        """Another stream of this process listens."""
        self.cursor = None

    @property
    def members(self) -> set[int]:
        """Who is a member by what was heard; every joiner was outside, every leaver inside."""
        inside: set[int] = set()
        last = 0
        for told in self.heard:
            if told.number <= last:
                continue  # told again
            last = told.number
            assert told.left == (told.customer in inside), f"{told} changes nothing"
            inside ^= {told.customer}
        return inside


class Parts:
    """The services of one hub's life."""

    def __init__(self, store: Store, now: int, plan: Plan | None = None) -> None:
        self.now = now
        self.store = store
        self.plans = Plans(store, self.clock)
        if plan is not None:
            self.plans.current = plan
        self.contexts = Contexts(store, self.plans, facts_from_bytes, 1000)
        self.timers = Timers(self.clock)
        self.ingest = Ingest(store, self.plans, self.clock, fact_to_bytes, fact_from_bytes, pytest.fail)
        self.workspace = WorkspaceLog(store, self.plans, self.clock, fact_to_bytes, fact_from_bytes)
        self.audiences = Audiences(self.contexts, self.plans, self.timers, self.clock)
        self.ledger = Ledger(store, self.contexts, self.plans, self.timers, self.clock, fact_from_bytes)
        self.plans.write = self.workspace.write = self.ingest.exclusively
        self.ledger.write = self._written
        self._writing = False
        self.ledger.on_broken = pytest.fail
        self.ingest.beside = self.ledger.stage
        earlier, fan_out = EarlierPlans(self.contexts, self.plans), FanOut(self.contexts, self.plans)
        self.listeners = _Listeners(self.contexts, earlier, self.audiences, fan_out, self.ledger)
        self.workspace.listeners += [self.contexts.informed, self.audiences.informed, self.ledger.informed]
        self.ledger.start()
        self.ingest.start(self.listeners)
        self.timers.start()

    async def _written(self, write: Any) -> None:
        self._writing = True
        try:
            await self.ingest.exclusively(write)
        finally:
            self._writing = False

    def clock(self) -> int:
        """Stands still until `advance`."""
        return self.now

    async def tell(self, *facts: Fact) -> None:
        """Facts arrive, and everything that follows of them happens."""
        results = await self.ingest.publish(list(facts), everything("test"))
        assert {result.status for result in results} <= {"ACCEPTED", "DUPLICATE"}, results
        await self.quiet()

    async def advance(self, by: int) -> None:
        """Time passes, in microseconds."""
        self.now += by
        await self.quiet()

    async def listen(self, host: Host, audience: str, cursor: str = "export", heard: int = 0) -> None:
        """A host listens."""
        host.cursor = await self.ledger.listen(Key("crm", cursor, audience), host, heard)
        host.wake()
        await self.quiet()

    async def quiet(self) -> None:
        """Waits until nothing is left to do."""
        self.timers._changed.set()
        for _ in range(3):
            async with asyncio.timeout(10):
                while not self._idle():  # noqa: ASYNC110  # asked each turn of the loop
                    await asyncio.sleep(0)

    def _idle(self) -> bool:
        ledger = self.ledger
        scan = ledger._scan._task
        busy = (
            ledger._work.is_set() or ledger._later or ledger._turn or ledger._moved or ledger._orders
            or ledger._memberships.changes or self._writing or (scan is not None and not scan.done())
            or self.timers._changed.is_set() or self.timers_due() or ledger._memberships.wake_ups.next_at <= self.now
        )  # fmt: skip
        return not busy

    def timers_due(self) -> bool:
        return any(at <= self.now for at, _ in self.timers._due.values())

    def scanned(self, audience: str) -> set[int]:
        """Who is a member now: everybody folded from the first fact and derived, by the plainest means."""
        plan = self.plans.current
        return {
            customer
            for customer, facts in self.everybody()
            if derive(fold(plan, facts), plan, self.now, [audience]).audiences[audience]
        }

    def everybody(self) -> list[tuple[int, list[Fact]]]:
        """All customers with their facts; who has none is no member of anything."""
        found = [(customer, self.contexts.facts(customer)) for customer in self.contexts.customers()]
        return [(customer, facts) for customer, facts in found if facts]

    def customer(self, name: Identifier) -> int:
        """Who is known by an identifier."""
        known = self.contexts.find(name)
        assert known is not None
        return known.customer

    async def kill(self) -> None:
        """Ends at once: nothing more is written, nobody says goodbye."""
        tasks = [self.ledger._task, self.ledger._scan._task, self.timers._task, self.ingest._task]
        self.timers._closing = True
        if self.ledger._lazy is not None:
            self.ledger._lazy.cancel()
        for task in tasks:
            if task is not None:
                task.cancel()
        await asyncio.gather(*filter(None, tasks), return_exceptions=True)
        self.ingest._writer.shutdown()

    async def close(self) -> None:
        """Ends in good order."""
        await self.ledger.close()
        await self.ingest.close()
        await self.timers.close()


def run(act: Callable[[], Any]) -> None:
    """Runs an act in a loop of its own."""
    asyncio.run(act())


def numbers(told: Iterable[Telling]) -> list[tuple[int, bool, int, str]]:
    """Tellings as (customer, left, at, reason)."""
    return [(t.customer, t.left, t.at, t.reason) for t in told]
