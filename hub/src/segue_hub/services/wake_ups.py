"""Wake-ups of customers: at which instant somebody's membership is asked again, stored as lower bounds (TI8).

Owns the order in which they fall due. All of them are in the store; those that come next are in memory too,
filled again from the store as they run out, so that a start reads few rows and memory is bounded. What is armed is
stored with the ledger's next unit; a wake-up that is due is still there until what came of it is written.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

from segue.domain.instant import NEVER

from ..storage.ledger_ports import LedgerReads
from .schedule import Schedule

PAGE: Final = 10_000
"""Wake-ups read from the store in one go."""
HELD: Final = 100_000
"""Wake-ups held in memory, about; the later ones are read again when their time comes near."""
_BEGINNING: Final = (-1, 0)
_END: Final = (NEVER, NEVER)


class WakeUps:
    """Pending wake-ups, at most one per customer.

    Args:
        stored: where they are kept.
    """

    def __init__(self, stored: LedgerReads) -> None:
        self._stored = stored
        self._armed = Schedule()
        self._unsaved: dict[int, int] = {}
        self._under_way: dict[int, int] = {}
        self._horizon = _BEGINNING
        self.fired = 0

    def arm(self, customer: int, at: int) -> None:
        """A customer's next wake-up, in place of the one before; NEVER forgets it."""
        self._unsaved[customer] = at
        self._hold(customer, at)

    def due(self, now: int) -> tuple[int, int] | None:
        """The next that is due, as (instant, customer), and no longer pending; None where none is due yet."""
        if self.next_at > now:
            return None
        first = self._armed.first()
        if first is not None:
            self._consume(first[1])
        return first

    def due_of(self, customer: int, at: int) -> int | None:
        """The instant of a customer's own, no longer pending; None where none was due by an instant."""
        due = self._armed.of(customer)
        if due is None and at >= self._horizon[0] and not self.is_unsaved(customer):
            due = self._stored.standing(customer).wake_at  # the hub slept: not all that is due was read yet
        if due is None or due > at:
            return None
        self._consume(customer)
        return due

    def _consume(self, customer: int) -> None:
        self._armed.drop(customer)
        self._unsaved[customer] = NEVER
        self.fired += 1

    @property
    def next_at(self) -> int:
        """When the next falls due; NEVER where none is pending."""
        while True:
            first = self._armed.first()
            if first is not None or self._horizon == _END:
                return first[0] if first is not None else NEVER
            self._read_on()

    @property
    def unsaved(self) -> int:
        """How many are to be written."""
        return len(self._unsaved)

    def is_unsaved(self, customer: int) -> bool:
        """Whether a customer's is not written yet."""
        return customer in self._unsaved or customer in self._under_way

    def take(self, without: Collection[int] = ()) -> Mapping[int, int]:
        """What is to be written, as instants by customer, but for some; to be followed by `kept` or `lost`."""
        unsaved = self._unsaved
        self._unsaved = {customer: unsaved[customer] for customer in without if customer in unsaved}
        self._under_way = {customer: at for customer, at in unsaved.items() if customer not in self._unsaved}
        return self._under_way

    def kept(self) -> None:
        """What was taken is written."""
        self._under_way = {}

    def lost(self) -> None:
        """What was taken could not be written."""
        self._unsaved = self._under_way | self._unsaved
        self._under_way = {}

    def forget(self) -> None:
        """Nobody listens any more."""
        self._armed, self._unsaved, self._under_way = Schedule(), {}, {}
        self._horizon = _END

    def _hold(self, customer: int, at: int) -> None:
        if (at, customer) > self._horizon or at >= NEVER:
            self._armed.drop(customer)
            return
        self._armed.put(customer, at)
        if len(self._armed) > 2 * HELD:
            self._let_go()

    def _read_on(self) -> None:
        """The next page of the store, with what is not written yet of its time."""
        rows = self._stored.wake_ups(self._horizon, PAGE)
        before, self._horizon = self._horizon, rows[-1] if len(rows) == PAGE else _END
        for at, customer in rows:
            if not self.is_unsaved(customer):
                self._hold(customer, at)
        for customer, at in (self._under_way | self._unsaved).items():
            if before < (at, customer) <= self._horizon:
                self._hold(customer, at)

    def _let_go(self) -> None:
        """The later ones are in the store, or will be."""
        nearest = self._armed.nearest(HELD)
        self._armed, self._horizon = Schedule(nearest), nearest[-1]
