"""Memberships: who joins and leaves the kept audiences, derived customer by customer (law 3).

Owns the comparison of what is told with what is so, the reason of a difference, and when to ask again. Knows no
cursor, no task and no unit: what changed is noted here until the ledger writes it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from segue.domain.content import Content
from segue.domain.derivation import derive
from segue.domain.fact import Fact
from segue.domain.instant import NEVER

from ..storage.ledger_ports import LedgerReads
from ..storage.ports import Unit
from .contexts import Contexts
from .plans import Plans
from .standings import Standings
from .wake_ups import WakeUps

RETRACTED: Final = "retracted"
"""Why somebody leaves: a later fact says that she had never been a member."""
IDENTITY: Final = "identity"
"""Why somebody joins or leaves: who is one customer changed."""


@dataclass(frozen=True, slots=True)
class Change:
    """A customer joined or left a kept audience.

    Attributes:
        at: when, in microseconds, as told.
        since: when by her own facts, which may lie a little ahead of the hub's clock.
    """

    audience: int
    customer: int
    left: bool
    at: int
    since: int
    reason: str


@dataclass(slots=True)
class News:
    """What changed of a customer since she was derived: whether who she is, and when the oldest new fact occurred."""

    identity: bool = False
    oldest: int = NEVER

    def join(self, other: News) -> None:
        """More of it."""
        self.identity = self.identity or other.identity
        self.oldest = min(self.oldest, other.oldest)


class Memberships:
    """Derives members of kept audiences.

    Args:
        stored: what is told so far.
        contexts, plans: what membership is derived from.
        clock: the hub's time in microseconds.
        limit: customers held in memory.

    Attributes:
        numbers: the audiences that are derived, by name, with the numbers that they are kept under.
        changes: what is not written yet, in the order in which it was derived.
    """

    def __init__(
        self, stored: LedgerReads, contexts: Contexts, plans: Plans, clock: Callable[[], int], limit: int
    ) -> None:
        self._contexts = contexts
        self._plans = plans
        self._clock = clock
        self._standings = Standings(stored, limit)
        self.wake_ups = WakeUps(stored)
        self.numbers: Mapping[str, int] = {}
        self.changes: list[Change] = []
        self._held_back = 0

    @property
    def unwritten(self) -> int:
        """How much waits to be written, and may be."""
        return len(self.changes) - self._held_back + self.wake_ups.unsaved

    def due(self, now: int) -> bool:
        """Derives whoever's wake-up is due first; returns whether one was."""
        due = self.wake_ups.due(now)
        if due is not None:
            self.wake(due[1], due[0])
        return due is not None

    def bring_up(
        self, customer: int, now: int, news: News | None = None, reasons: Mapping[int, str] | None = None
    ) -> None:
        """Derives a customer now, and before that at each instant that fell due.

        Args:
            customer: by number.
            now: the instant, in microseconds.
            news: what changed of her; None where time or the plan alone did.
            reasons: by audience, why it is asked anew.
        """
        while (due := self.wake_ups.due_of(customer, now)) is not None:
            self.wake(customer, due)
        self.derive(customer, now, news, reasons)

    def wake(self, customer: int, at: int, content: Content | None = None) -> None:
        """A wake-up is due: derives a customer at its instant, from a content where one is given."""
        self._standings.of(customer).wake_at = NEVER
        self.derive(customer, at, content=content)

    def overtaken(self, customer: int, before: int, position: int) -> None:
        """What fell due of a customer by an instant comes before her fact at a position, which is not folded yet."""
        while (due := self.wake_ups.due_of(customer, before)) is not None:
            content = self._contexts.live(customer, position)
            if content is None:
                content = self._contexts.of_facts(customer, lambda place, _: place < position)
            self.wake(customer, due, content)

    def derive(
        self, customer: int, at: int, news: News | None = None, reasons: Mapping[int, str] | None = None,
        content: Content | None = None,
    ) -> None:  # fmt: skip
        """Derives a customer at an instant that has come; notes what changed, and when to ask again."""
        standing = self._standings.of(customer)
        if news is not None and news.identity:
            # The unit that changed who she is stored a wake-up of its own.
            standing.wake_at = NEVER
            self.wake_ups.arm(customer, NEVER)
        if content is None:
            head = self._contexts.glance(customer) if news is None else self._contexts.read(customer)
            content = head.content if head.position else None
        if content is None:  # merged away
            for number in sorted(standing.since):
                self._note(Change(number, customer, True, at, at, IDENTITY))
            return
        derived = derive(content, self._plans.current, at, self.numbers, journeys=False)
        for name, inside in derived.audiences.items():
            number = self.numbers[name]
            since = standing.since.get(number)
            if inside == (since is not None):
                continue
            reason = reasons.get(number, "") if reasons else ""
            if news is not None and since is not None:
                reason = self._why(customer, name, since, news)
            elif news is not None and news.identity:
                reason = IDENTITY
            # A fact may lie a little ahead, and takes its customer's time along: nobody is told a time still to come.
            told_at = min(derived.at, self._clock())
            self._note(Change(number, customer, not inside, told_at, derived.at, reason))
        if derived.flips_at < standing.wake_at:
            standing.wake_at = derived.flips_at
            self.wake_ups.arm(customer, derived.flips_at)

    def dissolve(self, customer: int, number: int, reason: str) -> None:
        """An audience is no more: a customer leaves it."""
        if number in self._standings.of(customer).since:
            now = self._clock()
            self._note(Change(number, customer, True, now, now, reason))

    def _note(self, change: Change) -> None:
        since = self._standings.of(change.customer).since
        if change.left:
            del since[change.audience]
        else:
            since[change.audience] = change.since
        self.changes.append(change)

    def _why(self, customer: int, name: str, since: int, news: News) -> str:
        """Why a customer leaves whose facts changed: was she ever a member, by what is known now?"""
        if news.oldest > since and not news.identity:
            return ""
        plan = self._plans.current
        for through in (since, since - 1):  # what falls due comes before the facts of its instant (TI1)
            content = self._contexts.of_facts(customer, _occurred_by(through))
            if derive(content, plan, since, [name], journeys=False).audiences[name]:
                return ""
        return RETRACTED

    def take(self) -> tuple[list[Change], Mapping[int, int]]:
        """What is to be written: changes in the order of their instants, and wake-ups; `kept` or `lost` follows.

        While something is overdue, what became so after it waits, so that all is told in the order of instants.
        """
        before = self.wake_ups.next_at if self.wake_ups.next_at <= self._clock() else NEVER
        waiting = [change for change in self.changes if change.at >= before]
        changes = in_order(change for change in self.changes if change.at < before)
        self.changes, self._held_back = waiting, len(waiting)
        return changes, self.wake_ups.take({change.customer for change in waiting})

    def kept(self) -> None:
        """What was taken is written."""
        self.wake_ups.kept()
        pending = {change.customer for change in self.changes}
        self._standings.let_go(lambda customer: customer in pending or self.wake_ups.is_unsaved(customer))

    def lost(self, changes: list[Change]) -> None:
        """What was taken could not be written."""
        self.changes, self._held_back = changes + self.changes, 0
        self.wake_ups.lost()

    def drop_audience(self, number: int, *, last: bool) -> None:
        """Nobody listens to an audience any more; to none, where it was the last."""
        self.changes = [change for change in self.changes if change.audience != number]
        if last:
            self._standings.forget()
            self.wake_ups.forget()
        else:
            self._standings.drop_audience(number)


def _occurred_by(at: int) -> Callable[[int, Fact], bool]:
    return lambda _, fact: fact.occurred_at <= at


def in_order(changes: Iterable[Change]) -> list[Change]:
    """By instant, and of one instant leavers first: who was one customer may be two, and the other way round.

    A customer's own stay in their order.
    """
    times = Counter[tuple[int, int, int]]()
    placed = []
    for change in changes:
        own = (change.customer, change.audience, change.at)
        placed.append((change.at, times[own], not change.left, change))
        times[own] += 1
    return [change for *_, change in sorted(placed, key=lambda entry: entry[:3])]


def write_changes(unit: Unit, changes: Iterable[Change]) -> None:
    """The members that result of changes, within a unit."""
    last = {(change.customer, change.audience): change for change in changes}
    unit.ledger.set_members([(*key, change.since) for key, change in last.items() if not change.left])
    unit.ledger.drop_members([key for key, change in last.items() if change.left])
