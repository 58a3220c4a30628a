"""Regions: how far around a change it has to be decided anew who is one.

Owns that distance. A link that is refused leads to a customer who stays as she is, unless the link would hold now:
only then is she decided anew as well. So a change costs what it changes, and not the whole connected part, which among
shared phones has no end. Where the rules themselves changed, the whole part is decided.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from segue.domain.identifier import Identifier, IdentifierKinds
from segue.domain.identity import (
    ACCEPTED,
    PARTNERS,
    Cluster,
    Hold,
    Link,
    Node,
    Partition,
    Turn,
    held_before,
    turn,
)  # fmt: skip

from ..storage.ports import CUT, Known, LinkRow, Unit
from .linkage import Linkage, Part


@dataclass(slots=True)
class Unwritten:
    """What the unit under way did so far.

    Attributes:
        fresh: identifiers that the store does not know.
        touched: customers that it made one of others.
        verdicts: of links, where they differ from what is stored or pending.
    """

    fresh: dict[Identifier, Known] = field(default_factory=dict)
    touched: set[int] = field(default_factory=set)
    verdicts: dict[tuple[int, int, int, bytes], str] = field(default_factory=dict)

    def verdict(self, row: LinkRow) -> str:
        """Why a link does not hold, as far as is known."""
        return self.verdicts.get(row[:4], row.verdict)


class Region:
    """Decides anew who is one around some identifiers.

    Args:
        unit: of writing.
        linkage: links and statements, of store and unit.
        kinds: strength and limits.
        unwritten: of the unit.
    """

    def __init__(self, unit: Unit, linkage: Linkage, kinds: IdentifierKinds, unwritten: Unwritten) -> None:
        self._unit = unit
        self._linkage = linkage
        self._kinds = kinds
        self._unwritten = unwritten
        self._stored: dict[Identifier, Known] = {}

    def decided(self, seeds: Iterable[int], joined: Sequence[set[int]], *, whole: bool) -> tuple[Part, Partition]:
        """Who is one around identifiers, by number.

        Args:
            seeds: the identifiers.
            joined: numbers of identifiers that are one in this unit.
            whole: whether all links that could matter are looked at, and not only those of who is reached.
        """
        part, wanted, asked = Part(), set(seeds), set[int]()
        while True:
            self._look(part, wanted, whole=whole)
            reached = part.names.keys()
            more = {number for group in joined if not group.isdisjoint(reached) for number in group}
            for eras in self.before(part).values():
                for customer in {known.customer for known in eras} - asked:
                    asked.add(customer)
                    more.update(known.number for _, known in self._unit.members(customer))
            if not whole:
                more |= self._in_motion(part)
            if more <= reached:
                beyond = None if whole else _Surroundings(self, part)
                if beyond is not None:
                    part.crowded |= beyond.crowded
                found = part.divided(self._kinds, beyond)
                if not found.reached:
                    return part, found
                more = {self.known(node.identifier).number for node in found.reached}
            wanted |= more

    def _look(self, part: Part, wanted: set[int], *, whole: bool) -> None:
        waiting = sorted(wanted - part.names.keys())
        while waiting:
            number = waiting.pop()
            if number not in part.names:
                others = self._linkage.visit(number, part)
                waiting += others if whole else ()

    def _in_motion(self, part: Part) -> set[int]:
        """Of those that links lead to, who is new or was joined with others in this unit."""
        unwritten = self._unwritten
        ends = {number for row in part.links.values() for number in row[:2]} - part.names.keys()
        names = self._linkage.named(ends)
        self._resolve(names.values())
        return {
            number
            for number, name in names.items()
            if name in unwritten.fresh or any(known.customer in unwritten.touched for known in self.eras(name))
        }

    def before(self, part: Part) -> dict[int, list[Known]]:
        """The nodes of a part as the store has them."""
        self._resolve(part.names.values())
        return {number: self.eras(name) for number, name in part.names.items()}

    def known(self, name: Identifier) -> Known:
        """An identifier as the unit or the store knows it."""
        self._resolve([name])
        return self._unwritten.fresh.get(name) or self._stored[name]

    def eras(self, name: Identifier) -> list[Known]:
        """An identifier's eras; itself where it has none."""
        known = self.known(name)
        return self._unit.eras(known.number) if known.stated == CUT else [known]

    def _resolve(self, names: Iterable[Identifier]) -> None:
        fresh, stored = self._unwritten.fresh, self._stored
        stored |= self._unit.resolve([name for name in names if name not in fresh and name not in stored])

    def holds(self, members: Sequence[tuple[Identifier, Known]]) -> list[Hold]:
        """What holds a customer together.

        Args:
            members: her identifiers; of one that began anew, the eras that are hers.
        """
        spans: dict[int, list[tuple[Identifier, Known]]] = {}
        for name, known in members:
            spans.setdefault(known.number, []).append((name, known))

        def node(number: int, at: int) -> Node | None:
            own = (Node(name, known.since) for name, known in spans.get(number, ()) if known.since <= at < known.until)
            return next(own, None)

        found = []
        for row in self._linkage.held(spans):
            one, other = node(row.strong, row.at), node(row.weak, row.at)
            if one is not None and other is not None and self._unwritten.verdict(row) == ACCEPTED:
                strong, weak = sorted((one.identifier, other.identifier), key=self._kinds.strength)
                found.append((one, other, turn(self._kinds, Link(strong, weak, row.at, row.id))))
        return found


class _Surroundings:
    """See `identity.Beyond`: the customers that links lead to from a part, as the store has them.

    Attributes:
        begins: who they are, and when each began anew.
        crowded: those of them that have too many partners.
    """

    def __init__(self, region: Region, part: Part) -> None:
        self._region = region
        own = set(part.names.values())
        around = {name for link in part.links for name in (link.strong, link.weak)} - own
        self._eras = {name: region.eras(name) for name in around}
        self.begins: Mapping[Identifier, Sequence[int]] = {
            name: [known.since for known in eras if known.since] for name, eras in self._eras.items()
        }
        self._holds: dict[int, list[Hold]] = {}
        self.crowded = self._crowded(part)

    def _crowded(self, part: Part) -> set[Node]:
        selection, region = part.selection(), self._region
        suspected = set()
        for link, row in part.links.items():
            outer = link.strong if link.strong in self.begins else link.weak
            inner = link.weak if outer is link.strong else link.strong
            refused = outer in self.begins and region._unwritten.verdict(row) == PARTNERS
            if refused and selection.node(inner, link.at) not in part.crowded:
                suspected.add(region.known(outer).number)
        found = Part()
        for number in suspected:
            region._linkage.visit(number, found)
        return found.crowded

    def cluster(self, node: Node, before: Turn) -> Cluster:
        """See `identity.Beyond.cluster`."""
        region = self._region
        customer = next(known.customer for known in self._eras[node.identifier] if known.since == node.since)
        holds = self._holds.get(customer)
        if holds is None:
            members = region._unit.members(customer)
            holds = self._holds[customer] = region.holds(members) if len(members) > 1 else []
        return held_before(node, holds, before)
