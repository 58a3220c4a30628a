"""Ranking: which of several candidate actions comes first.

Owns the order: what advances a journey whose owner lets the customer's goal outrank the seller's, then the plan's
priorities, then a scorer's scores, then the order in which the function named them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from .verdict import Verdict

if TYPE_CHECKING:
    from .action import Action
    from .context import Context

Scorer = Callable[[Any, Any], float]
"""`scorer(action, context)`: the larger, the better."""


@dataclass(slots=True)
class Candidate:
    """One action among several.

    Attributes:
        score: by the scorer; 0 where there is none, or where it failed.
        outranks: whether it advances a journey that outranks others.
        priority: by the plan.
        verdicts: of the guardrails that spoke; empty where a better candidate was taken before.
        error: why it has no score.
    """

    action: Action
    score: float = 0.0
    outranks: bool = False
    priority: int = 0
    verdicts: Sequence[Verdict] = field(default_factory=tuple)
    error: str = ""


def ranked(actions: Sequence[Action], context: Context, scorer: Scorer | None) -> list[Candidate]:
    """The candidates, best first."""
    candidates = [_candidate(action, context, scorer) for action in actions]
    # Sorting is stable: among equals, the function's own order holds.
    return sorted(candidates, key=lambda found: (not found.outranks, -found.priority, -found.score))


def _candidate(action: Action, context: Context, scorer: Scorer | None) -> Candidate:
    plan, content = context.plan, context.content
    found = Candidate(action, priority=priority_of(action.kind, plan.priorities))
    if action.advances:
        advanced = plan.maps.get(action.advances)
        found.outranks = advanced is not None and advanced.outranks and any(
            name == action.advances and journey.active(advanced, context.at)
            for (name, _), journey in content.journeys.items()
        )  # fmt: skip
    if scorer is not None:
        try:
            score = float(scorer(action, context))
            found.score = score if score == score else 0.0
        except Exception as error:  # noqa: BLE001  # the host's own code: whatever it raises, the action has no score
            found.error = f"{type(error).__name__} in the scorer"
    return found


def priority_of(kind: str, priorities: Sequence[tuple[str, int]]) -> int:
    """The priority of a kind of action: that of the first pattern that fits."""
    return next((priority for pattern, priority in priorities if fnmatchcase(kind, pattern)), 0)
