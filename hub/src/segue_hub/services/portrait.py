"""A portrait: the whole of one customer as plain data, at a moment.

Owns the form that people, programs and comparisons read a context in. It reads a content; where that came from (now, or
as of an instant) is told to it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from segue.domain.brief import brief
from segue.domain.claim import Claim
from segue.domain.consent import in_force
from segue.domain.content import Content
from segue.domain.derivation import derive
from segue.domain.fact import Fact
from segue.domain.instant import NEVER, instant_text
from segue.domain.journey import Journey
from segue.domain.plan import Plan

Plain = dict[str, Any]


def portrait(content: Content, plan: Plan, at: int, names: Sequence[str], version: int) -> Plain:
    """A customer at a moment.

    Args:
        content: as folded, and advanced to the moment.
        plan: that it was folded by.
        at: the moment, in microseconds.
        names: the customer's identifiers, strongest first.
        version: of the context.
    """
    derived = derive(content, plan, at)
    told = brief(content, plan, at)
    return {
        "customer": names[0],
        "version": version,
        "plan": plan.digest,
        "at": instant_text(at),
        "facts": content.facts,
        "identifiers": list(names),
        "traits": {
            name: {"value": trait.value, "source": trait.source, "at": instant_text(trait.at)}
            for name, trait in sorted(content.traits.items())
        },
        "consents": {purpose: in_force(bound) for purpose, bound in sorted(content.consents.items())},
        "subscriptions": {topic: in_force(bound) for topic, bound in sorted(content.subscriptions.items())},
        "choices": {about: choice for about, (choice, _, _) in sorted(content.choices.items())},
        "claims": {scope: _claim(claim) for scope, claim in sorted(content.claims.items()) if claim.stands(at)},
        "arms": {name: arm for name, (arm, _) in sorted(content.exposures.items())},
        "journeys": [_journey(journey, plan, at) for _, journey in sorted(content.journeys.items())],
        "ended": [_journey(journey, plan, at) for journey in content.ended],
        "audiences": sorted(name for name, inside in derived.audiences.items() if inside),
        "activity": {
            name: {"total": activity.total, "last": instant_text(activity.last)}
            for name, activity in sorted(content.activity.items())
        },
        "interactions": len(content.interactions),
        "decisions": [fact_plain(fact) for fact in content.decisions],
        "actions": [fact_plain(fact) for fact in content.actions],
        "timeline": [fact_plain(fact) for fact in content.timeline],
        "flips_at": instant_text(derived.flips_at) if derived.flips_at < NEVER else None,
        "brief": str(told),
        "handover": told.plain(),
        "handover_zh": told.sentences("zh"),
    }


def fact_plain(fact: Fact) -> Plain:
    """A fact for people and JSON."""
    plain: Plain = {
        "id": fact.id.hex(),
        "kind": fact.kind,
        "type": fact.type,
        "occurred_at": instant_text(fact.occurred_at),
        "channel": fact.channel,
        "touchpoint": fact.touchpoint,
        "properties": fact.properties,
    }
    if fact.identifiers:
        plain["identifiers"] = [str(identifier) for identifier in fact.identifiers]
    if fact.interaction is not None:
        plain["interaction"] = fact.interaction.id
    return plain


def _claim(claim: Claim) -> Plain:
    return {
        "holder": claim.holder, "since": instant_text(claim.since), "until": instant_text(claim.until),
        "offered_to": claim.offered_to, "note": claim.note,
    }  # fmt: skip


def _journey(journey: Journey, plan: Plan, at: int) -> Plain:
    journey_map = plan.maps[journey.map]
    state = journey.outcome or ("stalled" if journey.stalled(journey_map, at) else "running")
    return {
        "map": journey.map,
        "key": journey.key,
        "state": state,
        "stage": journey.stage,
        "started_at": instant_text(journey.started_at),
        "progress_at": instant_text(journey.progress_at),
        "ended_at": instant_text(journey.ended_at) if journey.ended_at else None,
        "stages": {stage: instant_text(reached) for stage, reached in journey.stages.items()},
        "interactions": dict(journey.interactions),
        "stalls": journey.stalls,
    }
