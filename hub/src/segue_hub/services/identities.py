"""Identities: who an identifier is held to be, at whichever moment, read from the links in the store.

Owns the reader's side of identity. The rule is the domain's (`segue.domain.identity`), the walk along links is
`linkage`'s; for all that is known now, what comes out is what `resolution` wrote. Nothing is written here.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from segue.domain.identifier import Identifier
from segue.domain.identity import Node, Partition, Selection
from segue.domain.instant import NEVER, instant_text

from ..storage.ports import ALL, FactRow, Known, Leaf, LinkRow, Links, StatementRow, Store, Until, bucket_of
from .failure import not_found
from .linkage import Linkage, Part
from .moments import Moment


class Span(NamedTuple):
    """An identifier for as long as it was a customer's: half-open, in microseconds; until NEVER where it still is."""

    identifier: Identifier
    number: int
    since: int
    until: int


@dataclass(frozen=True, slots=True)
class Held:
    """Who an identifier was held to be at a moment.

    Attributes:
        spans: of the customer, strongest first; those that were over by then are among them, as their facts are hers.
        part: everything that could decide it.
        divided: who is one in that part.
        selection: what statements leave of its links.
    """

    moment: Moment
    spans: tuple[Span, ...]
    part: Part
    divided: Partition
    selection: Selection

    @property
    def names(self) -> list[Identifier]:
        """The identifiers, strongest first; each once."""
        return list(dict.fromkeys(span.identifier for span in self.spans))

    @property
    def eras(self) -> list[tuple[Identifier, int]]:
        """The identifiers, each with when it began."""
        return [(span.identifier, span.since) for span in self.spans]

    @property
    def leaves(self) -> list[Leaf]:
        """Whose facts are the customer's, as far as they had occurred."""
        end = self.moment.at + 1
        return [
            Leaf(
                span.number, bucket_of(span.identifier), span.since, min(span.until, end) if end < NEVER else span.until
            )
            for span in self.spans
        ]


class LinkMemory:
    """Links that are read more than once, read once. See `ports.Links`.

    Args:
        reader: what they are read from.
    """

    def __init__(self, reader: Links) -> None:
        self._reader = reader
        self._names: dict[int, Identifier] = {}
        self._links: dict[tuple[int, int, Until], list[LinkRow]] = {}
        self._statements: dict[int, list[StatementRow]] = {}

    def names(self, numbers: Iterable[int]) -> dict[int, Identifier]:
        """See `ports.Links.names`."""
        wanted = set(numbers)
        self._names |= self._reader.names(wanted.difference(self._names))
        return {number: self._names[number] for number in wanted if number in self._names}

    def links(self, number: int, limit: int = 0, until: Until = ALL) -> list[LinkRow]:
        """See `ports.Links.links`."""
        whole = self._links.get((number, 0, ALL))
        if whole is not None:
            return whole if until == ALL else [row for row in whole if until.keeps(row)]
        for most in (0, limit):
            if (number, most, until) in self._links:
                return self._links[number, most, until]
        found = self._reader.links(number, limit, until)
        self._links[number, limit if len(found) == limit else 0, until] = found
        return found

    def held(self, strong: Sequence[int]) -> list[LinkRow]:
        """See `ports.Links.held`."""
        return self._reader.held(strong)

    def statements(self, number: int) -> list[StatementRow]:
        """See `ports.Links.statements`."""
        found = self._statements.get(number)
        if found is None:
            found = self._statements[number] = self._reader.statements(number)
        return found

    def eras(self, number: int) -> list[Known]:
        """See `ports.Links.eras`."""
        return self._reader.eras(number)

    def facts(self, leaves: Sequence[Leaf], after: int = 0) -> list[FactRow]:
        """See `ports.Links.facts`."""
        return self._reader.facts(leaves, after)


class Identities:
    """Reads who is who.

    Args:
        store: where links are.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    def number(self, identifier: Identifier, moment: Moment) -> int:
        """The number of an identifier, in its normal form or as given.

        Raises:
            Refusal: NOT_FOUND.
        """
        known = self._store.resolve(moment.plan.kinds.normal(identifier)) or self._store.resolve(identifier)
        if known is None:
            raise not_found(f"nobody is known by {identifier}")
        return known.number

    def held(self, number: int, moment: Moment, reader: Links | None = None) -> Held:
        """Who an identifier is held to be at a moment.

        Args:
            number: of the identifier.
            moment: which links are looked at.
            reader: instead of the store.
        """
        kinds = moment.plan.kinds
        part = Linkage(reader or self._store, kinds, until=moment.until).part([number])
        divided, selection = part.divided(kinds), part.selection()
        numbers = {name: own for own, name in part.names.items()}
        node = selection.node(part.names[number], moment.at)
        (cluster,) = (nodes for nodes in divided.clusters if node in nodes)
        spans = tuple(
            Span(own.identifier, numbers[own.identifier], own.since, _until(selection, own))
            for own in cluster
            if own.since <= moment.at
        )
        return Held(moment, spans, part, divided, selection)

    def still(self, number: int, held: Held) -> tuple[Span, ...]:
        """What of a customer of the past is one customer with an identifier of hers by all that is known now.

        Args:
            number: of the identifier; of its eras, that of the moment counts.
            held: who it was held to be.
        """
        known = self._store.resolve(held.part.names[number])
        eras = self._store.eras(number) or ([known] if known is not None else [])
        customer = next((era.customer for era in reversed(eras) if era.since <= held.moment.at), number)
        now: dict[int, list[Known]] = {}
        for _, own in self._store.members(customer):
            now.setdefault(own.number, []).append(own)
        both = (
            span._replace(since=max(span.since, own.since), until=min(span.until, own.until))
            for span in held.spans
            for own in now.get(span.number, ())
        )
        return tuple(span for span in both if span.since < span.until)


def _until(selection: Selection, node: Node) -> int:
    """When a node's identifier begins anew."""
    return min((cut for cut in selection.cuts.get(node.identifier, ()) if cut > node.since), default=NEVER)


def span_plain(span: Span) -> dict[str, Any]:
    """An identifier with its era, where it has one."""
    return {
        "identifier": str(span.identifier),
        "since": instant_text(span.since) if span.since else None,
        "until": instant_text(span.until) if span.until < NEVER else None,
    }
