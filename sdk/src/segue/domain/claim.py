"""Claims: "this customer is with me now", for a scope and a time.

Owns the life of a claim: held, offered to another touchpoint, accepted or declined, released or run out. One touchpoint
holds a scope at a time; who comes later learns who that is. A claim is a fact and is folded like one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from .expression.value import NEVER

HELD: Final = "held"
OFFERED: Final = "offered"
ACCEPTED: Final = "accepted"
DECLINED: Final = "declined"
RELEASED: Final = "released"
STATUSES: Final = (HELD, OFFERED, ACCEPTED, DECLINED, RELEASED)
KEPT: Final = 8
"""Scopes kept of one customer."""


@dataclass(frozen=True, slots=True)
class Claim:
    """One scope of a customer. Proto: `segue.v1.Claim`. Instants in microseconds.

    Attributes:
        scope: for example `conversation`.
        holder: the touchpoint she is with.
        since: when it took her.
        until: when the claim runs out unless renewed.
        interaction: the holder's call or chat, where told.
        offered_to: the touchpoint that she is offered to; empty where to none.
        offered_until: how long the offer stands.
        note: what the holder says to the next one.
    """

    scope: str
    holder: str
    since: int
    until: int
    interaction: str = ""
    offered_to: str = ""
    offered_until: int = 0
    note: str = ""

    def stands(self, at: int) -> bool:
        """Whether it holds at a moment."""
        return at < self.until

    def offer_stands(self, at: int, touchpoint: str) -> bool:
        """Whether a touchpoint may accept it at a moment."""
        return self.stands(at) and self.offered_to == touchpoint and at < self.offered_until

    def flips_at(self, at: int) -> int:
        """When its state next changes by mere passing of time."""
        return min((due for due in (self.until, self.offered_until) if due > at), default=NEVER)


def told(
    claim: Claim | None, scope: str, status: str, touchpoint: str, at: int, until: int, *, to: str = "",
    interaction: str = "", note: str = "",
) -> Claim | None:  # fmt: skip
    """The claim on a scope after a touchpoint said something of it; None where nobody holds it any more.

    Who says something that it may not (holds what another holds, accepts what was not offered to it) changes nothing.
    """
    stands = claim is not None and claim.stands(at)
    if claim is None or not stands:
        if status in (HELD, ACCEPTED):
            return Claim(scope, touchpoint, at, until, interaction, note=note)
        return None if claim is None or not stands else claim
    if status == ACCEPTED and claim.offer_stands(at, touchpoint):
        return Claim(scope, touchpoint, at, until, interaction, note=claim.note)
    if status == DECLINED and claim.offered_to == touchpoint:
        return replace(claim, offered_to="", offered_until=0)
    if claim.holder != touchpoint:
        return claim
    if status == HELD:
        return replace(claim, until=max(until, claim.until), interaction=interaction or claim.interaction)
    if status == OFFERED:
        return replace(claim, offered_to=to, offered_until=min(until, claim.until), note=note)
    if status == RELEASED:
        return None
    return claim
