"""Who is who: identifiers of a batch of facts resolved to customers; links applied, refused, taken back.

Owns rules FA2 and ID1 to ID3 inside one unit of writing. A link that no limit refuses joins two customers at once; all
else (a limit that bites, a retraction, an ending, a separation, an identifier with too many partners) decides the whole
connected part anew, by the same function that defines who is one. Changes the store only through `settle`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from segue.domain.fact import ENDING, RETRACTION, STATEMENTS, Fact
from segue.domain.identifier import Identifier, IdentifierKinds
from segue.domain.identity import (
    ACCEPTED,
    PARTNERS,
    Cluster,
    Hold,
    Link,
    Node,
    Turn,
    held_before,
    refusal,
    statement_of,
    turn,
)  # fmt: skip
from segue.domain.instant import NEVER

from ..storage.ports import CUT, STATED, Known, LinkRow, StatementRow, Unit, bucket_of
from .crowds import Crowds
from .eras import in_turn
from .linkage import Linkage, Pending
from .region import Region, Unwritten
from .resolved import Memory, Resolved
from .sightings import Sightings

REMEMBERED: Final = 32_000
"""Identifiers remembered between units at most."""
_LATEST: Final = (NEVER, b"")


class Resolution:
    """The identifiers of one unit.

    Args:
        unit: of writing.
        kinds: how strong each kind is, and its limits, by the current plan.
        last_number: the last identifier number given away.
        identifiers: all that the unit's facts name.
        memory: of earlier units; read here, and brought up to date by `remember`.
        decode: a fact as the store keeps it.
    """

    def __init__(
        self, unit: Unit, kinds: IdentifierKinds, last_number: int, identifiers: Iterable[Identifier],
        memory: Memory, decode: Callable[[bytes], Fact],
    ) -> None:  # fmt: skip
        self._unit = unit
        self._kinds = kinds
        self._memory = memory
        remembered = memory.known
        wanted = set(identifiers)
        self._known = {identifier: remembered[identifier] for identifier in wanted if identifier in remembered}
        self._read = unit.resolve(wanted.difference(self._known))
        self._known |= self._read
        self._stale: set[Identifier] = set()
        self._unwritten = Unwritten()
        self._fresh, self._touched, self._verdicts = (
            self._unwritten.fresh, self._unwritten.touched, self._unwritten.verdicts
        )  # fmt: skip
        self._parents: dict[int, int] = {}
        self._final: dict[int, int] = {}
        self._pending = Pending()
        self._linkage = Linkage(unit, kinds, self._pending)
        self._region = Region(unit, self._linkage, kinds, self._unwritten)
        self._sightings = Sightings(unit, self._linkage, kinds, decode)
        self._clusters: dict[int, Cluster | None] = {}
        self._holds: dict[int, list[Hold]] = {}
        self._crowds = Crowds(self._linkage, kinds, memory.crowded)
        self._dirty: list[int] = []
        self._spoken_of: set[int] = set()
        self._placed: dict[int, list[Known]] = {}
        self._again = False
        self._named_together: list[tuple[Fact, int]] = []
        self.last_number = last_number

    def link(self, fact: Fact, position: int) -> Known:
        """Holds the identifiers of a fact together, or hears what it says about links.

        Returns:
            The leaf; `customer` tells whose it is once all is settled.
        """
        names = fact.identifiers
        if len(names) == 1:
            return self._of(names[0])
        found = {name: self._of(name) for name in names}
        strongest = self._kinds.strongest(names)
        leaf = found.pop(strongest)
        if fact.kind in STATEMENTS:
            self._state(fact, position)
            return leaf
        self._named_together.append((fact, position))
        for name, other in found.items():
            if other.number != leaf.number:
                self._observe((strongest, leaf), (name, other), fact, position)
        return leaf

    def _of(self, identifier: Identifier) -> Known:
        known = self._known.get(identifier)
        if known is None:
            self.last_number += 1
            known = Known(self.last_number, self.last_number, bucket_of(identifier))
            self._known[identifier] = self._fresh[identifier] = known
            self._pending.names[known.number] = identifier
        return known

    def _observe(
        self, strong: tuple[Identifier, Known], weak: tuple[Identifier, Known], fact: Fact, position: int
    ) -> None:
        """Two identifiers were named together: new, earlier than known, or nothing new."""
        (_, one), (_, other) = strong, weak
        pair, at = (one.number, other.number), fact.occurred_at
        stated = one.stated or other.stated
        if not stated and self._memory.pairs.get(pair, _LATEST) <= (at, fact.id):
            return
        row = LinkRow(*pair, at, fact.id, position)
        if strong[0] in self._fresh or weak[0] in self._fresh:
            rows = [old for old in self._pending.links.get(other.number, ()) if old[:2] == pair]
        else:
            rows = self._sightings.of(pair)
        new = not rows
        if stated:
            rows = self._sightings.comparable(pair, at, rows)
        if any((old.at, old.id) <= (at, fact.id) for old in rows):
            return
        if stated:
            self._dirty += pair
        else:
            crowded, tipped = self._crowds.join(strong, weak, new=new)
            self._dirty += tipped
            link = Link(strong[0], weak[0], at, fact.id)
            verdict = PARTNERS if crowded else self._join(link, one, other)
            if verdict != ACCEPTED:
                self._verdicts[row[:4]] = verdict
        self._pending.link(row)

    def _join(self, link: Link, one: Known, other: Known) -> str:
        """Makes one customer of two, unless a limit forbids it or something was said about one of them.

        Returns:
            Why the link does not hold; ACCEPTED where it does, and where that is still to be decided.
        """
        first, second = self._root(one.customer), self._root(other.customer)
        if first == second:
            self._holds.pop(first, None)
            return ACCEPTED
        left, right = self._cluster(first), self._cluster(second)
        if left is not None and right is not None:
            if refusal(self._kinds, left, right, {}) == ACCEPTED:
                left.join(right)
                self._parents[second] = first
                self._touched |= {first, second}
                self._holds.pop(first, None)
                return ACCEPTED
            # Was it refused already when it had its turn, then nothing else changes by it.
            visited = turn(self._kinds, link)
            one_then = self._held(first, Node(link.strong), left, visited)
            other_then = self._held(second, Node(link.weak), right, visited)
            verdict = refusal(self._kinds, one_then, other_then, {})
            if verdict != ACCEPTED:
                return verdict
        self._dirty += one.number, other.number
        return ACCEPTED

    def _held(self, root: int, node: Node, cluster: Cluster, before: Turn) -> Cluster:
        """What of a customer was one with a node before a turn."""
        if len(cluster.nodes) == 1:
            return cluster
        holds = self._holds.get(root)
        if holds is None:
            names = [node.identifier for node in cluster.nodes]
            holds = self._holds[root] = self._region.holds([(name, self._region.known(name)) for name in names])
        return held_before(node, holds, before)

    def _cluster(self, root: int) -> Cluster | None:
        """A customer as it is now; None where statements speak of it, so that only the whole rule can tell."""
        if root not in self._clusters:
            cluster = Cluster()
            fresh = self._pending.names.get(root)
            for name, known in self._unit.members(root) if fresh is None else [(fresh, self._known[fresh])]:
                cluster.add(Node(name))
                if known.stated:
                    self._clusters[root] = None
                    return None
            self._clusters[root] = cluster
        return self._clusters[root]

    def _state(self, fact: Fact, position: int) -> None:
        """A retraction, ending or separation: the part is decided anew."""
        said = statement_of(fact, self._kinds)
        strong, weak = self._of(said.strong), self._of(said.weak)
        pair = strong.number, weak.number
        row = StatementRow(said.kind, *pair, said.at, said.id, said.target, position)
        self._pending.state(row)
        for name in (said.strong, said.weak):
            known = self._known[name]
            if not known.stated:
                self._known[name] = known = known._replace(stated=STATED)
                if name in self._fresh:
                    self._fresh[name] = known
                self._clusters[self._root(known.customer)] = None
            self._stale.add(name)
            self._spoken_of.add(known.number)
        self._crowds.forget(*pair)
        again = {strong.number} if said.kind == RETRACTION else set()
        if said.kind == ENDING:
            # The weaker begins anew: with each of its partners.
            again = {number for row in self._linkage.rows(weak.number) for number in row[:2]} - {weak.number}
        for other in sorted(again):
            for link in self._sightings.later((other, weak.number), self._named_together):
                self._pending.link(link)
        self._dirty += pair

    def _root(self, customer: int) -> int:
        parents = self._parents
        while customer in parents:
            customer = parents[customer]
        return customer

    def customer(self, leaf: Known, at: int) -> int:
        """The number of the customer to whom a leaf's facts of an instant belong, after `settle`."""
        plain = leaf.stated != CUT and not self._placed and not self._parents  # nearly always: nobody became one
        return leaf.customer if plain else next(c for since, c in reversed(self._customers(leaf)) if since <= at)

    def _customers(self, known: Known) -> list[tuple[int, int]]:
        """Since when an identifier was which customer's."""
        eras = self._placed.get(known.number)
        if eras is None and known.stated == CUT:
            eras = self._placed[known.number] = self._unit.eras(known.number)
        if eras:
            return [(era.since, era.customer) for era in eras]
        root = self._root(known.customer)
        return [(0, self._final.get(root, root))]

    def apart(self, fact: Fact, customer: int) -> frozenset[Identifier]:
        """Which of the identifiers that a fact names are not its customer's, in none of their eras, after `settle`."""
        return frozenset(n for n in fact.identifiers if all(c != customer for _, c in self._customers(self._known[n])))

    def recompute(self, numbers: Iterable[int]) -> None:
        """Decides the whole parts of these identifiers anew: the rules changed."""
        self._dirty += numbers
        self._again = True

    def settle(self, position: int) -> Resolved:
        """Writes what changed.

        Args:
            position: the last of the unit.
        """
        resolved = Resolved(position)
        if self._dirty:
            self._settle_parts(position, resolved)
        fresh_numbers = {known.number for known in self._fresh.values()}
        roots = {self._root(customer) for customer in self._touched}
        groups: dict[int, list[int]] = {root: [] for root in roots}
        for customer in {*self._parents, *roots}:
            if self._root(customer) in groups:
                groups[self._root(customer)].append(customer)
        for root, customers in groups.items():
            if not any(customer in self._placed for customer in customers):
                self._settle_group(root, [c for c in customers if c not in fresh_numbers], position, resolved)
        for identifier, known in self._fresh.items():
            customer = self.customer(known, 0)
            self._unit.add_identifier(identifier, known.number, customer, known.bucket)
            resolved.appeared[identifier] = self.customer(known, NEVER)
            if customer in fresh_numbers and customer not in resolved.changed:
                resolved.created.add(customer)
        if self._spoken_of:
            self._unit.state(sorted(self._spoken_of))
            # A consent may bind otherwise by what was said, though nobody becomes another.
            spoken_of = (known for known in self._known.values() if known.number in self._spoken_of)
            hers = {customer for known in spoken_of for _, customer in self._customers(known)}
            resolved.changed |= hers
            resolved.created -= hers
        for number, eras in self._placed.items():
            if len(eras) > 1 or eras[0].stated == CUT:
                self._unit.set_eras(number, eras)
        self._write_links()
        if resolved.changed:
            self._unit.void(resolved.changed)
        resolved.number = self.last_number
        return resolved

    def _write_links(self) -> None:
        rows = {row[:4]: row for rows in self._pending.links.values() for row in rows}
        if rows:
            self._unit.add_links(
                [row._replace(verdict=self._verdicts.pop(key, row.verdict)) for key, row in rows.items()]
            )
        if self._verdicts:
            self._unit.judge([LinkRow(*key, 0, verdict) for key, verdict in self._verdicts.items()])
        for row_ in {row.id: row for said in self._pending.statements.values() for row in said}.values():
            self._unit.add_statement(row_)

    def _settle_group(self, root: int, before: list[int], position: int, resolved: Resolved) -> None:
        members = {name: known for customer in before for name, known in self._unit.members(customer)}
        members |= {name: known for name, known in self._fresh.items() if self._root(known.customer) == root}
        strongest = members[self._kinds.strongest(members)].number
        self._final[root] = strongest
        moving = [
            known.number for known in members.values() if known.customer in before and known.customer != strongest
        ]
        if moving or len(before) > 1:
            resolved.changed |= {*before, strongest}
            self._unit.assign(moving, strongest, position)
            self._stale |= members.keys()

    def _settle_parts(self, position: int, resolved: Resolved) -> None:
        """Decides connected parts anew, and gives every node its customer."""
        joined: dict[int, set[int]] = {}
        for known in self._known.values():
            joined.setdefault(self._root(known.customer), set()).add(known.number)
        part, divided = self._region.decided(self._dirty, list(joined.values()), whole=self._again)
        for link, row in part.links.items():
            verdict = divided.verdicts.get(link, ACCEPTED)
            self._verdicts.pop(row[:4], None)
            if verdict != row.verdict:
                self._verdicts[row[:4]] = verdict
        before = self._region.before(part)
        numbers = {name: number for number, name in part.names.items()}
        nodes: dict[int, list[Known]] = {number: [] for number in part.names}
        for cluster in divided.clusters:
            together = [self._node(numbers[node.identifier], node, before) for node in cluster]
            customer = together[0].era or together[0].number
            old = [own for own in together if not self._is_new(own)]
            former = {own.customer for own in old}
            # Who consists of new identifiers only came to be, and did not change.
            same = not old or (
                former == {customer}
                and {(own.number, own.since) for _, own in self._unit.members(customer)}
                == {(own.number, own.since) for own in old}
            )
            if not same:
                resolved.changed |= {customer, *former}
            for own in together:
                moved = own.moved if same or self._is_new(own) else position
                nodes[own.number].append(own._replace(customer=customer, moved=moved))
        for number, found in nodes.items():
            eras, changed = in_turn(before[number], found, position)
            resolved.changed |= changed
            stated = CUT if len(eras) > 1 or len(before[number]) > 1 else eras[0].stated
            self._placed[number] = [known._replace(stated=stated) for known in eras]
            was, now = before[number][0], eras[0]
            if (now.customer, now.moved) != (was.customer, was.moved) and stated != CUT and not self._is_new(now):
                self._unit.assign([number], now.customer, now.moved)
            self._stale.add(part.names[number])

    def _is_new(self, known: Known) -> bool:
        return known.number in self._pending.names

    def _node(self, number: int, node: Node, before: dict[int, list[Known]]) -> Known:
        """A node by number, with what the store knows of it."""
        known = next(known for known in reversed(before[number]) if known.since <= node.since)
        if known.since == node.since:
            return known
        self.last_number += 1  # an era that begins now comes out of the one before it
        return known._replace(since=node.since, era=self.last_number)

    def remember(self, resolved: Resolved) -> None:
        """Keeps what was found for the next units; to be called once this one is committed."""
        memory = self._memory
        memory.crowded |= self._crowds.found
        for rows in self._pending.links.values():
            for row in rows:
                pair = row.strong, row.weak
                memory.pairs[pair] = min((row.at, row.id), memory.pairs.get(pair, _LATEST))
        if len(memory.known) > REMEMBERED:
            memory.known.clear()
        if len(memory.pairs) > REMEMBERED:
            memory.pairs.clear()
        for identifier in self._stale:
            memory.known.pop(identifier, None)
        for identifier in (*self._read, *self._fresh):  # the others are remembered already
            if identifier not in self._stale:
                known = self._known[identifier]
                memory.known[identifier] = known._replace(customer=resolved.appeared.get(identifier, known.customer))
