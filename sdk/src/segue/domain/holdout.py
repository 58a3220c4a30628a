"""Holdouts: a share of the customers from whom a kind of action is kept, so that its effect can be measured (AC4).

Owns the choice. It is made by the customer's strongest identifier, and holds from the first exposure on: that is a
fact, and after a merge the earliest wins.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from .identifier import Identifier, IdentifierKinds

HELD_OUT: Final = "held_out"
TREATED: Final = "treated"
ARMS: Final = (HELD_OUT, TREATED)
_PARTS: Final = 1 << 32


@dataclass(frozen=True, slots=True)
class Holdout:
    """A limit of a guardrail.

    Attributes:
        share: of the customers, 0 to 1.
        salt: makes its choice independent of other holdouts'; its name where the plan gives none.
    """

    share: float
    salt: str

    def arm(self, groups: Mapping[Identifier, int], kinds: IdentifierKinds) -> str:
        """The arm of a customer who was not exposed yet; empty where nobody says who it is."""
        if not groups:
            return ""
        kind, value = kinds.strongest(groups)
        digest = hashlib.sha256(f"{self.salt}\0{kind}\0{value}".encode()).digest()
        return HELD_OUT if int.from_bytes(digest[:4], "big") < self.share * _PARTS else TREATED
