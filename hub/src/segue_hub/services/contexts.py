"""Contexts: the current content of every customer, folded as facts arrive and read from wherever it is.

Owns the live heads and their eviction, loading from checkpoint and tail, and the version of a context (VE1). A stored
context is a checkpoint, written lazily; the log is the truth.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from typing import Final

import orjson
from segue.domain import section
from segue.domain.content import Content
from segue.domain.fact import Fact
from segue.domain.identifier import Identifier
from segue.domain.plan import Plan

from ..storage.ports import Checkpoint, Known, Store
from .head import Head, head_of
from .ingest import Entry
from .plans import Plans
from .resolution import Resolved

HEADS: Final = 100_000
"""Live heads kept."""
CHECKPOINTS: Final = 512
"""Evicted contexts taken along by one unit of writing at most."""


def dumps(plain: section.Plain) -> bytes:
    """As `section.dumps`, faster."""
    return orjson.dumps(plain, option=orjson.OPT_SORT_KEYS)


class Contexts:
    """Reads and keeps contexts.

    Args:
        store: facts and checkpoints.
        plans: the plan in force.
        decode: a fact as the store keeps it.
        heads: how many live contents are kept.
    """

    def __init__(self, store: Store, plans: Plans, decode: Callable[[bytes], Fact], heads: int = HEADS) -> None:
        self._store = store
        self._plans = plans
        self._decode = decode
        self._limit = heads
        self._heads: OrderedDict[int, Head] = OrderedDict()
        self._evicted: dict[int, Checkpoint] = {}
        self.position = store.head()[0]
        self.counts = {"steps": 0, "late": 0, "refolds": 0, "loads": 0}
        plans.listeners.append(self._new_plan)

    def _new_plan(self) -> None:
        self._heads.clear()
        self._evicted.clear()

    def resolved(self, resolved: Resolved) -> None:
        """Customers were merged: their contents are folded again from the first fact."""
        for before, after in resolved.moved.items():
            for customer in (before, after):
                self._heads.pop(customer, None)
                self._evicted.pop(customer, None)
        plan = self._plans.current
        for customer in resolved.created:
            self._keep(customer, Head(Content(), 0, whole=True), plan)

    def accepted(self, entries: Sequence[Entry]) -> None:
        """Folds facts that became durable."""
        plan, heads, counts = self._plans.current, self._heads, self.counts
        for entry in entries:
            customer = entry.customer
            head = heads.get(customer)
            if head is None:
                self._keep(customer, self._load(customer, plan), plan)
                continue
            heads.move_to_end(customer)
            if entry.position <= head.position:
                continue
            fast = head.content.sorts_last(entry.fact.order)
            if head.apply(plan, entry.fact):
                counts["steps" if fast else "late"] += 1
                head.position = entry.position
            else:
                self._keep(customer, self._fold(customer, plan), plan)

    def settled(self, position: int) -> None:
        """Everything up to a position is folded."""
        self.position = position

    def checkpoints(self) -> list[tuple[int, Checkpoint]]:
        """Evicted contexts for the next unit of writing."""
        return [(customer, self._evicted.pop(customer)) for customer in list(self._evicted)[:CHECKPOINTS]]

    def _keep(self, customer: int, head: Head, plan: Plan) -> Head:
        self._heads[customer] = head
        self._heads.move_to_end(customer)
        if len(self._heads) > self._limit:
            gone, oldest = self._heads.popitem(last=False)
            if oldest.position > oldest.checkpointed:
                data = dumps(section.plain(oldest.content, plan))
                self._evicted[gone] = Checkpoint(oldest.position, plan.digest, data)
        return head

    def _leaves(self, customer: int) -> list[tuple[int, int]]:
        return [(known.number, known.bucket) for _, known in self._store.members(customer)]

    def _load(self, customer: int, plan: Plan) -> Head:
        """From the checkpoint and the facts after it; from the first fact where those do not sort last."""
        self.counts["loads"] += 1
        with self._store.snapshot():
            return self._loaded(customer, plan)

    def _loaded(self, customer: int, plan: Plan) -> Head:
        checkpoint = self._evicted.pop(customer, None) or self._store.read_checkpoint(customer)
        if checkpoint is None or checkpoint.plan != plan.digest:
            return self._fold(customer, plan)
        content = section.decode(checkpoint.data, orjson.loads)
        rows = self._store.facts(self._leaves(customer), checkpoint.position)
        tail = sorted(((row.position, self._decode(row.body)) for row in rows), key=lambda entry: entry[1].order)
        head = Head(content, checkpoint.position, whole=False, checkpointed=checkpoint.position)
        for position, fact in tail:
            if not head.apply(plan, fact):
                return self._fold(customer, plan)
            head.position = max(head.position, position)
        return head

    def _fold(self, customer: int, plan: Plan) -> Head:
        self.counts["refolds"] += 1
        with self._store.snapshot():
            rows = self._store.facts(self._leaves(customer))
        return head_of(plan, ((row.position, self._decode(row.body)) for row in rows))

    def find(self, identifier: Identifier) -> Known | None:
        """Who is known by an identifier, in its normal form or as given."""
        return self._store.resolve(self._plans.current.kinds.normal(identifier))

    def read(self, customer: int) -> Head:
        """The head of a customer, loaded where it is not live."""
        plan = self._plans.current
        head = self._heads.get(customer)
        if head is None:
            head = self._load(customer, plan)
            # Who was merged away in a unit that is not folded yet has no facts: nothing to keep.
            return self._keep(customer, head, plan) if head.position else head
        self._heads.move_to_end(customer)
        return head

    def glance(self, customer: int) -> Head:
        """The head of a customer for a scan: what is not live is loaded and not kept."""
        return self._heads.get(customer) or self._load(customer, self._plans.current)

    def version(self, head: Head) -> int:
        """The version of a context: the newest change that can be seen in it, be it a fact or a plan."""
        return max(head.position, self._plans.position)

    def facts(self, customer: int) -> list[Fact]:
        """All facts of a customer, in their order."""
        found = [self._decode(row.body) for row in self._store.facts(self._leaves(customer))]
        return sorted(found, key=lambda fact: fact.order)

    def identifiers(self, customer: int) -> list[Identifier]:
        """Who a customer is, strongest first."""
        names = [identifier for identifier, _ in self._store.members(customer)]
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
