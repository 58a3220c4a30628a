"""Standings: what the ledger holds of each customer, by the customers that were asked about last.

Owns the copy in memory of the rows of the store. Knows no rule.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from ..storage.ledger_ports import LedgerReads


class Standing:
    """One customer's.

    Attributes:
        wake_at: the wake-up that is stored, or to be stored; NEVER where there is none.
        since: by audience number, since when she is a member, as told.
    """

    __slots__ = ("since", "wake_at")

    def __init__(self, wake_at: int, since: dict[int, int]) -> None:
        self.wake_at = wake_at
        self.since = since


class Standings:
    """All of them.

    Args:
        stored: where they are read from.
        limit: how many are held.
    """

    def __init__(self, stored: LedgerReads, limit: int) -> None:
        self._stored = stored
        self._limit = limit
        self._held: OrderedDict[int, Standing] = OrderedDict()

    def of(self, customer: int) -> Standing:
        """A customer's, to be changed in place."""
        found = self._held.get(customer)
        if found is None:
            stored = self._stored.standing(customer)
            found = self._held[customer] = Standing(stored.wake_at, dict(stored.since))
        return found

    def let_go(self, pinned: Callable[[int], bool]) -> None:
        """Keeps no more than the limit, but those that are not written yet."""
        for _ in range(len(self._held) - self._limit):
            customer, standing = self._held.popitem(last=False)
            if pinned(customer):
                self._held[customer] = standing

    def drop_audience(self, number: int) -> None:
        """Nobody listens to an audience any more."""
        for standing in self._held.values():
            standing.since.pop(number, None)

    def forget(self) -> None:
        """Nobody listens to anything any more."""
        self._held.clear()
