"""The scan behind the ledger: who is in an audience that somebody began to listen to, or that the plan changed.

Owns the only times at which everybody is derived. Bounded slices; what it finds is written and told as it goes, and a
hub that is killed meanwhile begins it again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, Final

import structlog

from ..storage.ledger_ports import KeptAudience, LedgerReads
from ..storage.ports import Unit
from .contexts import Contexts
from .kept_audiences import GONE, KeptAudiences, Pending
from .memberships import Memberships

log = structlog.get_logger("segue.hub")

PLAN: Final = "plan"
"""Why somebody joins or leaves: the audience changed, or is no more."""
SLICE: Final = 64
"""Customers derived before the event loop gets its turn."""
PAGE: Final = 500


class LedgerScan:
    """Finds the members of pending audiences anew.

    Args:
        stored: who is a member so far.
        contexts: all customers.
        kept: what is pending.
        memberships: derives.
        clock: the hub's time in microseconds.
        order: has a unit take something along.
        room: waits until not too much waits to be written.
    """

    def __init__(
        self, stored: LedgerReads, contexts: Contexts, kept: KeptAudiences, memberships: Memberships,
        clock: Callable[[], int], order: Callable[[Any], None], room: Callable[[], Awaitable[None]],
    ) -> None:  # fmt: skip
        self._stored = stored
        self._contexts = contexts
        self._kept = kept
        self._memberships = memberships
        self._clock = clock
        self._order = order
        self._room = room
        self._task: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """Something may be pending."""
        if self._kept.pending and (self._task is None or self._task.done()):
            self._task = asyncio.create_task(self._run(), name="ledger-scan")

    async def _run(self) -> None:
        while self._kept.pending:
            pending = dict(self._kept.pending)
            # Killed from here on, the members that are found so far are by neither basis.
            self._settle(dict.fromkeys(pending, Pending("", "")))
            await self._find(pending)
            if all(self._kept.pending.get(number) == wanted for number, wanted in pending.items()):
                self._settle(pending)
                for number in pending:
                    del self._kept.pending[number]

    def _settle(self, pending: dict[int, Pending]) -> None:
        rows = [KeptAudience(n, self._kept.named(n), wanted.basis) for n, wanted in pending.items()]
        rows = [self._kept.keep(row.name, row.basis) for row in rows if row.name]

        def write(unit: Unit) -> None:
            for row in rows:
                unit.ledger.keep_audience(row)

        self._order((write, lambda: None))

    async def _find(self, pending: dict[int, Pending]) -> None:
        """Members first: who leaves is told soon."""
        reasons = {number: wanted.reason for number, wanted in pending.items()}
        count = 0
        for number, wanted in pending.items():
            for customer in self._members(number):
                if wanted.basis == GONE:
                    self._memberships.dissolve(customer, number, wanted.reason)
                else:
                    self._bring_up(customer, reasons)
                count = await self._paced(count)
        if any(wanted.basis != GONE for wanted in pending.values()):
            for customer in self._contexts.customers():
                self._bring_up(customer, reasons)
                count = await self._paced(count)

    def _bring_up(self, customer: int, reasons: dict[int, str]) -> None:
        try:
            self._memberships.bring_up(customer, self._clock(), reasons=reasons)
        except Exception:  # one customer that cannot be derived may not keep all others from being found
            log.exception("the membership of a customer cannot be derived", customer=customer)

    async def _paced(self, count: int) -> int:
        if (count + 1) % SLICE == 0:
            await asyncio.sleep(0)
            await self._room()
        return count + 1

    def _members(self, number: int) -> Iterator[int]:
        after = 0
        while page := self._stored.members_of(number, after, PAGE):
            yield from page
            after = page[-1]

    async def close(self) -> None:
        """Stops; what is undone is done at the next start."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
