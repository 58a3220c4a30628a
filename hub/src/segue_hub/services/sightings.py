"""Sightings: when facts named two identifiers together, of which only those that can count are kept as links.

Owns that choice: the earliest between two statements that concern the two. A statement can make a later one count, and
then it is looked for among the facts of both leaves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from segue.domain.fact import ENDING, RETRACTION, STATEMENTS, Fact
from segue.domain.identifier import IdentifierKinds

from ..storage.ports import Leaf, LinkRow, Unit, bucket_of
from .linkage import Linkage

Pair = tuple[int, int]
_FEW = 256


class Sightings:
    """Of one unit of writing.

    Args:
        unit: read for facts.
        linkage: links and statements, of store and unit.
        kinds: to tell a fact's leaf.
        decode: a fact as the store keeps it.
    """

    def __init__(self, unit: Unit, linkage: Linkage, kinds: IdentifierKinds, decode: Callable[[bytes], Fact]) -> None:
        self._unit = unit
        self._linkage = linkage
        self._kinds = kinds
        self._decode = decode

    def of(self, pair: Pair) -> list[LinkRow]:
        """All links of two identifiers, read at the end that has fewer."""
        both = set(pair)
        for limit in (_FEW, 0):
            for number in pair:
                rows = self._linkage.rows(number, limit)
                if not limit or len(rows) < limit:
                    return [row for row in rows if {row.strong, row.weak} == both]
        return []

    def comparable(self, pair: Pair, at: int, rows: Iterable[LinkRow]) -> list[LinkRow]:
        """Those of the rows that count for the same time as a sighting at an instant does."""
        segment, taken = self._segment(pair), self._taken_back(pair)
        return [row for row in rows if row.id not in taken and segment(row.at) == segment(at)]

    def later(self, pair: Pair, unwritten: Iterable[tuple[Fact, int]]) -> list[LinkRow]:
        """What counts now that something was said about the two, and is no link yet.

        Args:
            pair: the two.
            unwritten: facts of the unit itself, with their positions.
        """
        names = self._linkage.named(pair)
        segment, taken, before = self._segment(pair), self._taken_back(pair), self.of(pair)
        earliest: dict[int, LinkRow] = {}

        def see(row: LinkRow) -> None:
            first = earliest.get(segment(row.at))
            if row.id not in taken and (first is None or (row.at, row.id) < (first.at, first.id)):
                earliest[segment(row.at)] = row

        for old in before:
            see(old)
        stored = self._unit.facts([Leaf(number, bucket_of(name)) for number, name in names.items()])
        for fact, position in (*((self._decode(row.body), row.position) for row in stored), *unwritten):
            together = fact.kind not in STATEMENTS and set(names.values()) <= set(fact.identifiers)
            if together and self._kinds.strongest(fact.identifiers) in names.values():
                see(LinkRow(*pair, fact.occurred_at, fact.id, position))
        return [row for row in earliest.values() if row not in before]

    def _segment(self, pair: Pair) -> Callable[[int], int]:
        """Tells between which of the statements that concern two identifiers an instant lies."""
        both = set(pair)
        said = {row.id: row for number in pair for row in self._linkage.statements(number)}.values()
        endings = [row.at for row in said if row.kind == ENDING]
        retractions = [
            row.at for row in said if row.kind == RETRACTION and not row.target and {row.strong, row.weak} == both
        ]
        return lambda at: sum(at >= ending for ending in endings) + sum(at > taken for taken in retractions)

    def _taken_back(self, pair: Pair) -> set[bytes]:
        """The facts whose links of two identifiers were taken back one by one."""
        both = set(pair)
        return {row.target for row in self._linkage.statements(pair[0]) if {row.strong, row.weak} == both}
