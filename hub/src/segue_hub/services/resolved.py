"""What a unit of resolution leaves behind: what it changed, and what the next ones need not read again.

Owns no rule; see `resolution`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from segue.domain.identifier import Identifier

from ..storage.ports import Known


@dataclass(slots=True)
class Memory:
    """What units tell the next ones: found once, it need not be read again.

    Attributes:
        known: identifiers.
        pairs: by two linked identifiers, time and id of the earliest fact that named them together.
        crowded: identifiers with too many partners.
    """

    known: dict[Identifier, Known] = field(default_factory=dict)
    pairs: dict[tuple[int, int], tuple[int, bytes]] = field(default_factory=dict)
    crowded: set[int] = field(default_factory=set)

    def forget(self) -> None:
        """The rules changed."""
        for table in (self.known, self.pairs, self.crowded):
            table.clear()


@dataclass(slots=True)
class Resolved:
    """What a unit changed in who is who.

    Attributes:
        position: the last of the unit.
        number: the last of an identifier, in it or before it.
        changed: customers who gained or lost identifiers with a past, or came to be, or ceased to be, by that.
        appeared: identifiers that the store did not know, and their customers.
        created: customers that nobody knew before.
    """

    position: int = 0
    number: int = 0
    changed: set[int] = field(default_factory=set)
    appeared: dict[Identifier, int] = field(default_factory=dict)
    created: set[int] = field(default_factory=set)
