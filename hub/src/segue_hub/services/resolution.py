"""Who is who: identifiers of a batch of facts resolved to customers, links applied, merges found.

Owns rules FA2 and ID1 to ID3 as far as linking and merging go: an identifier joins the customer of those it is named
with; the customer is named by its strongest identifier. Works inside one unit of writing; changes the store only
through `settle`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from segue.domain.identifier import Identifier, IdentifierKinds

from ..storage.ports import Known, Unit, bucket_of

REMEMBERED: Final = 200_000
"""Identifiers remembered between units at most."""


@dataclass(slots=True)
class Resolved:
    """What a unit changed in who is who.

    Attributes:
        moved: by former customer number, the number it is part of now.
        appeared: identifiers that the store did not know, and their customers.
        created: customers that nobody knew before.
    """

    moved: dict[int, int] = field(default_factory=dict)
    appeared: dict[Identifier, int] = field(default_factory=dict)
    created: set[int] = field(default_factory=set)


class Resolution:
    """The identifiers of one unit.

    Args:
        unit: of writing.
        kinds: how strong each kind is, by the current plan.
        last_number: the last identifier number given away.
        identifiers: all that the unit's facts name.
        remembered: what earlier units found; read here, and brought up to date by `remember`.
    """

    def __init__(
        self, unit: Unit, kinds: IdentifierKinds, last_number: int, identifiers: Iterable[Identifier],
        remembered: dict[Identifier, Known],
    ) -> None:  # fmt: skip
        self._unit = unit
        self._kinds = kinds
        self._remembered = remembered
        wanted = set(identifiers)
        self._known = {identifier: remembered[identifier] for identifier in wanted if identifier in remembered}
        self._known |= unit.resolve(wanted.difference(self._known))
        self._stale: set[Identifier] = set()
        self._fresh: dict[Identifier, Known] = {}
        self._parents: dict[int, int] = {}
        self._touched: set[int] = set()
        self._final: dict[int, int] = {}
        self.last_number = last_number

    def link(self, identifiers: Iterable[Identifier]) -> tuple[Known, int]:
        """Holds the identifiers of a fact together.

        Returns:
            The leaf, and a handle that `customer` turns into the customer's number once all is settled.
        """
        names = list(identifiers)
        found = [self._of(identifier) for identifier in names]
        root = self._root(found[0].customer)
        for other in found[1:]:
            second = self._root(other.customer)
            if second != root:
                self._parents[second] = root
                self._touched |= {root, second}
        leaf = found[names.index(self._kinds.strongest(names))] if len(names) > 1 else found[0]
        return leaf, root

    def _of(self, identifier: Identifier) -> Known:
        known = self._known.get(identifier)
        if known is None:
            self.last_number += 1
            known = Known(self.last_number, self.last_number, bucket_of(identifier))
            self._known[identifier] = self._fresh[identifier] = known
        return known

    def _root(self, customer: int) -> int:
        parents = self._parents
        while customer in parents:
            customer = parents[customer]
        return customer

    def customer(self, handle: int) -> int:
        """The number of the customer behind a handle, after `settle`."""
        root = self._root(handle)
        return self._final.get(root, root)

    def settle(self) -> Resolved:
        """Writes what changed."""
        resolved = Resolved()
        roots = {self._root(customer) for customer in self._touched}
        fresh_numbers = {known.number for known in self._fresh.values()}
        groups: dict[int, list[int]] = {root: [] for root in roots}
        for customer in {*self._parents, *roots}:
            if self._root(customer) in groups:
                groups[self._root(customer)].append(customer)
        for root, customers in groups.items():
            self._settle_group(root, [c for c in customers if c not in fresh_numbers], resolved)
        grown = set(resolved.moved.values())  # named anew by a fresh identifier, but with a past
        for identifier, known in self._fresh.items():
            customer = self.customer(known.customer)
            self._unit.add_identifier(identifier, known.number, customer, known.bucket)
            resolved.appeared[identifier] = customer
            if customer in fresh_numbers and customer not in grown:
                resolved.created.add(customer)
        return resolved

    def _settle_group(self, root: int, before: list[int], resolved: Resolved) -> None:
        members = {name: known for customer in before for name, known in self._unit.members(customer)}
        members |= {name: known for name, known in self._fresh.items() if self._root(known.customer) == root}
        strongest = members[self._kinds.strongest(members)].number
        self._final[root] = strongest
        moving = [
            known.number for known in members.values() if known.customer in before and known.customer != strongest
        ]
        if len(before) > 1 or moving:
            resolved.moved |= dict.fromkeys(before, strongest)
        if moving or len(before) > 1:
            self._unit.assign(moving, strongest)
            self._stale |= members.keys()

    def remember(self, resolved: Resolved) -> None:
        """Keeps what was found for the next units; to be called once this one is committed."""
        remembered = self._remembered
        if len(remembered) > REMEMBERED:
            remembered.clear()
        for identifier in self._stale:
            remembered.pop(identifier, None)
        for identifier, known in self._known.items():
            if identifier not in self._stale:
                customer = resolved.appeared.get(identifier, known.customer)
                remembered[identifier] = Known(known.number, customer, known.bucket)
