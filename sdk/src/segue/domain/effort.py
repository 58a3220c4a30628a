"""Effort: how hard it has been for the customer of late, as a windowed sum of whole weights (semantics TI11).

Owns what counts as effort: coming back, switching channels, being transferred, waiting, going in circles, being left to
serve herself and failing. Computed from the interactions that a context keeps, never stored, without decay: the same in
whatever order facts arrived. The weights are the plan's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from .expression.value import NEVER
from .instant import SECOND

if TYPE_CHECKING:
    from .content import Content
    from .interaction import Interaction

DAY: Final = 86_400 * SECOND
PARTS: Final = (
    "interactions", "repeats", "switches", "transfers", "abandoned", "loops", "failed_self_service", "queue_minutes",
)  # fmt: skip
WEIGHTS: Final[Mapping[str, int]] = {
    "interactions": 1, "repeats": 2, "switches": 2, "transfers": 3, "abandoned": 2, "loops": 3,
    "failed_self_service": 3, "queue_minutes": 1,
}  # fmt: skip
"""Where a plan gives none."""


@dataclass(frozen=True, slots=True)
class EffortRule:
    """What the plan says of effort.

    Attributes:
        weights: by part, a whole number.
        window: how far back, microseconds.
        within: how soon after another an interaction is about the same thing, microseconds.
        self_service: channels on which nobody assists.
    """

    weights: Mapping[str, int] = field(default_factory=lambda: dict(WEIGHTS))
    window: int = 7 * DAY
    within: int = DAY
    assisted: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Effort:
    """The effort at a moment.

    Attributes:
        score: the sum of counts times weights.
        parts: by part, how often.
        flips_at: when it next becomes less by mere passing of time.
    """

    score: int
    parts: Mapping[str, int]
    flips_at: int


def effort(content: Content, rule: EffortRule, at: int) -> Effort:
    """The effort at a moment (microseconds). Outbound interactions are ours, not hers."""
    parts = dict.fromkeys(PARTS, 0)
    flips_at = NEVER
    began = at - rule.window
    before: list[Interaction] = []
    inbound = [found for found in content.interactions.values() if found.direction != "outbound"]
    for found in sorted(inbound, key=lambda found: (found.started_at, found.id)):
        if found.started_at > began:
            flips_at = min(flips_at, found.started_at + rule.window)
            for part, count in _counts(found, before, rule):
                parts[part] += count
        before.append(found)
    return Effort(sum(count * rule.weights.get(part, 0) for part, count in parts.items()), parts, flips_at)


def _counts(found: Interaction, before: list[Interaction], rule: EffortRule) -> list[tuple[str, int]]:
    """What one interaction adds; all of it leaves the window together, with its start."""
    counts = [("interactions", 1)]
    if found.outcome == "transferred":
        counts.append(("transfers", 1))
    elif found.outcome == "abandoned":
        counts.append(("abandoned", 1))
    if found.queued:
        counts.append(("queue_minutes", (found.queued + 59) // 60))
    last = before[-1] if before else None
    if last is None or found.started_at - last.started_at > rule.within:
        return counts
    if last.channel == found.channel:
        counts.append(("repeats", 1))
        return counts
    counts.append(("switches", 1))
    if any(other.channel == found.channel and found.started_at - other.started_at <= rule.within for other in before):
        counts.append(("loops", 1))
    if found.channel in rule.assisted and last.channel not in rule.assisted and last.outcome != "resolved":
        counts.append(("failed_self_service", 1))
    return counts
