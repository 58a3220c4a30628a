"""Snapshots: what is remembered between decisions equals what is worked out anew, at any moment, in any order."""

from __future__ import annotations

import ast
import random
from datetime import timedelta
from enum import StrEnum
from inspect import getsource
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from segue.domain import guardrail_reading, tree_reading
from segue.domain.action import Action
from segue.domain.context import Context
from segue.domain.decision import Question, decide, judge, spoken
from segue.domain.decision_fact import answer_of, basis_of, details_of
from segue.domain.fact import Fact
from segue.domain.fold import fold
from segue.domain.freshness import LIVE, MISSING, PERSISTED, SILENCE, STALE, freshness_at
from segue.domain.grant import SERVICE, Grant, everything
from segue.domain.instant import NEVER, span
from segue.domain.projection import _NEVER_JUDGED, NOBODY, Projected, project, receive
from segue.domain.section import Section, dumps, plain
from segue.domain.snapshot import REMEMBERED, Snapshot
from segue.domain.verdict import Verdicts
from segue.errors import NameUnknown
from segue.replica import Held

from tests.building import action, consent, decision, fact, moment, plan, small, trait, who

PLAN = plan()
NAMES = ("app", "ivr", "transfer.failed", "call.started", "web")
WITHIN = (None, "", "1m", "1h", "2d", timedelta(hours=1))


class Channel(StrEnum):
    """As hosts name their channels."""

    IVR = "ivr"


def past(chance: random.Random) -> list[Fact]:
    """A customer's facts, in order."""
    at, found = moment("0s"), []
    for number in range(chance.randrange(12)):
        at += chance.choice((1, 50, 4_000, 100_000)) * 1_000_000
        if chance.random() < 0.2:
            found.append(trait("value_tier", chance.choice(("high", "low")), at, "account=A"))
            continue
        name, channel = chance.choice(("transfer.started", "transfer.failed", "transfer.completed", "call.started")), ""
        channel = chance.choice(("app", "ivr", "voice"))
        key = {"transfer_id": chance.choice("TU")} if name.startswith("transfer") else {}
        found.append(fact(name, at, "account=A", seq=number, channel=channel, **key))
    return found


def asked_at_random(chance: random.Random) -> Any:
    """A decision function that asks about anything."""
    questions = []
    for _ in range(chance.randrange(1, 8)):
        name, within = chance.choice((*NAMES, Channel.IVR)), chance.choice(WITHIN)
        questions.append(
            chance.choice(
                (
                    lambda c, n=name, w=within: c.seen(n, w),
                    lambda c, n=name, w=within: c.seen(event=n, within=w),
                    lambda c: c.journey("money_transfer").active,
                    lambda c: c.journey("money_transfer").stalled,
                    lambda c: c.trait("value_tier"),
                    lambda c: c.trait("value_tier", "unset"),
                    lambda c: c.seen("no such channel"),
                    lambda c: c.journey("no such map").active,
                )
            )
        )
    return lambda c: [question(c) for question in questions]


def told(question: Question, context: Context) -> tuple[Any, ...]:
    decision = decide(question, context, "web", "chat")
    return decision.value, decision.reason, decision.error, decision.reads, details_of(
        decision, answer_of(decision), basis_of(context, SERVICE)
    )[1]  # fmt: skip


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.randoms(use_true_random=False))
def test_remembered_answers_are_those_worked_out_anew(chance: random.Random) -> None:
    content = fold(PLAN, past(chance))
    shared = Snapshot(Projected(content), PLAN, 7)
    for _ in range(12):  # time goes forth and back: a clock may be set
        after = chance.choice((0, 60, 3_600, 90_000, 260_000, 10**6)) * 1_000_000 + chance.randrange(3) - 1
        at = max(content.at, moment("0s")) + after
        heard, kept = at - chance.choice((0, 1, SILENCE - 1, SILENCE)), 0
        question = Question("chat.route", asked_at_random(chance))
        lazy = Context.held(shared, at, at, heard, kept)
        eager = Context(Projected(content), PLAN, at, freshness_at(at, heard, kept), 7)
        assert told(question, lazy) == told(question, eager)
        assert (lazy.at, lazy.freshness, lazy.version) == (eager.at, eager.freshness, 7)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.randoms(use_true_random=False))
def test_remembered_verdicts_are_those_worked_out_anew(chance: random.Random) -> None:
    facts = [one for one in past(chance) if one.occurred_at]
    for name, state in (("marketing", "granted"), ("marketing", "denied")):
        if chance.random() < 0.5:
            facts.append(consent(name, state, chance.choice(("1m", "2h")), "account=A"))
    facts += [
        action("offer.upsell", chance.choice(("3m", "1h", "5h")), "account=A", seq=n, purpose="marketing", topic="t")
        for n in range(chance.randrange(4))
    ]
    content = fold(PLAN, facts)
    shared = Snapshot(Projected(content), PLAN, 7)
    offers = [
        Action(kind, "t", purpose, channel)
        for kind in ("offer.upsell", "mail.newsletter") for purpose in ("marketing", "service")
        for channel in ("sms", "web")
    ]  # fmt: skip
    turns = {max(content.at, moment("0s"))}
    for _ in range(40):
        # Also the very instants at which verdicts turn, and those beside them; time goes forth and back.
        at = max(content.at, chance.choice(sorted(turns)) + chance.randrange(3) - 1 + chance.choice((0, 0, 10**9)))
        offer = chance.choice(offers)
        eager = judge(offer.asked("") | {"touchpoint": "chat"}, Context(Projected(content), PLAN, at))
        found = spoken(offer, Context.held(shared, at, at, at, 0), "app", "chat")
        assert list(found) == eager
        assert isinstance(found, Verdicts)
        assert found.binding == any(verdict.binds for verdict in eager)
        turns |= {verdict.flips_at for verdict in eager if verdict.flips_at < NEVER}


def test_what_is_told_of_an_old_context_is_not_remembered_for_a_live_one() -> None:
    offer = Action("offer.upsell", channel="web")
    content, at = fold(PLAN, [fact("call.started", "1h", "account=A", channel="app")]), moment("3h")
    shared = Snapshot(Projected(content), PLAN)
    old = spoken(offer, Context.held(shared, at, at, at - SILENCE, 0))
    live = spoken(offer, Context.held(shared, at, at, at, 0))
    assert "BLOCK" in [verdict.kind for verdict in old]  # as the plan says: on_stale
    assert [verdict.kind for verdict in live] == ["ALLOW", "ALLOW"]
    assert spoken(offer, Context.held(shared, at, at, at - SILENCE, 0)) == old
    assert spoken(offer, Context.held(shared, at, at, at, 0)) == live


@pytest.mark.parametrize("heard", [0, 1, 9, 10**12])
@pytest.mark.parametrize("kept", [0, 5])
def test_a_context_is_live_where_its_freshness_says_so(heard: int, kept: int) -> None:
    for clock in (heard, heard + SILENCE - 1, heard + SILENCE, max(0, heard - 3)):
        context = Context.held(Snapshot(NOBODY, PLAN), clock, clock, heard, kept)
        live = context.live
        assert live == (context.freshness.state == LIVE) == (freshness_at(clock, heard, kept).state == LIVE)
        assert context.live == live  # also once it was asked for


def test_verdicts_are_remembered_by_all_that_guardrails_read_and_never_by_texts_that_are_not_plain() -> None:
    """The channel of a touchpoint, who asks, and a kind that only says that it is equal."""

    class Sly(str):
        __slots__ = ()

        def __eq__(self, other: object) -> bool:
            return True

        __hash__ = str.__hash__

    content, at = fold(PLAN, [fact("call.started", "1h", "account=A", channel="app")]), moment("3h")
    shared = Snapshot(Projected(content), PLAN)
    here = Context.held(shared, at, at, at, 0)
    offer = Action("offer.upsell", purpose="marketing")
    assert {verdict.guardrail for verdict in spoken(offer, here, "web", "chat")}
    spoken(offer, here, "sms", "chat")
    spoken(offer, here, "web", "ivr")
    spoken(Action("offer.upsell", purpose="marketing", advances="money_transfer"), here, "web", "chat")
    assert len(shared.judged) == 4
    spoken(Action(Sly("offer.upsell"), purpose="marketing"), here, "web", "chat")
    assert len(shared.judged) == 4
    assert spoken(offer, here, "web", "chat") is spoken(offer, here, "web", "chat")


def test_a_turning_answer_turns_at_its_very_instant() -> None:
    content = fold(PLAN, [fact("transfer.started", "1h", "account=A", channel="app", transfer_id="T")])
    shared, seen_at = Snapshot(Projected(content), PLAN), moment("1h")
    moments = [seen_at, seen_at + span("1h") - 1, seen_at + span("1h"), seen_at + span("1h") - 1]
    found = [Context.held(shared, at, at, at, 0).seen("app", "1h") for at in moments]
    assert found == [True, True, False, True]
    abandons = PLAN.maps["money_transfer"].abandons
    journey = next(iter(content.journeys.values()))
    for at in (seen_at, seen_at + abandons - 1, seen_at + abandons):
        active = Context.held(shared, at, at, at, 0).journey("money_transfer").active
        assert active == journey.active(PLAN.maps["money_transfer"], at)


def test_who_asks_first_does_not_show_in_what_is_told() -> None:
    content = fold(PLAN, [fact("call.started", "1h", "account=A", channel="ivr")])
    at = moment("2h")
    for first, second in ((Channel.IVR, "ivr"), ("ivr", Channel.IVR)):
        shared = Snapshot(Projected(content), PLAN)
        reads = [Context.held(shared, at, at, at, 0) for _ in range(2)]
        reads[0].seen(first, "2h")
        reads[1].seen(second, "2h")
        assert reads[0].reads == reads[1].reads == [("seen('ivr', '2h')", True)]


def test_what_is_remembered_has_a_bound() -> None:
    shared = Snapshot(Projected(fold(PLAN, [fact("call.started", "1h", "account=A", channel="ivr")])), PLAN)
    for minutes in range(1, 3 * REMEMBERED):
        context = Context.held(shared, moment("2h"), 0, 0, 0)
        assert context.seen("ivr", f"{minutes}m") is (minutes > 60)
    assert len(shared.seen) == REMEMBERED


def test_a_refused_name_is_refused_each_time() -> None:
    shared = Snapshot(NOBODY, PLAN)
    for _ in range(2):
        context = Context.held(shared, moment(0), 0, 0, 0)
        with pytest.raises(NameUnknown):
            context.seen("no such channel")
        with pytest.raises(NameUnknown):
            context.journey("no such map")
        with pytest.raises(NameUnknown):
            context.trait("no_such_trait")
        assert context.reads == []


def test_a_snapshot_is_made_anew_where_anything_changed() -> None:
    held = Held(1, who("account=A")[0], SERVICE)
    first = held.snapshot(PLAN, False)
    assert held.snapshot(PLAN, False) is first
    held.take(Projected(fold(PLAN, [])), (3, "v", "c"), (), PLAN, 1)
    second = held.snapshot(PLAN, False)
    assert (second.version, second.projected) == (3, held.shown)
    held.show(fact("call.started", "1h", "account=A", channel="ivr"), PLAN, 10)
    third = held.snapshot(PLAN, False)
    assert third is not second
    assert "ivr" in third.content.activity
    held.version = 0
    assert held.snapshot(PLAN, False).version == 0
    assert held.snapshot(small(), False) is not held.snapshot(PLAN, False)
    assert held.snapshot(PLAN, True).strict


def frame(facts: list[Fact], grant: Grant | None = None) -> list[Section]:
    """The context of these facts as it arrives."""
    return project(fold(PLAN, facts), PLAN, grant or everything("chat"), SERVICE, moment("0s"))[0]


OFFER = Action("offer.upsell", "t", "marketing", "sms")


@settings(max_examples=30, deadline=None, derandomize=True)
@given(st.randoms(use_true_random=False))
def test_what_outlives_a_frame_is_what_would_be_worked_out_anew(chance: random.Random) -> None:
    """Frames of anything at all, decisions among them: answers and verdicts never are those of an older frame."""
    held, facts, at = Held(1, who("account=A")[0], SERVICE), past(chance), moment("300h")
    for number in range(12):
        at += chance.choice((1, 1, 1_000_000, 3_600_000_000))
        does = chance.random()
        if does < 0.5:
            facts.append(decision("chat.route", "x", at, "account=A"))
        elif does < 0.6:
            facts.append(consent("marketing", chance.choice(("granted", "denied")), at, "account=A"))
        elif does < 0.7:
            facts.append(action("offer.upsell", at, "account=A", seq=number, purpose="marketing", topic="t"))
        elif does < 0.8:
            facts.append(trait("in_arrears", chance.choice((True, False, 1, 0)), at, "account=A"))
        elif does < 0.9:
            facts.append(fact("transfer.failed", at, "account=A", seq=number, channel="ivr", transfer_id="T"))
        sections = frame(facts)
        held.take(receive(sections), (number + 1, "v", "c"), (), PLAN, at)
        held.heard_at = at
        question = Question("chat.route", asked_at_random(chance))
        for _ in range(2):
            lazy = Context.held(held.snapshot(PLAN, False), at, at, at, 0)
            eager = Context(receive(sections), PLAN, at, freshness_at(at, at, 0), number + 1)
            assert told(question, lazy) == told(question, eager)
            assert list(spoken(OFFER, lazy, "", "chat")) == judge(OFFER.asked("") | {"touchpoint": "chat"}, eager)
            assert lazy.trait("in_arrears") is eager.trait("in_arrears")
            assert lazy.content is held.shown.content


def test_a_decision_that_comes_back_leaves_the_verdicts_and_everything_else_makes_them_anew() -> None:
    facts = [fact("call.started", "1h", "account=A", channel="ivr"), consent("marketing", "granted", "1h", "account=A")]
    held, at = Held(1, who("account=A")[0], SERVICE), moment("2h")

    def arrived(version: int, *, narrow: bool = False) -> Snapshot:
        grant = Grant(touchpoint="chat", reads={SERVICE: ("consents",)}) if narrow else None
        held.take(receive(frame(facts, grant)), (version, "v", "c"), (), PLAN, at)
        return held.snapshot(PLAN, False)

    first = arrived(1)
    spoken(OFFER, Context.held(first, at, at, at, 0))
    facts.append(decision("chat.route", "x", "90m", "account=A"))
    second = arrived(2)
    assert second is not first
    assert (second.version, len(second.content.decisions)) == (2, 1)
    assert second.judged is first.judged
    assert second.judged
    other = small()
    assert not held.snapshot(other, False).judged  # another plan
    assert not arrived(3).judged  # and back
    spoken(OFFER, Context.held(arrived(4), at, at, at, 0))
    held.show(fact("call.started", "91m", "account=A", channel="app"), PLAN, 10)
    assert not held.snapshot(PLAN, False).judged  # an own fact lies over it
    held.drop(list(held.pending), PLAN)
    for told_of in (
        trait("in_arrears", True, "92m", "account=A"), consent("marketing", "denied", "93m", "account=A"),
        action("offer.upsell", "94m", "account=A", purpose="marketing", topic="t"),
        fact("call.started", "95m", "account=A", channel="app"),
    ):  # fmt: skip
        spoken(OFFER, Context.held(arrived(5), at, at, at, 0))
        assert held.latest.judged
        facts.append(told_of)
        assert not arrived(6).judged
    spoken(OFFER, Context.held(arrived(7), at, at, at, 0))
    assert not arrived(8, narrow=True).judged


def same(one: Projected, other: Projected) -> bool:
    """Whether all that can be read of the two is the same."""
    told = [(shown.overlay, shown.hidden, dumps(plain(shown.content, PLAN))) for shown in (one, other)]
    return told[0] == told[1]


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.randoms(use_true_random=False))
def test_own_facts_laid_together_are_those_laid_one_by_one(chance: random.Random) -> None:
    """However seldom somebody looks: what is shown is what it was when each fact was laid as it came."""
    seldom, often = (Held(1, who("account=A")[0], SERVICE) for _ in range(2))
    told: list[Fact] = []
    for number in range(chance.randrange(30)):
        does = chance.random()
        if does < 0.7:
            at = f"{chance.randrange(1, 90)}m"
            told.append(fact("transfer.failed", at, "account=A", seq=number, channel="app", transfer_id="T"))
            for held in (seldom, often):
                held.show(told[-1], PLAN, 8)
        elif does < 0.85:
            known = chance.sample(told, chance.randrange(len(told) + 1))
            base = Projected(fold(PLAN, sorted(known, key=lambda one: one.order)))
            for held in (seldom, often):
                held.take(base, (number, "v", "c"), [one.id for one in known], PLAN, 1)
        else:
            gone = [one.id for one in told if chance.random() < 0.2]
            for held in (seldom, often):
                held.drop(gone, PLAN)
        assert often.shown.overlay == tuple(often.pending)
        if chance.random() < 0.2:
            assert same(seldom.shown, often.shown)
        assert (seldom.identity_pending, seldom.version) == (often.identity_pending, often.version)
    assert same(seldom.shown, often.shown)
    assert not seldom.unlaid


def test_freshness_by_its_states() -> None:
    assert [freshness_at(100 + SILENCE, heard, kept).state for heard, kept in ((101, 0), (100, 0), (0, 5), (0, 0))] == [
        LIVE, STALE, PERSISTED, MISSING,
    ]  # fmt: skip
    assert freshness_at(5, 9, 0).age == 0


def test_no_expression_and_no_guardrail_reads_a_section_whose_news_verdicts_outlive() -> None:
    """Who adds one that does has to take the section out of `_NEVER_JUDGED`, or old verdicts would hold."""
    trees = [ast.parse(getsource(module)) for module in (tree_reading, guardrail_reading)]
    parts = [node.value for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Constant)]
    assert {"activity", "actions", "claims"} <= set(parts)  # that is where sections are named
    assert _NEVER_JUDGED.isdisjoint(parts)
    read = [guardrail.inputs for guardrail in PLAN.guardrails.values()]
    read += [audience.inputs for audience in PLAN.audiences.values()] + [drawn.inputs for drawn in PLAN.maps.values()]
    assert _NEVER_JUDGED.isdisjoint(frozenset().union(*read))
