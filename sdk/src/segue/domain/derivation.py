"""The one derivation: whatever changes by mere passing of time is computed, and says when it may next change (law 3).

Owns who is in which audience at a moment, and the outcomes over time of what a touchpoint may not see (VE5).
Nothing here is stored as truth.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from .content import Content
from .expression import NEVER
from .guardrail import Guardrail, Verdict
from .plan import Plan
from .scope import Scope

INTERVALS: Final = 8
"""The most intervals that an outcome is shipped for."""


@dataclass(frozen=True, slots=True)
class Derivation:
    """What holds at a moment.

    Attributes:
        at: the moment, in microseconds, clamped up to the content's last fact.
        audiences: by name, whether the customer is in it.
        flips_at: first instant at which any of this, or any journey's state where asked for, may differ.
    """

    at: int
    audiences: Mapping[str, bool]
    flips_at: int


def derive(
    content: Content, plan: Plan, at: int, audiences: Iterable[str] | None = None, *, journeys: bool = True
) -> Derivation:
    """Derives at a moment.

    Args:
        content: as folded.
        plan: whose audiences and maps are meant.
        at: in microseconds.
        audiences: only these; None for all.
        journeys: whether the flips of journeys count; who asks for members alone is woken for nothing by them.
    """
    at = max(at, content.at)
    scope = Scope(content, at, plan)
    members: dict[str, bool] = {}
    flips_at = NEVER
    for name in plan.audiences if audiences is None else audiences:
        members[name], flip = plan.audiences[name].when.holds_until(scope)
        flips_at = min(flips_at, flip)
    for journey in content.journeys.values() if journeys else ():
        flips_at = min(flips_at, journey.flips_at(plan.maps[journey.map], at))
    return Derivation(at, members, flips_at)


@dataclass(frozen=True, slots=True)
class Interval:
    """An outcome from an instant on, until the next interval begins."""

    since: int
    kind: str
    until: int
    reason: str
    holder: str = ""


def audience_outcome(content: Content, plan: Plan, name: str, at: int) -> list[Interval]:
    """Membership over time, assuming no new facts: what is shipped instead of hidden inputs."""
    when = plan.audiences[name].when

    def ask(moment: int) -> tuple[Interval, int]:
        value, flip = when.holds_until(Scope(content, moment, plan))
        return Interval(moment, "IN" if value else "OUT", NEVER, ""), flip

    return _outcome(ask, max(at, content.at))


def guardrail_outcome(
    content: Content, plan: Plan, guardrail: Guardrail, at: int, action: Mapping[str, Any]
) -> list[Interval]:
    """A guardrail's verdict over time on an action that it applies to, assuming no new facts."""

    def ask(moment: int) -> tuple[Interval, int]:
        verdict = guardrail.verdict(Scope(content, moment, plan, action=action))
        return Interval(moment, verdict.kind, verdict.until, verdict.reason, verdict.holder), verdict.flips_at

    return _outcome(ask, max(at, content.at))


def _outcome(ask: Callable[[int], tuple[Interval, int]], at: int) -> list[Interval]:
    """Asks from flip to flip until nothing flips any more, or enough is known; what is beyond is UNKNOWN."""
    found: list[Interval] = []
    for _ in range(INTERVALS * 8):
        latest, flip = ask(at)
        if not found or (found[-1].kind, found[-1].until) != (latest.kind, latest.until):
            if len(found) == INTERVALS - 1:
                break
            found.append(latest)
        if flip >= NEVER:
            return found
        at = flip
    return [*found, Interval(at, "UNKNOWN", NEVER, "")]


def outcome_at(intervals: list[Interval], at: int) -> Interval | None:
    """The interval that covers a moment; None where it is unknown.

    The first covers what came before it too: a clock that runs behind the hub's asks about a moment just before.
    """
    covering = intervals[0] if intervals else None
    for interval in intervals:
        if interval.since <= at:
            covering = interval
    return None if covering is None or covering.kind == "UNKNOWN" else covering


def shipped_verdict(guardrail: Guardrail, intervals: list[Interval], at: int, action: Mapping[str, Any]) -> Verdict:
    """The verdict of a guardrail whose inputs are hidden here, from what the hub shipped."""
    interval = outcome_at(intervals, at)
    if interval is None:
        return guardrail.without_context(action)
    return Verdict(
        kind=interval.kind, guardrail=guardrail.name, until=interval.until, reason=interval.reason,
        owner=guardrail.owner, mode=guardrail.mode, holder=interval.holder,
    )  # fmt: skip
