"""The laws of Segue, held by random customers (architecture, section 1).

One fold of a set of facts; one derivation that says when it may change; one projection that hides what is not granted;
one decision, equal in hub and SDK. Examples are derandomised; a failure prints the blob that reproduces it.
"""

from __future__ import annotations

import random

from hypothesis import assume, event, given
from hypothesis import strategies as st
from segue.domain.content import Content
from segue.domain.context import Context
from segue.domain.decision import Question, decide, judge
from segue.domain.derivation import Interval, audience_outcome, derive, guardrail_outcome, outcome_at
from segue.domain.fact import LINK, Fact
from segue.domain.fold import advance, fold, step
from segue.domain.grant import SECTIONS, Grant
from segue.domain.projection import Projected, hidden_sections, project, receive
from segue.domain.scope import Scope
from segue.domain.section import decode, encode

from tests.building import BEGIN, DAY, action, fact, plan, trait
from tests.unit.logs import delays, functions, law, logs

PLAN = plan()
ALL = PLAN.grant("desk")


def folded(facts: list[Fact]) -> bytes:
    return encode(fold(PLAN, facts), PLAN)


def stepped(content: Content, facts: list[Fact]) -> Content:
    for each in facts:
        step(content, PLAN, each)
    return content


# One fold.


@law()
@given(logs(least=2), st.randoms(use_true_random=False))
def test_any_order_with_duplicates_gives_the_same_bytes(facts: list[Fact], chance: random.Random) -> None:
    arrived = facts + chance.sample(facts, len(facts) // 2)
    chance.shuffle(arrived)
    assert folded(arrived) == folded(facts)


@law()
@given(logs())
def test_stepping_in_order_is_folding(facts: list[Fact]) -> None:
    assert encode(stepped(Content(), facts), PLAN) == folded(facts)


@law(100)
@given(logs(least=1), st.lists(st.integers(0, 30), max_size=4), st.randoms(use_true_random=False))
def test_batches_give_the_same_bytes_whether_they_step_or_fold_again(
    facts: list[Fact], cuts: list[int], chance: random.Random
) -> None:
    """What a hub does: what sorts last is a step, anything else is a fold from the first fact."""
    arrived = list(facts)
    chance.shuffle(arrived)
    content, known = Content(), []
    for start, stop in zip([0, *sorted(cuts)], [*sorted(cuts), len(arrived)], strict=True):
        for each in arrived[start:stop]:
            known.append(each)
            if content.sorts_last(each.order):
                step(content, PLAN, each)
            else:
                content = fold(PLAN, known)
    assert encode(content, PLAN) == folded(facts)


@law(60)
@given(logs(least=1, most=20))
def test_a_checkpoint_and_the_tail_are_the_whole_log_at_every_cut(facts: list[Fact]) -> None:
    whole = folded(facts)
    for cut in range(len(facts) + 1):
        checkpoint = folded(facts[:cut])
        assert encode(decode(checkpoint), PLAN) == checkpoint
        assert encode(stepped(decode(checkpoint), facts[cut:]), PLAN) == whole


@law(80)
@given(logs(least=2))
def test_a_fork_never_changes_what_it_was_taken_from(facts: list[Fact]) -> None:
    for cut in range(len(facts)):
        original = fold(PLAN, facts[:cut])
        before = encode(original, PLAN)
        fork = stepped(original.fork(), facts[cut:])
        advance(fork, PLAN, fork.at + 9 * DAY)
        assert encode(original, PLAN) == before
        assert encode(stepped(original, facts[cut:]), PLAN) == folded(facts)


@law(60)
@given(logs(least=1, most=30), st.randoms(use_true_random=False))
def test_forks_of_forks_share_and_never_change_one_another(facts: list[Fact], chance: random.Random) -> None:
    """Each holds some first facts; the one that goes on is any of them, also one that others were forked from."""
    held = [(Content(), 0)]
    for _ in range(2 * len(facts)):
        place = chance.randrange(len(held))
        content, count = held[place]
        if chance.random() < 0.4:
            held.append((content.fork(), count))
        elif count < len(facts):
            step(content, PLAN, facts[count])
            held[place] = content, count + 1
    for content, count in held:
        assert encode(content, PLAN) == folded(facts[:count])


# Time.


@law()
@given(logs(), delays, delays)
def test_advancing_twice_is_advancing_once(facts: list[Fact], first: int, second: int) -> None:
    once, twice = fold(PLAN, facts), fold(PLAN, facts)
    start = max(once.at, BEGIN)
    advance(twice, PLAN, start + first)
    advance(twice, PLAN, start + first + second)
    advance(once, PLAN, start + first + second)
    assert encode(once, PLAN) == encode(twice, PLAN)
    advance(once, PLAN, start)
    assert encode(once, PLAN) == encode(twice, PLAN), "going back does nothing"


@law()
@given(logs(least=1), st.floats(0, 1))
def test_advancing_before_a_fact_is_the_fact_alone(facts: list[Fact], part: float) -> None:
    content = Content()
    for each in facts:
        if content.through is not None and each.kind != LINK:  # a link selects, time does not pass by it (ID2)
            advance(content, PLAN, content.at + int((each.occurred_at - content.at) * part))
        step(content, PLAN, each)
    assert encode(content, PLAN) == folded(facts)


@law()
@given(logs(least=1), delays)
def test_deriving_is_advancing_without_a_fact(facts: list[Fact], delay: int) -> None:
    content = fold(PLAN, facts)
    advanced = content.fork()
    advance(advanced, PLAN, content.at + delay)
    assert derive(content, PLAN, content.at + delay) == derive(advanced, PLAN, content.at + delay)


def journey_states(content: Content, at: int) -> list[tuple[str, str, bool, bool]]:
    return [
        (j.map, j.key, j.active(PLAN.maps[j.map], at), j.stalled(PLAN.maps[j.map], at))
        for j in content.journeys.values()
    ]


@law(300)
@given(logs(least=1), delays, st.lists(st.floats(0, 1), max_size=6))
def test_nothing_derived_changes_before_its_flip(facts: list[Fact], delay: int, parts: list[float]) -> None:
    content = fold(PLAN, facts)
    now = derive(content, PLAN, content.at + delay)
    assert now.flips_at > now.at
    end = min(now.flips_at, now.at + 30 * DAY)
    for moment in {now.at, end - 1, *(now.at + int((end - 1 - now.at) * part) for part in parts)}:
        later = derive(content, PLAN, moment)
        assert later.audiences == now.audiences
        assert journey_states(content, moment) == journey_states(content, now.at)


@law(100)
@given(logs(least=1), st.sampled_from(sorted(PLAN.audiences)))
def test_an_audience_waking_only_at_its_flips_misses_nothing(facts: list[Fact], name: str) -> None:
    """Incremental audience == full scan: between two wake-ups no instant differs from the first."""
    content = fold(PLAN, facts)
    at, end = content.at, content.at + 4 * DAY
    for _ in range(30):
        woken = derive(content, PLAN, at, [name])
        until = min(woken.flips_at, end)
        for moment in (at, at + 1, (at + until) // 2, until - 1):
            if at <= moment < until:
                assert derive(content, PLAN, moment, [name]).audiences == woken.audiences
        if woken.flips_at >= end:
            return
        at = woken.flips_at


# Outcomes over time.


def instants(at: int, later: list[int], intervals: list[Interval]) -> list[int]:
    """Some after `at`, and both sides of where each interval begins."""
    return [*(at + wait for wait in later), *(i.since for i in intervals), *(i.since - 1 for i in intervals[1:])]


@law()
@given(logs(least=1), delays, st.sampled_from(sorted(PLAN.audiences)), st.lists(delays, min_size=1, max_size=8))
def test_a_shipped_membership_is_the_membership_at_any_instant_in_it(
    facts: list[Fact], delay: int, name: str, later: list[int]
) -> None:
    content = fold(PLAN, facts)
    at = content.at + delay
    intervals = audience_outcome(content, PLAN, name, at)
    assert len(intervals) <= 8
    assert intervals[0].since == at
    for moment in instants(at, later, intervals):
        shipped = outcome_at(intervals, moment)
        if shipped is not None:
            holds = PLAN.audiences[name].when.holds(Scope(content, moment, PLAN))
            assert (shipped.kind == "IN") is holds


BLIND = [guardrail for guardrail in PLAN.guardrails.values() if not guardrail.requires_subscription]
"""Guardrails whose verdict needs nothing of the action, so that it can be told beforehand."""


@law()
@given(logs(least=1), delays, st.sampled_from(BLIND), st.lists(delays, min_size=1, max_size=8))
def test_a_shipped_verdict_is_the_verdict_at_any_instant_in_it(
    facts: list[Fact], delay: int, guardrail, later: list[int]
) -> None:
    content = fold(PLAN, facts)
    at = content.at + delay
    intervals = guardrail_outcome(content, PLAN, guardrail, at, {})
    assert len(intervals) <= 8
    for moment in instants(at, later, intervals):
        shipped = outcome_at(intervals, moment)
        if shipped is None:
            assert intervals[-1].kind == "UNKNOWN"
            continue
        direct = guardrail.verdict(Scope(content, moment, PLAN, action={}))
        assert (shipped.kind, shipped.reason) == (direct.kind, direct.reason)
        assert shipped.until > moment
        if guardrail.suppress_when is None:
            assert shipped.until == direct.until


# The projection.


CANARY = "canary-7f3a"


def with_canaries(at: int) -> list[Fact]:
    """Facts that leave a mark in every section that marks can be left in."""
    return [
        trait("value_tier", f"{CANARY}-business", at),
        trait("in_arrears", f"{CANARY}-financial", at),
        trait("time_zone", f"{CANARY}-general", at),
        fact("help.searched", at, f"email={CANARY}-identity"),
        fact("help.searched", at, query=f"{CANARY}-timeline", visit=f"{CANARY}-interactions"),
        fact("transfer.started", at, transfer_id=f"{CANARY}-journeys"),
        fact(f"{CANARY}-activity", at, kind="event"),
        fact("marketing", at, kind="consent", state="granted"),
        fact(f"{CANARY}-consents", at, kind="consent", state="granted"),
        fact(f"{CANARY}-subscriptions", at, kind="subscription", state="opted_in"),
        fact("chat.route", at, kind="decision", value=f"{CANARY}-decisions"),
        action("offer.upsell", at, note=f"{CANARY}-actions"),
    ]


def sections_of(label: str) -> tuple[str, ...]:
    """Where a canary may rightly be seen: the timeline shows facts of all kinds but traits and decisions."""
    if label in ("business", "financial", "general"):
        return (f"traits.{label}",)
    told = {
        "timeline": ("timeline",), "identity": ("identity",), "decisions": ("decisions",),
        "journeys": ("journeys", "timeline"), "interactions": ("interactions", "timeline", "journeys"),
        "activity": ("activity", "timeline"), "consents": ("consents", "timeline"),
        "subscriptions": ("subscriptions", "timeline"), "actions": ("actions", "timeline"),
    }  # fmt: skip
    return told[label]


VISIBLE = ("traits.business", "traits.financial", "traits.general", *(name for name in SECTIONS if name != "traits"))
LABELS = (
    "business", "financial", "general", "timeline", "identity", "decisions", "journeys", "interactions", "activity",
    "consents", "subscriptions", "actions",
)  # fmt: skip


@law()
@given(logs(most=10), st.lists(st.sampled_from(VISIBLE), unique=True), delays)
def test_no_byte_of_a_hidden_section_leaves(facts: list[Fact], granted: list[str], delay: int) -> None:
    content = fold(PLAN, [*facts, *with_canaries(facts[-1].occurred_at if facts else BEGIN)])
    grant = Grant(touchpoint="some", reads={"service": tuple(granted)})
    sections, _ = project(content, PLAN, grant, "service", content.at + delay)
    sent = b"\n".join(section.data for section in sections).decode()
    for label in LABELS:
        if not set(sections_of(label)) & set(granted):
            assert f"{CANARY}-{label}" not in sent
    held = receive(sections)
    assert held.hidden == hidden_sections(PLAN, grant, "service")
    assert held.hidden.isdisjoint(granted)


def test_a_canary_is_seen_where_it_is_granted() -> None:
    """The net is not full of holes: each mark is really there."""
    content = fold(PLAN, with_canaries(BEGIN))
    for label in LABELS:
        section = sections_of(label)[0]
        grant = Grant(touchpoint="some", reads={"service": (section,)})
        sections, _ = project(content, PLAN, grant, "service", content.at)
        assert f"{CANARY}-{label}" in b"".join(found.data for found in sections).decode()


@law(80)
@given(logs(most=10))
def test_an_envelope_does_not_tell_of_hidden_journeys(facts: list[Fact]) -> None:
    """Customers who differ only in hidden sections look the same, but for what the envelope says of their last fact."""
    grant = Grant(touchpoint="some", reads={"service": ("traits",)})
    content = fold(PLAN, [f for f in facts if f.kind != "trait"])
    other = Content(content.at, content.through, content.facts)
    sent, bare = (
        {s.name: s.data for s in project(each, PLAN, grant, "service", content.at)[0]} for each in (content, other)
    )
    assert sent["envelope"] == bare["envelope"]


@law(250)
@given(logs(), delays, functions())
def test_hub_and_sdk_decide_alike_on_the_same_projection(facts: list[Fact], delay: int, function) -> None:
    content = fold(PLAN, facts)
    at = content.at + delay
    held = receive(project(content, PLAN, ALL, "service", at)[0])
    assert not held.hidden
    question = Question("some.question", function, default="nothing")
    hub = decide(question, Context(Projected(content), PLAN, at), "voice")
    sdk = decide(question, Context(held, PLAN, at), "voice")
    event(hub.reason)
    assert (sdk.value, sdk.reason, sdk.error, sdk.partial) == (hub.value, hub.reason, hub.error, hub.partial)
    assert list(sdk.verdicts) == list(hub.verdicts)
    assert list(sdk.reads) == list(hub.reads)
    assert sdk.explain() == hub.explain()


@law(250)
@given(
    logs(),
    delays,
    delays,
    st.sampled_from(["offer.upsell", "call.back"]),
    st.sampled_from(["marketing", "service"]),
    st.sampled_from(["sms", "web"]),
    st.sampled_from([("mailer", "marketing"), ("kiosk", "service"), ("nobody", "service")]),
)
def test_what_may_not_be_seen_still_binds(
    facts: list[Fact], delay: int, wait: int, kind: str, purpose: str, channel: str, asks: tuple[str, str]
) -> None:
    """VE5: verdicts on hidden inputs are those of the full content, until the shipped ones end."""
    content = fold(PLAN, facts)
    at = content.at + delay
    touchpoint, session = asks
    sections, renew_at = project(content, PLAN, PLAN.grant(touchpoint), session, at)
    held = receive(sections)
    asked = {"kind": kind, "purpose": purpose, "channel": channel, "topic": ""}
    moment = at + wait
    there = {v.guardrail: v for v in judge(asked, Context(held, PLAN, moment))}
    here = {v.guardrail: v for v in judge(asked, Context(Projected(content), PLAN, moment))}
    assert there.keys() == here.keys()
    for name, verdict in there.items():
        if moment >= renew_at and outcome_at(held.guardrails.get(name, []), moment) is None:
            event("beyond what was shipped")
            continue
        assert (verdict.kind, verdict.reason, verdict.mode) == (here[name].kind, here[name].reason, here[name].mode)
        assert verdict.binds is here[name].binds


@law()
@given(logs(), delays, delays)
def test_membership_by_hidden_inputs_is_the_membership(facts: list[Fact], delay: int, wait: int) -> None:
    content = fold(PLAN, facts)
    at = content.at + delay
    sections, renew_at = project(content, PLAN, PLAN.grant("mailer"), "marketing", at)
    assume(at + wait < renew_at)
    there, here = Context(receive(sections), PLAN, at + wait), Context(Projected(content), PLAN, at + wait)
    for name in PLAN.audiences:
        assert there.in_audience(name) is here.in_audience(name)
    assert not there.partial
