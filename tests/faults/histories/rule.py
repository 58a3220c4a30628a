"""Who was who at each position of a log, by the naive rule of `tests.linking`.

Owns `Rule`. A unit of writing decides at its end who is who; what is told in between has the facts so far of whoever
that is. Where units end is read off the log: all facts of one were received at one instant.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence

from segue.domain.fact import STATEMENTS, Fact
from segue.domain.identifier import Identifier, IdentifierKinds

from tests.linking import told


class Rule:
    """Of one log.

    Args:
        log: (position, fact), rising, of facts that name somebody.
        ends: the last positions of units.
        kinds: how strong identifiers are, and what limits there are.
    """

    def __init__(self, log: Sequence[tuple[int, Fact]], ends: Iterable[int], kinds: IdentifierKinds) -> None:
        self._parts: dict[Identifier, list[tuple[int, Fact]]] = {}
        self._ends, self._kinds = sorted(ends), kinds
        self._positions = {fact.id: position for position, fact in log}
        self._known: dict[tuple[int, int], dict[Identifier, tuple[int, list[Fact]]]] = {}
        self._divide(log)

    def _divide(self, log: Sequence[tuple[int, Fact]]) -> None:
        """Whoever was never named together, by whichever chain, is decided apart."""
        for position, fact in log:
            found: list[tuple[int, Fact]] = []
            for part in {id(p): p for name in fact.identifiers if (p := self._parts.get(name))}.values():
                found += part
            found = sorted([*found, (position, fact)], key=lambda entry: entry[0])
            for name in {name for _, other in found for name in other.identifiers}:
                self._parts[name] = found

    def whose(self, identifier: Identifier, through: int) -> list[Fact]:
        """What is folded of whoever an identifier is, as of a position."""
        place = bisect_left(self._ends, through)
        end = self._ends[place] if place < len(self._ends) else through
        theirs = self._at(identifier, end).get(identifier, (0, []))[1]
        return [fact for fact in theirs if self._positions[fact.id] <= through]

    def _at(self, identifier: Identifier, end: int) -> dict[Identifier, tuple[int, list[Fact]]]:
        part = [entry for entry in self._parts.get(identifier, ()) if entry[0] <= end]
        if not part:
            return {}
        key = part[-1][0], id(self._parts[identifier])
        if key not in self._known:
            newest = self._known[key] = {}
            for members, theirs in told([fact for _, fact in part], self._kinds).customers.items():
                folded = sorted((fact for fact in theirs if fact.kind not in STATEMENTS), key=lambda fact: fact.order)
                for name, since in members:
                    if since >= newest.get(name, (0, []))[0]:
                        newest[name] = since, folded
        return self._known[key]
