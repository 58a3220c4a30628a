"""A telling: one joiner or leaver of an audience, as who watches it by a cursor is told.

Owns its public form.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from .identifier import Identifier


@dataclass(frozen=True, slots=True, kw_only=True)
class Telling:
    """A customer joined or left an audience.

    Attributes:
        id: the same however often it is told: whoever remembers it does nothing twice (proto `AudienceMember.id`).
        audience: its name.
        customer: names the customer and tells nothing of her.
        identifiers: who she is now, where the touchpoint may read that; of one who is no more, what named her.
        left: whether she left.
        at: when it became so, aware.
        reason: `retracted` where a later fact says that it had never been so, `identity` where who is one customer
            changed, `plan` where the audience did; else empty.
    """

    id: str
    audience: str
    customer: str
    identifiers: tuple[Identifier, ...]
    left: bool
    at: datetime
    reason: str = ""

    @property
    def joined(self) -> bool:
        """Whether she joined."""
        return not self.left
