"""The laws for what coordinates: caps by value, reservations, claims, holdouts, effort, yielding, choices.

Random customers as in tests/unit/test_laws.py, under a plan whose guardrails have every limit there is. What may not be
seen binds as if it were seen (VE5), and nothing that a guardrail says changes before it said so.
"""

from __future__ import annotations

import json

import pytest
from hypothesis import event, given
from hypothesis import strategies as st
from segue.domain.context import Context
from segue.domain.decision import judge
from segue.domain.derivation import guardrail_outcome, outcome_at
from segue.domain.effort import EffortRule, effort
from segue.domain.fact import EVENT, Fact
from segue.domain.fold import fold
from segue.domain.plan import Plan
from segue.domain.projection import Projected, project, receive
from segue.domain.scope import Scope
from segue.domain.section import decode, encode

from tests.building import BEGIN, DAY, HOUR, SKETCH, document
from tests.unit.logs import TOUCHPOINTS, delays, law, logs

WEIGHED = {"weights": {"repeats": 5, "loops": 7}, "within": "1d", "window": "3d"}
GUARDRAILS = {
    "contact_pressure": {"cap": {"limit": 2, "window": "7d", "exactness": "strict"}, "reason": "r"},
    "daily": {"cap": {"limit": 1, "window": "day"}, "reason": "r"},
    "monthly": {"cap": {"limit": 2, "window": "month", "per": "channel"}, "reason": "r"},
    "by_topic": {"cap": {"limit": 1, "window": "1d", "per": "topic", "on_expiry": "free"}, "reason": "r"},
    "by_kind": {"cap": {"limit": 1, "window": "week", "per": "kind"}, "reason": "r", "exempt": ["service"]},
    "with_somebody": {"claim": "conversation", "reason": "r"},
    "control_group": {"holdout": {"share": 0.5}, "reason": "r"},
    "burdened": {"effort_budget": {"most": 4, "deescalating": ["call.*"]}, "reason": "r"},
    "help_first": {"yields": {"to": ["mail.*"], "within": "4h"}, "reason": "r"},
    "for_a_while": {
        "suppress_when": 'seen("transfer.failed", "2h")', "reason": "r",
        "valid": {"from": "2026-03-02T12:00:00Z", "until": "2026-03-05T12:00:00Z"},
    },
}  # fmt: skip
PLAN = Plan(document({**SKETCH, "guardrails": GUARDRAILS, "effort": WEIGHED}))
KINDS = st.sampled_from(["offer.upsell", "mail.news", "call.back"])
ASKED = st.fixed_dictionaries(
    {
        "kind": KINDS, "purpose": st.sampled_from(["marketing", "service"]),
        "channel": st.sampled_from(["sms", "email", "web"]), "topic": st.sampled_from(["offers", "news", "", "other"]),
        "touchpoint": st.sampled_from(TOUCHPOINTS), "advances": st.sampled_from(["", "money_transfer"]),
    }
)  # fmt: skip


@law(100)
@given(logs(most=16), delays, delays, ASKED, st.sampled_from([("mailer", "marketing"), ("kiosk", "service")]))
def test_what_may_not_be_seen_still_binds(
    facts: list[Fact], delay: int, wait: int, asked: dict[str, str], asks: tuple[str, str]
) -> None:
    """VE5. Counterexample: with `per: topic`, an action without a topic held back those on topics never counted."""
    content = fold(PLAN, facts)
    at = content.at + delay
    touchpoint, purpose = asks
    asked = asked | {"touchpoint": touchpoint}
    sections, renew_at = project(content, PLAN, PLAN.grant(touchpoint), purpose, at)
    held = receive(sections)
    assert {"actions", "claims", "interactions"} <= held.hidden
    moment = at + wait
    there = {v.guardrail: v for v in judge(asked, Context(held, PLAN, moment))}
    here = {v.guardrail: v for v in judge(asked, Context(Projected(content), PLAN, moment))}
    assert there.keys() == here.keys()
    for name, verdict in there.items():
        if (moment >= renew_at and "missing" in verdict.reason) or _beyond(held, name, asked, moment):
            event("beyond what was shipped")
            continue
        direct = here[name]
        event(f"{name} {direct.kind}")
        assert (verdict.kind, verdict.until, verdict.reason, verdict.mode, verdict.holder) == (
            direct.kind, direct.until, direct.reason, direct.mode, direct.holder
        )  # fmt: skip


def _beyond(held: Projected, name: str, asked: dict[str, str], moment: int) -> bool:
    guardrail = PLAN.guardrails.get(name)
    if guardrail is None:
        return False
    shipped = held.guardrails.get(guardrail.outcome_name(asked)) or held.guardrails.get(name)
    return shipped is not None and outcome_at(shipped, moment) is None


@law(120)
@given(logs(least=1, most=16), delays, ASKED, st.sampled_from(sorted(GUARDRAILS)), st.floats(0, 1))
def test_nothing_that_a_guardrail_says_changes_before_it_said_so(
    facts: list[Fact], delay: int, asked: dict[str, str], name: str, part: float
) -> None:
    content, guardrail = fold(PLAN, facts), PLAN.guardrails[name]
    at = content.at + delay

    def say(moment: int) -> tuple[str, int, str]:
        found = guardrail.verdict(Scope(content, moment, PLAN, action=asked))
        return found.kind, found.until, found.holder

    flips_at = guardrail.verdict(Scope(content, at, PLAN, action=asked)).flips_at
    assert flips_at > at
    end = min(flips_at, at + 60 * DAY)
    for moment in (at + int((end - 1 - at) * part), end - 1):
        assert say(moment) == say(at)


@law(80)
@given(
    logs(least=1, most=16), delays, ASKED, st.sampled_from(sorted(GUARDRAILS)), st.lists(delays, min_size=1, max_size=6)
)
def test_outcomes_over_time_are_the_verdicts(
    facts: list[Fact], delay: int, asked: dict[str, str], name: str, later: list[int]
) -> None:
    content, guardrail = fold(PLAN, facts), PLAN.guardrails[name]
    at = content.at + delay
    intervals = guardrail_outcome(content, PLAN, guardrail, at, asked)
    for moment in [*(at + wait for wait in later), *(i.since for i in intervals)]:
        shipped = outcome_at(intervals, moment)
        if shipped is not None:
            direct = guardrail.verdict(Scope(content, moment, PLAN, action=asked))
            assert (shipped.kind, shipped.until, shipped.holder) == (direct.kind, direct.until, direct.holder)


@law(80)
@given(logs(least=2, most=16), st.randoms(use_true_random=False))
def test_any_order_and_every_checkpoint_give_the_same_bytes(facts: list[Fact], chance) -> None:
    whole = encode(fold(PLAN, facts), PLAN)
    arrived = facts + chance.sample(facts, len(facts) // 2)
    chance.shuffle(arrived)
    assert encode(fold(PLAN, arrived), PLAN) == whole
    assert encode(decode(whole), PLAN) == whole


RULE = EffortRule(window=3 * DAY, assisted=frozenset({"voice", "chat"}))


@law(80)
@given(logs(least=1, most=16), delays, st.floats(0, 1))
def test_effort_is_constant_until_it_flips_and_is_the_sum_of_its_parts(
    facts: list[Fact], delay: int, part: float
) -> None:
    content = fold(PLAN, facts)
    at = content.at + delay
    now = effort(content, RULE, at)
    assert now.flips_at > at
    assert now.score == sum(count * RULE.weights[name] for name, count in now.parts.items())
    end = min(now.flips_at, at + 30 * DAY)
    for moment in (at + int((end - 1 - at) * part), end - 1):
        assert effort(content, RULE, moment).parts == now.parts
    if now.flips_at < at + 30 * DAY:
        assert effort(content, RULE, now.flips_at).score < now.score, "time alone only ever lessens it"


@law(100)
@given(logs(least=1, most=16), st.randoms(use_true_random=False))
def test_effort_does_not_depend_on_how_its_interactions_arrived(facts: list[Fact], chance) -> None:
    told = [f for f in facts if f.kind == EVENT]
    arrived = chance.sample(told, len(told))
    at = max((f.occurred_at for f in told), default=BEGIN) + HOUR
    assert effort(fold(PLAN, arrived), RULE, at) == effort(fold(PLAN, told), RULE, at)


@pytest.mark.parametrize("name", sorted(GUARDRAILS))
def test_every_limit_is_told_to_who_may_not_see_what_it_reads(name: str) -> None:
    sections, _ = project(fold(PLAN, []), PLAN, PLAN.grant("nobody"), "service", BEGIN)
    outcomes = json.loads(next(s.data for s in sections if s.name == "outcomes"))[1]
    assert name in outcomes
