"""Audiences: who is in them now, and who joins and leaves at the second it becomes true.

Owns membership as a function of contexts and time. Where nobody watches, nothing is kept: a question is a scan. Where
somebody does, members are derived on every change of a customer and at every flip, without polling.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass

from segue.domain.derivation import derive
from segue.domain.vocabulary import did_you_mean

from .contexts import Contexts
from .failure import Refusal
from .ingest import Entry
from .plans import Plans
from .resolution import Resolved
from .timers import Timers

Tell = Callable[[list["Change"]], None]


@dataclass(frozen=True, slots=True)
class Change:
    """A customer joined or left an audience, at an instant in microseconds."""

    audience: str
    customer: int
    left: bool
    at: int


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
        plans.listeners.append(self._new_plan)

    def require(self, name: str) -> None:
        """Refuses an unknown audience with the nearest known name."""
        known = self._plans.current.audiences
        if name not in known:
            raise Refusal("NAME_UNKNOWN", f"no audience is called {name!r}. {did_you_mean(name, known)}")

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
        """
        self.require(name)
        self._watchers.setdefault(name, []).append(tell)
        if name not in self._scans:
            self._members[name] = {}
            self._scans[name] = asyncio.create_task(self._scan([name]), name=f"scan-{name}")
        try:
            await asyncio.shield(self._scans[name])
        except BaseException:  # also a cancelled watch: nobody would end it
            self.unwatch(name, tell)
            raise
        return sorted(self._members.get(name, {}).items())

    async def _scan(self, names: Sequence[str]) -> None:
        for count, customer in enumerate(self._contexts.customers()):
            self._derive(customer, self._clock(), names)
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

    def _new_plan(self) -> None:
        known = self._plans.current.audiences
        for name in list(self._watchers):
            if name not in known:
                gone = [Change(name, customer, True, self._clock()) for customer in self._members.pop(name, {})]
                self._tell(name, gone)
                del self._watchers[name]
                self._scans.pop(name, None)
        if self._watchers:
            self._rescan = asyncio.ensure_future(self._scan(list(self._watchers)))

    def resolved(self, resolved: Resolved) -> None:
        """Customers were merged: the former ones leave, the new one is derived with its facts."""
        if not self._watchers:
            return
        now = self._clock()
        for before, after in resolved.moved.items():
            if before != after:
                self._timers.disarm(("audiences", before))
            for name, members in self._members.items():
                if before != after and members.pop(before, None) is not None:
                    self._tell(name, [Change(name, before, True, now)])
            self._derive(after, now, list(self._watchers))

    def accepted(self, entries: Sequence[Entry]) -> None:
        """Customers changed."""
        if self._watchers:
            now = self._clock()
            for customer in {entry.customer for entry in entries}:
                self._derive(customer, now, list(self._watchers))

    def _derive(self, customer: int, now: int, names: Sequence[str]) -> None:
        head = self._contexts.read(customer)
        if not head.position:
            return  # merged away while a scan, or the fold of the unit before, was under way: nobody is a member
        plan = self._plans.current
        derived = derive(head.content, plan, now, [name for name in names if name in plan.audiences])
        for name, inside in derived.audiences.items():
            members = self._members.get(name)
            if members is None:
                continue
            if inside and customer not in members:
                members[customer] = now
                self._tell(name, [Change(name, customer, False, now)])
            elif not inside and members.pop(customer, None) is not None:
                self._tell(name, [Change(name, customer, True, now)])
        self._timers.arm(("audiences", customer), derived.flips_at, lambda at: self._wake(customer, at))

    def _wake(self, customer: int, at: int) -> None:
        if self._watchers:
            self._derive(customer, at, list(self._watchers))

    def _tell(self, name: str, changes: list[Change]) -> None:
        for tell in list(self._watchers.get(name, ())):
            tell(changes)
