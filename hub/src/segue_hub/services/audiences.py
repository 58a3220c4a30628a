"""Audiences: who is in them now, and who joins and leaves at the second it becomes true.

Owns membership as a function of contexts and time. Where nobody watches, nothing is kept: a question is a scan. Where
somebody does, members are derived on every change of a customer and at every flip, without polling.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from itertools import chain

from segue.domain.derivation import derive
from segue.domain.instant import NEVER
from segue.domain.plan import Plan
from segue.domain.vocabulary import did_you_mean

from .contexts import Contexts
from .entry import Entry
from .failure import Refusal
from .head import Head
from .plans import News, Plans
from .resolved import Resolved
from .schedule import Schedule
from .timers import Timers

Tell = Callable[[list["Change"]], None]


@dataclass(frozen=True, slots=True)
class Change:
    """A customer joined or left an audience, at an instant in microseconds."""

    audience: str
    customer: int
    left: bool
    at: int


def require_audience(plan: Plan, name: str) -> None:
    """Refuses an unknown audience with the nearest known name.

    Raises:
        Refusal: NAME_UNKNOWN.
    """
    if name not in plan.audiences:
        raise Refusal("NAME_UNKNOWN", f"no audience is called {name!r}. {did_you_mean(name, plan.audiences)}")


class Audiences:
    """Membership.

    Args:
        contexts, plans: what membership is derived from.
        timers: wake at flips.
        clock: the hub's time in microseconds.
    """

    def __init__(self, contexts: Contexts, plans: Plans, timers: Timers, clock: Callable[[], int]) -> None:
        self._contexts = contexts
        self._plans = plans
        self._timers = timers
        self._clock = clock
        self._members: dict[str, dict[int, int]] = {}
        self._watchers: dict[str, list[Tell]] = {}
        self._scans: dict[str, asyncio.Task[None]] = {}
        self._flips = Schedule()
        self._armed = NEVER
        plans.listeners.append(self._new_plan)

    def require(self, name: str) -> None:
        """Refuses an unknown audience with the nearest known name."""
        require_audience(self._plans.current, name)

    async def members(self, names: Sequence[str]) -> AsyncIterator[tuple[int, str]]:
        """A scan: every (customer, audience) that holds now, customers rising."""
        for count, customer in enumerate(self._contexts.customers()):
            head = self._contexts.glance(customer)
            derived = derive(head.content, self._plans.current, self._clock(), names)
            for name, inside in derived.audiences.items():
                if inside and head.position:
                    yield customer, name
            if count % 64 == 63:
                await asyncio.sleep(0)

    async def watch(self, name: str, tell: Tell) -> list[tuple[int, int]]:
        """Begins to watch an audience.

        Returns:
            The members now, as (customer, since); everything later is told.

        Raises:
            Refusal: NAME_UNKNOWN.
        """
        self.require(name)
        self._watchers.setdefault(name, []).append(tell)
        if name not in self._scans:
            self._members[name] = {}
            self._scans[name] = asyncio.create_task(self._scan(), name=f"scan-{name}")
        try:
            await asyncio.shield(self._scans[name])
        except BaseException:  # also a cancelled watch: nobody would end it
            self.unwatch(name, tell)
            raise
        return self.watched(name)

    def watched(self, name: str) -> list[tuple[int, int]]:
        """The members now of an audience that is watched, as (customer, since)."""
        return sorted(self._members.get(name, {}).items())

    async def _scan(self, first: Sequence[int] = ()) -> None:
        """Derives everybody for all that is watched: a wake-up is one per customer, and the earliest of all."""
        for count, customer in enumerate(chain(first, self._contexts.customers())):
            self._derive(customer, self._contexts.glance(customer), self._clock())  # who is live stays so
            if count % 64 == 63:
                await asyncio.sleep(0)

    def unwatch(self, name: str, tell: Tell) -> None:
        """Ends a watch; what nobody watches is forgotten."""
        watchers = self._watchers.get(name, [])
        if tell in watchers:
            watchers.remove(tell)
        if not watchers:
            self._watchers.pop(name, None)
            self._members.pop(name, None)
            scan = self._scans.pop(name, None)
            if scan is not None:
                scan.cancel()
        if not self._watchers:
            self._flips = Schedule()

    def _new_plan(self) -> None:
        known = self._plans.current.audiences
        for name in list(self._watchers):
            if name not in known:
                gone = [Change(name, customer, True, self._clock()) for customer in self._members.pop(name, {})]
                self._tell(name, gone)
                del self._watchers[name]
                self._scans.pop(name, None)
        if self._watchers:
            self._rescan = asyncio.ensure_future(self._scan())
        else:
            self._flips = Schedule()

    def informed(self, news: News) -> None:
        """Incidents are others than they were: watched audiences that read them are derived anew, members first."""
        read = {n: self._plans.current.incidents_of(f"audiences.{n}.") for n in self._watchers}
        if self._watchers and (news.refold_from < NEVER or any(map(news.incidents.intersection, read.values()))):
            members = sorted({customer for found in self._members.values() for customer in found})
            self._rescan = asyncio.ensure_future(self._scan(members))

    def resolved(self, resolved: Resolved) -> None:
        """Customers became one or came apart: who is no more leaves, the others are derived with their facts."""
        if not self._watchers:
            return
        now = self._clock()
        for customer in sorted(resolved.changed):
            if self._contexts.identifiers(customer):
                self._derive(customer, self._contexts.read(customer), now)
                continue
            self._flips.drop(customer)
            for name, members in self._members.items():
                if members.pop(customer, None) is not None:
                    self._tell(name, [Change(name, customer, True, now)])

    def accepted(self, entries: Sequence[Entry]) -> None:
        """Customers changed."""
        if self._watchers:
            now = self._clock()
            for customer in {entry.customer for entry in entries}:
                self._derive(customer, self._contexts.read(customer), now)

    def _derive(self, customer: int, head: Head, now: int) -> None:
        if not head.position:
            return  # merged away while a scan, or the fold of the unit before, was under way: nobody is a member
        plan = self._plans.current
        names = [name for name in self._watchers if name in plan.audiences]
        derived = derive(head.content, plan, now, names, journeys=False)
        for name, inside in derived.audiences.items():
            members = self._members.get(name)
            if members is None:
                continue
            if inside and customer not in members:
                members[customer] = now
                self._tell(name, [Change(name, customer, False, now)])
            elif not inside and members.pop(customer, None) is not None:
                self._tell(name, [Change(name, customer, True, now)])
        if derived.flips_at < NEVER:
            self._flips.put(customer, derived.flips_at)
            if derived.flips_at < self._armed:
                self._arm()
        else:
            self._flips.drop(customer)

    def _arm(self) -> None:
        """One wake-up stands for all: in a large audience each has her own instant."""
        first = self._flips.first()
        self._armed = first[0] if first is not None else NEVER
        self._timers.arm("audiences", self._armed, self._wake)

    def _wake(self, at: int) -> None:
        """Derives the first customer whose answers may flip; the others of that instant are woken for in turn."""
        try:
            first = self._flips.first()
            if first is not None and first[0] <= at:
                self._flips.drop(first[1])
                self._derive(first[1], self._contexts.glance(first[1]), first[0])
        finally:
            self._arm()

    def _tell(self, name: str, changes: list[Change]) -> None:
        for tell in list(self._watchers.get(name, ())):
            tell(changes)
