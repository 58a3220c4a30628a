"""Linkage: the connected part of all links around some identifiers, read from a store and from a unit under way.

Owns the walk along links, bounded where an identifier has too many partners, and the step from rows and numbers to the
links and statements of the domain. Who is one is decided by `segue.domain.identity`; nothing is written here.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from segue.domain.identifier import Identifier, IdentifierKinds
from segue.domain.identity import Beyond, Link, Node, Partition, Selection, Statement, partition, peers, select

from ..storage.ports import ALL, LinkRow, Links, StatementRow, Until


@dataclass(slots=True)
class Pending:
    """Links and statements of a unit that is not written yet."""

    links: dict[int, list[LinkRow]] = field(default_factory=dict)
    statements: dict[int, list[StatementRow]] = field(default_factory=dict)
    names: dict[int, Identifier] = field(default_factory=dict)

    def link(self, row: LinkRow) -> None:
        """One more."""
        self.links.setdefault(row.strong, []).append(row)
        self.links.setdefault(row.weak, []).append(row)

    def state(self, row: StatementRow) -> None:
        """One more."""
        self.statements.setdefault(row.strong, []).append(row)
        self.statements.setdefault(row.weak, []).append(row)


@dataclass(slots=True)
class Part:
    """A connected part: everything that can decide who its identifiers are.

    Attributes:
        names: its identifiers, by number.
        links: among them, and those that lead to or from an identifier with too many partners.
        statements: about them.
        crowded: nodes with too many partners.
    """

    names: dict[int, Identifier] = field(default_factory=dict)
    links: dict[Link, LinkRow] = field(default_factory=dict)
    statements: dict[bytes, Statement] = field(default_factory=dict)
    crowded: set[Node] = field(default_factory=set)

    def divided(self, kinds: IdentifierKinds, beyond: Beyond | None = None) -> Partition:
        """Who is one in it; identifiers beyond its edge are left out.

        Args:
            kinds: strength and limits.
            beyond: the customers beyond its edge, where links that lead there were not followed.
        """
        own = set(self.names.values())
        found = partition(kinds, self.links, self.statements.values(), own, self.crowded, beyond)
        clusters = [nodes for nodes in found.clusters if nodes[0].identifier in own]
        return Partition(clusters, found.verdicts, found.reached)

    def selection(self) -> Selection:
        """What statements leave of its links."""
        return select(self.links, self.statements.values())


class Linkage:
    """Walks along links.

    Args:
        reader: of the store.
        kinds: strength and limits.
        pending: of the unit under way.
        until: how far is looked; a statement counts from the position at which it is known.
    """

    def __init__(
        self, reader: Links, kinds: IdentifierKinds, pending: Pending | None = None, until: Until = ALL
    ) -> None:
        self._reader = reader
        self._kinds = kinds
        self._pending = pending or Pending()
        self._until = until
        self._names: dict[int, Identifier] = {}

    def part(self, seeds: Iterable[int]) -> Part:
        """The parts that hold the given identifiers, by number."""
        part = Part()
        waiting = list(dict.fromkeys(seeds))
        reached = set(waiting)
        while waiting:
            number = waiting.pop()
            for other in self.visit(number, part):
                if other not in reached:
                    reached.add(other)
                    waiting.append(other)
        return part

    def rows(self, number: int, limit: int = 0) -> list[LinkRow]:
        """The links of an identifier, of store and unit."""
        stored = self._reader.links(number, limit, self._until) if number not in self._pending.names else ()
        return [*stored, *self._pending.links.get(number, ())]

    def statements(self, number: int) -> list[StatementRow]:
        """What was said about an identifier's links, in store and unit."""
        stored = self._reader.statements(number) if number not in self._pending.names else ()
        found = [*stored, *self._pending.statements.get(number, ())]
        return [row for row in found if row.position <= self._until.position]

    def named(self, numbers: Iterable[int]) -> dict[int, Identifier]:
        """Identifiers by number."""
        wanted, fresh = set(numbers), self._pending.names
        self._names |= self._reader.names(wanted.difference(self._names, fresh))
        found = {number: self._names.get(number) or fresh.get(number) for number in wanted}
        return {number: name for number, name in found.items() if name is not None}

    def held(self, numbers: Collection[int]) -> list[LinkRow]:
        """The links that hold, of store and unit, of which these identifiers are the stronger ends; in the unit some of
        them may have been refused.
        """
        stored = self._reader.held([number for number in numbers if number not in self._pending.names])
        pending = self._pending.links
        return [*stored, *(row for number in numbers for row in pending.get(number, ()) if row.strong == number)]

    def visit(self, number: int, part: Part) -> list[int]:
        """Adds an identifier, its links and what was said about them to a part; returns those that links lead to."""
        name = self.named([number]).get(number)
        if name is None:
            return []
        part.names[number] = name
        kinds = self._kinds
        # Enough to see that it is crowded; of one that is not, all are read.
        enough = 4 * kinds.partners(name.kind) + 64
        rows = self.rows(number, enough)
        crowded: set[Node] = set()
        statements = {row.id: self._statement(row) for row in self.statements(number)}
        for _ in range(2):
            links = self._links(rows)
            selection = select(links, statements.values())
            pairs = {
                (selection.node(link.strong, link.at), selection.node(link.weak, link.at)) for link in selection.live
            }
            own = peers(kinds, pairs)
            crowded = {node for node in selection.nodes(name) if len(own.get(node, ())) > kinds.partners(name.kind)}
            if crowded or len(rows) < enough:
                break
            rows = self.rows(number)
        part.crowded |= crowded
        part.statements |= statements
        part.links |= links
        live = set(selection.live)
        return [
            row.weak if row.strong == number else row.strong
            for link, row in links.items()
            if link in live and selection.node(name, link.at) not in crowded
        ]

    def _links(self, rows: Iterable[LinkRow]) -> dict[Link, LinkRow]:
        found = list(rows)
        names = self.named(number for row in found for number in row[:2])
        strength = self._kinds.strength
        links = {}
        for row in found:
            strong, weak = sorted((names[row.strong], names[row.weak]), key=strength)
            links[Link(strong, weak, row.at, row.id)] = row
        return links

    def _statement(self, row: StatementRow) -> Statement:
        names = self.named((row.strong, row.weak))
        strong, weak = sorted((names[row.strong], names[row.weak]), key=self._kinds.strength)
        return Statement(row.kind, strong, weak, row.at, row.id, row.target)
