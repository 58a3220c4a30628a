"""Consents by purpose and subscriptions by channel and topic: never mixed (semantics ID4).

Owns which identifiers a consent binds and what holds for the customer: the most restrictive of the latest of each.
A merge never widens it.
"""

from __future__ import annotations

from collections.abc import Mapping

from .identifier import Identifier

Bound = Mapping[Identifier, tuple[str, int]]
"""By identifier: the state last said for it, and when (microseconds)."""

_RESTRICTION = {"granted": 0, "opted_in": 0, "denied": 1, "opted_out": 1, "withdrawn": 2}


def in_force(bound: Bound | None) -> str:
    """The state that holds for the customer: the most restrictive; empty where nothing was ever said."""
    if not bound:
        return ""
    return max((state for state, _ in bound.values()), key=lambda state: _RESTRICTION.get(state, 3))


def allows(bound: Bound | None) -> bool:
    """Whether what was said lets us: granted or opted in for every identifier that it binds."""
    return in_force(bound) in ("granted", "opted_in")
