"""A schedule: at which instant something of a customer falls due, and whose does first.

Owns one instant for each customer, and their order. Knows neither the clock nor what falls due.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from typing import Final

SPARE: Final = 64
"""Replaced instants that stay in the order in any case; beyond, no more of them than of those that hold."""


class Schedule:
    """Instants in microseconds by customer, at most one each.

    Args:
        entries: as (instant, customer).
    """

    __slots__ = ("_at", "_order")

    def __init__(self, entries: Iterable[tuple[int, int]] = ()) -> None:
        self._at = {customer: at for at, customer in entries}
        self._order = self._ordered()

    def __len__(self) -> int:
        return len(self._at)

    def put(self, customer: int, at: int) -> None:
        """A customer's instant, in place of the one before."""
        self._at[customer] = at
        if len(self._order) > 2 * len(self._at) + SPARE:
            self._order = self._ordered()  # replaced ones would wait there for their old instants
        else:
            heapq.heappush(self._order, (at, customer))

    def of(self, customer: int) -> int | None:
        """A customer's instant."""
        return self._at.get(customer)

    def drop(self, customer: int) -> None:
        """Nothing of a customer falls due any more."""
        self._at.pop(customer, None)

    def first(self) -> tuple[int, int] | None:
        """Whose falls due first, as (instant, customer)."""
        order, at = self._order, self._at
        while order and at.get(order[0][1]) != order[0][0]:
            heapq.heappop(order)
        return order[0] if order else None

    def nearest(self, count: int) -> list[tuple[int, int]]:
        """So many that fall due first, in order."""
        return self._ordered()[:count]

    def _ordered(self) -> list[tuple[int, int]]:
        return sorted((at, customer) for customer, at in self._at.items())
