"""Contexts: the current content of every customer, folded as facts arrive and read from wherever it is.

Owns the live heads and their eviction, loading from checkpoint and tail, and the version of a context (VE1). A stored
context is a checkpoint, written lazily; the log is the truth.

What is in memory is bounded, so most customers are not. A fact of somebody who is not live is not folded: whoever asks
for her reads her checkpoint, and folds what came after it. So that there is never much of that, one in a few of such
facts has its customer caught up with (`Thrift`): she is live again, and her checkpoint is renewed when she is let go
of. What this costs a fact does not depend on how many customers there are.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from operator import attrgetter
from typing import Final, TypeVar

from segue.domain.content import Content
from segue.domain.fact import STATEMENTS, Fact
from segue.domain.holding import Eras
from segue.domain.identifier import Identifier
from segue.domain.instant import NEVER
from segue.domain.plan import Plan

from ..storage.ports import Checkpoint, Known, Leaf, Store
from .checkpoint_queue import CheckpointQueue
from .entry import DecodeMany, Entry
from .head import AT_ONCE, Head, head_of
from .horizon import Horizon
from .live_heads import LiveHeads
from .plans import News, Plans
from .resolved import Resolved
from .stored_content import Stored, sections, stored, unstored
from .thrift import USUAL, Thrift

HEADS: Final = 10_000
"""Live heads kept at most."""
BEHIND: Final = 4_096
"""Customers to be caught up with at most; beyond, whoever waits longest waits for a later fact of hers."""


_POSITION, _BODY = attrgetter("position"), attrgetter("body")
BEFORE: Final = (-1, -1, b"")
"""The order of no fact: all sort after it."""


Found = TypeVar("Found", bound=Head | Stored)


class Contexts:
    """Reads and keeps contexts.

    Args:
        store: facts and checkpoints.
        plans: the plan in force.
        decode: facts as the store keeps them, each when its turn comes.
        heads: how many live contents are kept.
        thrift: how much is left to whoever asks.

    Attributes:
        horizon: how far what is committed is folded.
        counts: what was folded how.
        behind: customers who are to be caught up with, the longest first.
        fallen_behind: called where there are some.
        queue: checkpoints that wait to be written.
    """

    def __init__(
        self, store: Store, plans: Plans, decode: DecodeMany, heads: int = HEADS, thrift: Thrift = USUAL
    ) -> None:
        self._store = store
        self._plans = plans
        self._decode = decode
        self._limit = heads
        self._thrift = thrift
        self._heads = LiveHeads()
        self.queue = CheckpointQueue()
        self._overtaken: set[int] = set()
        self.horizon = Horizon(*store.head())
        self.counts = {"steps": 0, "late": 0, "refolds": 0, "loads": 0, "deferred": 0, "splices": 0}
        self.behind: dict[int, None] = {}
        self.fallen_behind: Callable[[], None] = lambda: None
        plans.listeners.append(self._new_plan)

    def _new_plan(self) -> None:
        self.horizon.beside(self._plans.position, self._plans.position)
        self._heads.clear()
        self.queue.clear()

    def informed(self, news: News) -> None:
        """Incidents are others than they were: what maps read of them is folded again, from the first fact."""
        self.horizon.beside(news.first, news.last)
        if news.refold_from < NEVER:
            heads = self._heads.items()
            for customer in [customer for customer, head in heads if head.content.at >= news.refold_from]:
                self._heads.forget(customer)

    def resolved(self, resolved: Resolved) -> None:
        """Customers became one, or ceased to be: their contents are folded again from the first fact."""
        self.horizon.begins(resolved.position, resolved.number)
        self._overtaken.clear()
        for customer in resolved.changed:
            self._heads.forget(customer)
            self.queue.drop(customer)
        plan = self._plans.current
        for customer in resolved.created:
            self._keep(customer, Head(Content(), 0, whole=True), plan)

    def accepted(self, entries: Sequence[Entry]) -> None:
        """Folds facts that became durable."""
        plan, heads, counts = self._plans.current, self._heads, self.counts
        cold, few, many = self._thrift.cold, self._thrift.few, self._thrift.many
        for entry in entries:
            customer = entry.customer
            head = heads.get(customer)
            if head is None:
                if cold > 1:
                    counts["deferred"] += 1
                    if not entry.position % cold:
                        self._falls_behind(customer)
                elif customer not in self._overtaken:
                    self._take_in(customer, self._load(customer, plan), plan)
                continue
            head.used = True
            if entry.position <= head.position:
                continue
            if entry.apart:
                head.hold_apart(entry.apart)
            if head.append(plan, entry.fact):
                counts["steps"] += 1
                head.position = entry.position
                head.weight += 1
                heads.weight += 1
                if not head.content.facts % many:
                    heads.weigh(head)
                    self._renew(customer, head, plan)
                continue
            # Who is told of late facts is often told of several at once (a call, an import): folded once for all.
            hers = [e for e in entries if e.customer == customer and e.position >= entry.position]
            if apart := frozenset().union(*[e.apart for e in hers]):
                head.hold_apart(apart)
            if head.insert(plan, [e.fact for e in hers[:AT_ONCE]]):
                counts["late"] += len(hers[:AT_ONCE])
                head.position = hers[:AT_ONCE][-1].position
                heads.weigh(head)
            else:
                late = self._folded_late(customer, head, hers, plan)
                late.kept = head.kept
                self._take_in(customer, late, plan)
                head = late
            # What comes after its checkpoint does not sort last: of no use to who reads it.
            head.kept = min(head.kept, head.content.facts - few)
        self._make_room(plan)

    def _falls_behind(self, customer: int) -> None:
        behind = self.behind
        behind[customer] = None
        if len(behind) > BEHIND:
            del behind[next(iter(behind))]
        self.fallen_behind()

    def catch_up(self) -> None:
        """Brings the one who waits longest up to her newest facts."""
        customer = next(iter(self.behind))
        del self.behind[customer]
        if customer not in self._heads:
            self.read(customer)

    def _take_in(self, customer: int, head: Head, plan: Plan) -> None:
        """Keeps a head that was read of the store, unless that is ahead: then what is left of the unit is not hers."""
        if self._is_ahead(head):
            self._heads.forget(customer)
            self._overtaken.add(customer)
        else:
            self._keep(customer, head, plan)

    def _is_ahead(self, head: Head) -> bool:
        """Whether a unit that is committed, and was not told of yet, made somebody else of the customer."""
        return head.moved > self.horizon.through

    @property
    def position(self) -> int:
        """Everything up to here is folded, or will be by whoever asks."""
        return self.horizon.position

    def checkpoints(self) -> list[tuple[int, Checkpoint]]:
        """Contexts for the next unit of writing."""
        return self.queue.take()

    def _keep(self, customer: int, head: Head, plan: Plan) -> Head:
        self._heads.keep(customer, head)
        if head.content.facts - head.kept >= self._thrift.many:
            self._renew(customer, head, plan)
        self._make_room(plan)
        return head

    def _make_room(self, plan: Plan) -> None:
        while self._heads.exceed(self._limit):
            gone, oldest = self._heads.let_go()
            if oldest.content.facts - oldest.kept >= self._thrift.few:
                self._renew(gone, oldest, plan)

    def _renew(self, customer: int, head: Head, plan: Plan) -> None:
        """Has the checkpoint of a head written by one of the next units."""
        if head.position > head.checkpointed:
            head.checkpointed, head.kept = head.position, head.content.facts
            data = stored(head.content, plan)
            self.queue.put(customer, Checkpoint(head.position, plan.folded_as(head.content.at), data), head.moved)

    def _load(self, customer: int, plan: Plan) -> Head:
        """From the checkpoint and the facts after it; from the first fact where those do not sort last."""
        self.counts["loads"] += 1
        with self._store.snapshot():
            return self._loaded(customer, plan)

    def _loaded(self, customer: int, plan: Plan) -> Head:
        members = self._store.members(customer)
        moved = max((own.moved for _, own in members), default=NEVER)
        checkpoint = self.queue.of(customer, moved) or self._store.read_checkpoint(customer)
        if checkpoint is None or not checkpoint.plan.startswith(plan.digest):
            return self._fold(customer, plan)
        content = unstored(checkpoint.data)
        if checkpoint.plan != plan.folded_as(content.at):
            return self._fold(customer, plan)
        rows = self._store.facts(_leaves(members), checkpoint.position)
        rows.sort()
        tail = list(zip([row.position for row in rows], self._decode([row.body for row in rows]), strict=True))
        names = {name for name, _ in members}
        head = Head(content, checkpoint.position, whole=False, checkpointed=checkpoint.position)
        head.kept = content.facts
        for _, fact in tail:
            if fact.kind not in STATEMENTS and not names.issuperset(fact.identifiers):
                head.hold_apart(frozenset(fact.identifiers) - names)
            if not head.apply(plan, fact):
                return self._fold(customer, plan)
        head.position = max([checkpoint.position, *(position for position, _ in tail)])
        head.moved = moved
        return head

    def _fold(self, customer: int, plan: Plan, wanted: Callable[[int, Fact], bool] | None = None) -> Head:
        self.counts["refolds"] += 1
        with self._store.snapshot():
            members = self._store.members(customer)
            rows = self._store.facts(_leaves(members))
        facts = list(zip([row.position for row in rows], self._decode([row.body for row in rows]), strict=True))
        if wanted is not None:
            facts = [(position, fact) for position, fact in facts if wanted(position, fact)]
        head = head_of(plan, facts, [(name, own.since) for name, own in members])
        head.moved = max((own.moved for _, own in members), default=NEVER)
        return head

    def _folded_late(self, customer: int, head: Head, late: Sequence[Entry], plan: Plan) -> Head:
        """A head with late facts: from the newest mark before all of them, or from the first fact."""
        upto, earliest = late[-1].position, min((entry.fact for entry in late), key=lambda fact: fact.order)
        rewound = head.rewound(earliest)
        if rewound is None:
            return self._fold(customer, plan)
        through = rewound.content.through or BEFORE
        with self._store.snapshot():
            members = self._store.members(customer)
            if max((own.moved for _, own in members), default=NEVER) != head.moved:
                return self._fold(customer, plan)
            leaves = [Leaf(own.number, own.bucket, max(own.since, through[0]), own.until) for _, own in members]
            rows = self._store.facts(leaves, rewound.position)
        # What a unit brought that is not folded yet may be earlier than the mark: it has its turn later.
        if rows and max(map(_POSITION, rows)) > upto:
            rows = [row for row in rows if row.position <= upto]
        rows.sort()
        del rows[: bisect_right(rows, (*through, upto))]
        only = members[0][0] if len(members) == 1 else None  # a fact of one identifier is that one's
        rewound.follow(plan, list(map(_POSITION, rows)), self._decode(map(_BODY, rows), only))
        self.counts["refolds"] += 1
        rewound.position = upto
        return rewound

    def folded(self, customer: int, plan: Plan) -> Head:
        """By a plan that is not in force, from the first fact; not kept."""
        return self._fold(customer, plan)

    def of_facts(self, customer: int, wanted: Callable[[int, Fact], bool]) -> Content:
        """As by some facts alone, chosen by position and fact; not kept."""
        return self._fold(customer, self._plans.current, wanted).content

    def live(self, customer: int, before: int) -> Content | None:
        """As folded so far, where it is in memory, and without the fact at a position."""
        head = self._heads.get(customer)
        return head.content if head is not None and head.position < before else None

    def find(self, identifier: Identifier) -> Known | None:
        """Who is known by an identifier, in its normal form or as given."""
        return self._store.resolve(self._plans.current.kinds.normal(identifier))

    def known(self, identifier: Identifier) -> tuple[int, Head] | None:
        """The customer who is known by an identifier, with the head, both as of one moment."""
        return self._known(identifier, self.read)

    def known_as_stored(self, identifier: Identifier) -> tuple[int, Head | Stored] | None:
        """As `known`, with what is `stored` where that will do."""
        return self._known(identifier, lambda customer: self.stored(customer) or self.read(customer))

    def _known(self, identifier: Identifier, read: Callable[[int], Found]) -> tuple[int, Head | Found] | None:
        """A unit may be committed and not folded yet. Where it brought the identifier, or changed whom it is, a
        live head has not what she came with: then it is read of the store, and not kept.
        """
        with self._store.snapshot():
            if (found := self.find(identifier)) is None:
                return None
            if not self.horizon.has(found):
                return found.customer, self._load(found.customer, self._plans.current)
            return found.customer, read(found.customer)

    def snapshot(self) -> AbstractContextManager[None]:
        """Within it, every read is as of one moment; for several in a row, which it makes cheaper."""
        return self._store.snapshot()

    def read(self, customer: int) -> Head:
        """The head of a customer, loaded where it is not live."""
        plan = self._plans.current
        head = self._heads.get(customer)
        if head is None:
            head = self._load(customer, plan)
            # Who was merged away in a unit that is not folded yet has no facts: nothing to keep.
            return self._keep(customer, head, plan) if head.position and not self._is_ahead(head) else head
        head.used = True
        return head

    def stored(self, customer: int) -> Stored | None:
        """What is stored of a customer who is not live, where nothing came after it; None where she has to be `read`.

        She is not live after it: whoever reads a crowd once takes nobody's place.
        """
        if customer in self._heads:
            return None
        found = self._store.whole_checkpoint(customer)
        if found is None:
            return None
        (checkpoint, moved), plan = found, self._plans.current
        if not checkpoint.plan.startswith(plan.digest):
            return None
        plain = sections(checkpoint.data)
        if checkpoint.plan != plan.folded_as(plain["envelope"][0]):
            return None
        self.counts["splices"] += 1
        return Stored(checkpoint.position, moved, plain)

    def glance(self, customer: int) -> Head:
        """The head of a customer for a scan: what is not live is loaded and not kept."""
        return self._heads.get(customer) or self._load(customer, self._plans.current)

    def still_resolves(self, identifier: Identifier, customer: int, head: Head | Stored) -> bool:
        """Whether an identifier is still a customer's, for one who was told so by the unit folded last: a head that was
        read from the store may be ahead of that, and without it.
        """
        if max(head.position, head.moved) <= self.position:
            return True
        known = self._store.resolve(identifier)
        return known is not None and known.customer == customer

    def version(self, head: Head | Stored) -> int:
        """The version of a context: the newest change that can be seen in it, be it a fact or a plan."""
        return max(head.position, head.moved, self._plans.position)

    def newest_version(self, customer: int) -> int:
        """The version of a customer's context as the store has her, without folding where she is not live."""
        head = self._heads.get(customer)
        newest = self._store.newest(customer) if head is None else (head.position, head.moved)
        return self.version(self.glance(customer)) if newest is None else max(*newest, self._plans.position)

    def facts(self, customer: int) -> list[Fact]:
        """All facts of a customer, in their order."""
        rows = sorted(self._store.facts(_leaves(self._store.members(customer))))
        return list(self._decode([row.body for row in rows]))

    def eras(self, customer: int) -> Eras:
        """A customer's identifiers, each with when it began."""
        return [(name, own.since) for name, own in self._store.members(customer)]

    def identifiers(self, customer: int) -> list[Identifier]:
        """Who a customer is, strongest first."""
        names = {identifier for identifier, _ in self._store.members(customer)}  # one may have two eras of hers
        return sorted(names, key=self._plans.current.kinds.strength)

    def customers(self) -> Iterator[int]:
        """All customers, in slices read from the store as they are needed."""
        after = 0
        while True:
            page = self._store.customers(after, 500)
            if not page:
                return
            yield from page
            after = page[-1]


def _leaves(members: Sequence[tuple[Identifier, Known]]) -> list[Leaf]:
    return [Leaf(own.number, own.bucket, own.since, own.until) for _, own in members]
