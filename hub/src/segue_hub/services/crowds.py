"""Crowds: identifiers with too many partners, such as the cookie of a kiosk or the phone of a switchboard.

Owns the count of partners while links arrive, so that the first one too many is noticed and the many after it cost
little. Which links hold is decided by `segue.domain.identity`.
"""

from __future__ import annotations

from segue.domain.identifier import Identifier, IdentifierKinds

from ..storage.ports import Known
from .linkage import Linkage

Named = tuple[Identifier, Known]


class Crowds:
    """Of one unit of writing.

    Args:
        linkage: links of store and unit.
        kinds: how many partners each may have.
        remembered: numbers of identifiers that earlier units found crowded.
    """

    def __init__(self, linkage: Linkage, kinds: IdentifierKinds, remembered: set[int]) -> None:
        self._linkage = linkage
        self._kinds = kinds
        self._remembered = remembered
        self._partners: dict[int, set[int]] = {}
        self.found: set[int] = set()

    def join(self, one: Named, other: Named, *, new: bool) -> tuple[bool, list[int]]:
        """Counts a link, before it is pending.

        Args:
            one: its one end.
            other: the other.
            new: whether they were no partners yet.

        Returns:
            Whether an end has too many partners, and the numbers of those for whom this one was the first too many:
            what they held together comes apart.
        """
        crowded, tipped = False, []
        for (name, own), (other_name, partner) in ((one, other), (other, one)):
            if own.number in self.found or own.number in self._remembered:
                crowded = True
                continue
            partners, most = self._of(name, own), self._kinds.partners(name.kind)
            before = len(partners)
            if new and self._kinds.priority(other_name.kind) <= self._kinds.priority(name.kind):
                partners.add(partner.number)
            if len(partners) > most:
                crowded = True
                self.found.add(own.number)
                if before <= most:
                    tipped.append(own.number)
        return crowded, tipped

    def forget(self, *numbers: int) -> None:
        """Something was said about these: they are counted anew."""
        for number in numbers:
            self.found.discard(number)
            self._remembered.discard(number)
            self._partners.pop(number, None)

    def _of(self, name: Identifier, own: Known) -> set[int]:
        """The partners of an identifier's own strength or a stronger one, as many as matter."""
        found = self._partners.get(own.number)
        if found is None:
            kinds, most = self._kinds, self._kinds.partners(name.kind)
            found = set()
            for limit in (4 * most + 64, 0):
                rows = self._linkage.rows(own.number, limit)
                others = {number for row in rows for number in row[:2] if number != own.number}
                names = self._linkage.named(others)
                found = {n for n, other in names.items() if kinds.priority(other.kind) <= kinds.priority(name.kind)}
                if len(found) > most or len(rows) < limit:
                    break
            self._partners[own.number] = found
        return found
