"""Recollection: one customer as it was known at moments of the past, walked once in the order in which it became known.

Owns which facts made the context of an identifier at a moment: by position of the change log ("as known then"), or by
the order of facts (what had happened by then). Where every link of a customer holds, facts are added one by one and
customers grow together as they did; else who was who is asked of `identities` at each moment.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Collection, Generator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from segue.domain.content import Content
from segue.domain.fact import STATEMENTS, Fact, Order
from segue.domain.holding import Eras, holding
from segue.domain.identifier import Identifier
from segue.domain.instant import NEVER
from segue.domain.plan import Plan

from ..storage.ports import CUT, FactRow, Leaf, Store, bucket_of
from .head import Head
from .identities import Identities, LinkMemory
from .moments import LATEST, Moment

SLICE: Final = 256
"""Facts read or folded before others get their turn."""
LOOKED_AHEAD: Final = 256
"""Later facts that are looked at for such as had happened already."""
Slices = Generator[None, None, None]
"""Work in slices: whoever iterates lets others have their turn in between."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A fact in the log, with the leaf that it belongs to."""

    position: int
    fact: Fact
    leaf: int


@dataclass(frozen=True, slots=True)
class Reach:
    """How far what was known reaches.

    Attributes:
        position: through which position of the log.
        order: through which place in the order of facts, if it goes by that.
        before: whether the fact at that place was not known yet.
    """

    position: int
    order: Order | None = None
    before: bool = False

    def key(self, entry: Entry) -> Any:
        """By what entries are sorted."""
        return entry.position if self.order is None else entry.fact.order

    def count(self, entries: Sequence[Entry]) -> int:
        """How many of sorted entries were known."""
        if self.order is None:
            return bisect_right(entries, self.position, key=self.key)
        return (bisect_left if self.before else bisect_right)(entries, self.order, key=self.key)

    def moment(self, plan: Plan) -> Moment:
        """Which links were known."""
        if self.order is None:
            return Moment(LATEST, self.position, plan)
        return Moment(self.order[0] - self.before, self.position, plan)


class Cluster:
    """What was known of one customer: her names and facts, folded as far as somebody asks.

    Attributes:
        names: her identifiers.
        entries: her facts, in the order in which they became known.
    """

    __slots__ = ("_begins", "_folded", "_head", "_plan", "entries", "names")

    def __init__(self, names: set[Identifier], entries: list[Entry], eras: Eras = ()) -> None:
        self.names = names
        self.entries = entries
        self._begins = [(name, since) for name, since in eras if since]
        self._head: Head | None = None
        self._folded = 0
        self._plan: Plan | None = None

    @property
    def content(self) -> Content:
        """As folded last."""
        assert self._head is not None, "folded first"
        return self._head.content

    def join(self, other: Cluster) -> None:
        """Another customer turns out to be the same."""
        self.names |= other.names
        if other.entries:
            # In whichever order they became known: both are folded anew.
            self.entries += other.entries
            self._head = None

    def fold(self, plan: Plan, count: int | None = None) -> Slices:
        """Folds the first so many of its facts, all where not given."""
        upto = len(self.entries) if count is None else count
        if self._head is None or self._plan is not plan or upto < self._folded:
            yield from self._begin(plan, upto)
            return
        for index in range(self._folded, upto):
            entry = self.entries[index]
            strange = frozenset(entry.fact.identifiers) - self.names
            if strange and entry.fact.kind not in STATEMENTS:
                self._head.hold_apart(strange)
            # What is said about links is true of facts that were folded already.
            if entry.fact.kind in STATEMENTS or not self._head.apply(plan, entry.fact):
                yield from self._begin(plan, upto)
                return
            if index % SLICE == 0:
                yield
        self._folded = upto

    def _begin(self, plan: Plan, upto: int) -> Slices:
        """From the first fact, in order: as any context is folded."""
        head, entries = Head(Content(), 0, whole=True), self.entries[:upto]
        facts = sorted((entry.fact for entry in entries), key=lambda fact: fact.order)
        head.hold(holding(facts, [*((name, 0) for name in self.names), *self._begins], plan.kinds))
        for index, fact in enumerate(facts):
            head.apply(plan, fact)
            if index % SLICE == SLICE - 1:
                yield
        self._head, self._folded, self._plan = head, upto, plan


class Recollection:
    """One of today's customers, remembered.

    Args:
        store: facts and links.
        decode: a fact as the store keeps it.
        customer: by number.
        through: the last position of the log that is looked at.

    Attributes:
        entries: her facts, in the order in which they became known; filled by `read`.
        whole: the numbers of her leaves whose facts are all hers, whenever they occurred; likewise.
    """

    def __init__(self, store: Store, decode: Callable[[bytes], Fact], customer: int, through: int) -> None:
        self._store = store
        self._decode = decode
        self._customer = customer
        self._through = through
        self._identities = Identities(store)
        self._links = LinkMemory(store)
        self._judged_by: Plan | None = None
        self._alike: dict[str, bool] = {}
        self._clusters: dict[Identifier, Cluster] = {}
        self._known = 0
        self._decided: dict[tuple[Leaf, ...], Cluster] = {}
        self.entries: list[Entry] = []
        self.whole: frozenset[int] = frozenset()

    def read(self, plan: Plan, *, by_order: bool, refused: bool) -> Slices:
        """Reads her facts, and whether every link holds.

        Args:
            plan: in force, by which links are judged.
            by_order: whether what was known goes by the order of facts.
            refused: whether the store has links at all that do not hold.
        """
        store = self._store
        with store.snapshot():
            members = store.members(self._customer)
            rows = [
                (own.number, row)
                for _, own in members
                for row in store.facts([Leaf(own.number, own.bucket, own.since, own.until)])
            ]
            whole = all(not own.stated and not own.since and own.until == NEVER for _, own in members)
            if whole and refused:
                whole = not any(row.verdict for _, own in members for row in store.links(own.number))
        self.whole = frozenset(own.number for _, own in members if own.stated != CUT)
        # Limits only refuse: where none does now, none did while less was known.
        self._judged_by = plan if whole else None
        yield from self._decoded(rows, self.entries)
        reach = Reach(self._through, order=(0, 0, b"") if by_order else None)
        self.entries.sort(key=reach.key)

    def _decoded(self, rows: Sequence[tuple[int, FactRow]], into: list[Entry]) -> Slices:
        for index, (number, row) in enumerate(rows):
            if row.position <= self._through:
                into.append(Entry(row.position, self._decode(row.body), number))
            if index % SLICE == SLICE - 1:
                yield

    def of(self, identifier: Identifier, reach: Reach, plan: Plan) -> Generator[None, None, tuple[Cluster, int]]:
        """What was known of an identifier. To be asked with a rising reach.

        Args:
            identifier: in its normal form.
            reach: how far what was known reaches.
            plan: whose limits decided who was one.

        Returns:
            The customer, and how many of its entries were known: for `Cluster.fold`; 0 where nothing was.
        """
        if not self._holds_by(plan):
            return (yield from self._decide(identifier, reach, plan))
        count = reach.count(self.entries)
        for entry in self.entries[self._known : count]:
            self._add(entry)
        self._known = max(self._known, count)
        cluster = self._clusters.get(identifier) or Cluster({identifier}, [])
        return cluster, len(cluster.entries)

    def _holds_by(self, plan: Plan) -> bool:
        """Whether every link holds by the limits of a plan."""
        judged_by = self._judged_by
        if judged_by is None:
            return False
        if plan.digest not in self._alike:
            self._alike[plan.digest] = plan.kinds.limits() == judged_by.kinds.limits()
        return self._alike[plan.digest]

    def _add(self, entry: Entry) -> None:
        """One more fact is known; identifiers that it names together are one customer."""
        clusters, names = self._clusters, entry.fact.identifiers
        own = clusters.get(names[0])
        if own is None:
            own = clusters[names[0]] = Cluster({names[0]}, [])
        for name in names[1:]:
            other = clusters.get(name)
            if other is None:
                own.names.add(name)
                clusters[name] = own
            elif other is not own:
                if len(other.names) > len(own.names):
                    own, other = other, own
                own.join(other)
                clusters.update(dict.fromkeys(other.names, own))
        own.entries.append(entry)

    def _decide(self, identifier: Identifier, reach: Reach, plan: Plan) -> Generator[None, None, tuple[Cluster, int]]:
        """By the rule itself, on the links of then."""
        known = self._store.resolve(identifier)
        if known is None:
            return Cluster({identifier}, []), 0
        held = self._identities.held(known.number, reach.moment(plan), self._links)
        leaves = tuple(Leaf(own.number, bucket_of(own.identifier), own.since, own.until) for own in held.spans)
        cluster = self._decided.get(leaves)
        if cluster is None:
            rows = [(leaf.number, row) for leaf in leaves for row in self._store.facts([leaf])]
            cluster = self._decided[leaves] = Cluster(set(held.names), [], held.eras)
            yield from self._decoded(rows, cluster.entries)
            cluster.entries.sort(key=reach.key)
        return cluster, reach.count(cluster.entries)

    def unheard(
        self, names: Collection[Identifier], asking: Moment, said: int, heard: Collection[bytes]
    ) -> tuple[int, bool]:
        """What had happened by a moment and was not known yet.

        Args:
            names: of the customer as known then.
            asking: when, and through which position she was known.
            said: position of what was said then; who had a past by it was somebody.
            heard: facts that were known all the same.

        Returns:
            How many facts of hers, and whether one of them makes another customer the same one.
        """
        late, merged, own = 0, False, set(names)
        begin = bisect_right(self.entries, asking.position, key=lambda entry: entry.position)
        for entry in self.entries[begin : begin + LOOKED_AHEAD]:
            fact = entry.fact
            if fact.occurred_at > asking.at or fact.id in heard or own.isdisjoint(fact.identifiers):
                continue
            late += 1
            merged = merged or any(self._somebody(name, said) for name in set(fact.identifiers) - own)
        return late, merged

    def _somebody(self, name: Identifier, position: int) -> bool:
        """Whether an identifier had a past at a position."""
        return any(name in entry.fact.identifiers for entry in self.entries if entry.position < position)
