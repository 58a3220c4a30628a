"""A reservation: a slot under a strict cap, held until confirmed, released or expired (semantics AC2).

Owns what is kept of one and when it counts. Granted by the hub alone; the fold counts grants and never judges them
again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

GRANTED: Final = "granted"
RELEASED: Final = "released"
KEPT: Final = 64
"""Reservations kept of one customer."""


@dataclass(frozen=True, slots=True)
class Reservation:
    """One slot. Proto: `segue.v1.Reservation`. Instants in microseconds.

    Attributes:
        kind: of the action.
        slots: names of what it takes a place in: a cap, or a cap and the value that it counts by.
        at: when it was granted.
        expires_at: until when it may be confirmed; what becomes of it then is `frees`.
        touchpoint: who holds it.
        frees: whether it counts no more once expired; else it is held to be spent, since nobody knows.
        confirmed: whether the action was completed.
    """

    kind: str
    slots: tuple[str, ...]
    at: int
    expires_at: int
    touchpoint: str
    frees: bool = False
    confirmed: bool = False

    def counts(self, at: int) -> bool:
        """Whether it takes its place at a moment."""
        return self.confirmed or not self.frees or at < self.expires_at
