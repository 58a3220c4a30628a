"""What holds of the names that a customer's facts name together: which of them are one, and from when on.

Owns what the fold is told of identity beside the facts, so that a consent binds by the links that hold (semantics ID4):
whose names are not hers, which links were taken back, and when one of her identifiers began anew. Who is one customer
is decided in `identity`; nothing is decided here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from .fact import RETRACTION, STATEMENTS, Fact
from .identifier import Identifier, IdentifierKinds

Pair = tuple[Identifier, Identifier]
"""Two identifiers, the stronger first."""


class Retracted(NamedTuple):
    """What was taken back of the links of two identifiers.

    Attributes:
        until: all links up to this instant, in microseconds; -1 for none.
        facts: the links of single facts, by their ids.
    """

    until: int = -1
    facts: frozenset[bytes] = frozenset()

    def speaks_of(self, fact: Fact) -> bool:
        """Whether the link that a fact makes of the two was taken back."""
        return fact.occurred_at <= self.until or fact.id in self.facts


class Holding(NamedTuple):
    """What a fold is told of one customer's names.

    Attributes:
        apart: identifiers that her facts name and that are somebody else's.
        retracted: by pair, what was taken back.
        begins: when identifiers that had been hers began anew, rising: what was linked before is so no more.
    """

    apart: frozenset[Identifier] = frozenset()
    retracted: Mapping[Pair, Retracted] = {}
    begins: tuple[tuple[int, Identifier], ...] = ()


EVERYTHING: Final = Holding()
"""All that is named together is linked."""
Eras = Sequence[tuple[Identifier, int]]
"""A customer's identifiers, each with the instant at which it began; 0 where it did not begin anew."""


def ended(identifier: Identifier, at: int) -> Identifier:
    """What stands in a content for an identifier of hers as it was before it began anew at an instant."""
    return Identifier(f"{identifier.kind}@{at}", identifier.value)


def has_ended(identifier: Identifier) -> bool:
    """Whether an identifier of a content stands for what another one was before."""
    return "@" in identifier.kind


def holding(facts: Iterable[Fact], eras: Eras, kinds: IdentifierKinds) -> Holding:
    """What a fold of a customer's facts has to know.

    Args:
        facts: all of hers, statements among them.
        eras: her identifiers.
        kinds: how strong each kind is.
    """
    own, named = {name for name, _ in eras}, set[Identifier]()
    retracted: dict[Pair, Retracted] = {}
    for fact in facts:
        if fact.kind not in STATEMENTS:
            named.update(fact.identifiers)
        elif fact.kind == RETRACTION and own.issuperset(fact.identifiers):  # of others she is not one with anyway
            strong, weak = sorted(fact.identifiers, key=kinds.strength)
            until, single = retracted.get((strong, weak), Retracted())
            target = bytes.fromhex(fact.properties.get("fact", ""))
            retracted[strong, weak] = (
                Retracted(until, single | {target}) if target else Retracted(max(until, fact.occurred_at), single)
            )
    first = dict(sorted(eras, reverse=True))
    begins = sorted((since, name) for name, since in eras if since > first[name])
    return Holding(frozenset(named - own), retracted, tuple(begins))
