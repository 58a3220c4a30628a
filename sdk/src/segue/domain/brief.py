"""The brief: a hand-over summary for the next touchpoint or a person, at most five sentences.

Owns what is said of a context and in which words. States only what is in the visible content; what is hidden or
unknown is said to be.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .fact import ACTION, DECISION, EVENT, Fact
from .instant import ago

if TYPE_CHECKING:
    from .content import Content
    from .plan import Plan

_NOISE = ("interaction.",)


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that happened: where, what, how long ago (microseconds)."""

    channel: str
    what: str
    age: int


@dataclass(frozen=True, slots=True)
class Brief:
    """What the next one needs to know.

    Attributes:
        wants: titles of the running journeys, the latest progressed first.
        standing: how the first of them stands, in words.
        tried: the newest events, oldest first.
        failed: those of them that are failures.
        decided: newest decision of each other touchpoint.
        offered: newest actions.
        interactions: how many interactions this took so far.
        hidden: sections that could not be seen.
    """

    wants: tuple[str, ...] = ()
    standing: str = ""
    tried: tuple[Step, ...] = ()
    failed: tuple[Step, ...] = ()
    decided: tuple[str, ...] = ()
    offered: tuple[str, ...] = ()
    interactions: int = 0
    hidden: tuple[str, ...] = ()

    def sentences(self) -> list[str]:
        """At most five."""
        said = []
        if self.wants:
            said.append(f"The customer wants to: {self.wants[0].lower()} ({self.standing}).")
        if self.failed:
            newest = self.failed[-1]
            said.append(f"It failed: {newest.what} in {newest.channel}, {ago(newest.age)} ago.")
        if self.tried:
            steps = "; ".join(f"{step.what} in {step.channel} {ago(step.age)} ago" for step in self.tried[-5:])
            said.append(f"So far: {steps}.")
        if self.offered or self.decided:
            said.append("Done or decided: " + "; ".join([*self.decided[-3:], *self.offered[-3:]]) + ".")
        if self.hidden and not self.tried:
            said.append("Not visible here: " + ", ".join(self.hidden) + ".")
        return said or ["Nothing is known of this customer yet."]

    def __str__(self) -> str:
        return " ".join(self.sentences())


def brief(content: Content, plan: Plan, at: int) -> Brief:
    """The brief of a visible content at a moment (microseconds)."""
    running = sorted(
        (j for j in content.journeys.values() if j.active(plan.maps[j.map], at)),
        key=lambda journey: (-journey.progress_at, journey.map, journey.key),
    )
    wants, standing = [], ""
    for journey in running:
        journey_map = plan.maps[journey.map]
        wants.append(journey_map.title or journey.map.replace("_", " "))
        if not standing:
            state = "stalled" if journey.stalled(journey_map, at) else "under way"
            place = f" at {journey.stage}" if journey.stage else ""
            standing = f"{state}{place}, begun {ago(at - journey.started_at)} ago"
    events = [fact for fact in content.timeline if fact.kind == EVENT and not fact.type.startswith(_NOISE)]
    return Brief(
        wants=tuple(wants),
        standing=standing,
        tried=tuple(_step(fact, at) for fact in events[-8:]),
        failed=tuple(_step(fact, at) for fact in events if _is_failure(fact)),
        decided=tuple(_said(fact) for fact in _newest_by_touchpoint(content.decisions)),
        offered=tuple(
            f"{fact.type} by {fact.touchpoint} ({fact.properties.get('status')})" for fact in content.actions
        ),
        interactions=len(content.interactions),
        hidden=tuple(sorted(content.hidden)),
    )


def _step(fact: Fact, at: int) -> Step:
    what = fact.type.replace(".", " ").replace("_", " ")
    detail = _detail(fact.properties)
    return Step(fact.channel or fact.touchpoint, f"{what} ({detail})" if detail else what, at - fact.occurred_at)


def _detail(properties: dict[str, Any]) -> str:
    for name in ("error", "query", "reason", "choice"):
        if isinstance(properties.get(name), str):
            return str(properties[name])[:80]
    return ""


def _is_failure(fact: Fact) -> bool:
    return fact.type.endswith((".failed", ".rejected", "_failed")) or "error" in fact.properties


def _newest_by_touchpoint(facts: Sequence[Fact]) -> list[Fact]:
    newest: dict[tuple[str, str], Fact] = {}
    for fact in facts:
        if fact.kind in (DECISION, ACTION):
            newest[fact.touchpoint, fact.type] = fact
    return list(newest.values())


def _said(fact: Fact) -> str:
    value = fact.properties.get("value")
    if fact.properties.get("reason") == "HELD_BACK":
        return f"{fact.touchpoint} wanted {value}, held back by a guardrail"
    return f"{fact.touchpoint} answered {value!r} to {fact.type}"
