"""The overlay: own facts shown at once, before the hub has them (semantics VE4).

Owns how pending facts are laid over a visible content. Applied in order at `max(occurred_at, content.at)`; links never
merge locally; what depends on hidden sections stays the hub's.
"""

from __future__ import annotations

from collections.abc import Iterable

from .fact import Fact
from .fold import step
from .plan import Plan
from .projection import Projected


def overlaid(projected: Projected, plan: Plan, pending: Iterable[Fact]) -> Projected:
    """The visible content with pending own facts on top; the original is not touched."""
    content, laid = projected.content.fork(), list(projected.overlay)
    for fact in pending:
        laid.append(fact.id)
        shown = fact
        if not content.sorts_last(fact.order):
            at = max(fact.occurred_at, content.at)
            through = content.through
            seq = fact.seq if through is None or at > through[0] else max(fact.seq, through[1] + 1)
            shown = Fact(
                fact.id, fact.kind, fact.type, at, seq, fact.identifiers, fact.channel, fact.touchpoint,
                fact.interaction, fact.raw,
            )  # fmt: skip
        step(content, plan, shown)
    return Projected(
        content, projected.hidden, projected.audiences, projected.guardrails, projected.dropped, projected.origin,
        tuple(laid),
    )  # fmt: skip


def links_someone_new(projected: Projected, fact: Fact) -> bool:
    """Whether a pending fact names identifiers that the visible identity does not hold together."""
    if len(fact.identifiers) < 2:
        return False
    groups = projected.content.groups
    return len({groups.get(identifier, -1) for identifier in fact.identifiers}) > 1 or any(
        identifier not in groups for identifier in fact.identifiers
    )
