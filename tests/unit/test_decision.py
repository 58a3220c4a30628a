"""Decisions: the function proposes, guardrails dispose, the answer explains itself; nothing escapes into the host."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from segue.domain.action import Action
from segue.domain.context import Context
from segue.domain.decision import Decision, Question, decide
from segue.domain.fact import Fact
from segue.domain.fold import fold
from segue.domain.freshness import FRESH, MISSING, PERSISTED, STALE, Freshness
from segue.domain.guardrail import ALLOW, BLOCK, DEFER
from segue.domain.projection import NOBODY, project, receive
from segue.errors import NameUnknown, NotCovered, NotGranted

from tests.building import (
    BEGIN,
    DAY,
    action,
    consent,
    context_of,
    decision,
    fact,
    moment,
    plan,
    seen_by,
    small,
    subscription,
    trait,
)

PLAN = plan()
UPSELL = Action("offer.upsell", topic="bandwidth", purpose="marketing")
SERVICE = Action("call.back", topic="transfer")


def asked(
    function: Callable[[Context], Any], *facts: Fact, at: int | str = "1h", default: Any = None, strict: bool = False
) -> Decision:
    return decide(Question("some.question", function, default), seen_by(PLAN, list(facts), at, strict=strict), "email")


def hidden_from(touchpoint: str, purpose: str, *facts: Fact, at: int | str = "1h", strict: bool = False) -> Context:
    content = fold(PLAN, facts)
    sections, _ = project(content, PLAN, PLAN.grant(touchpoint), purpose, moment(at))
    return Context(receive(sections), PLAN, moment(at), strict=strict)


class TestValues:
    def test_a_value_is_the_answer_and_meets_no_guardrail(self) -> None:
        found = asked(lambda c: "bot" if c.seen("ivr", "1h") else "human", fact("x", "30m", channel="ivr"))
        assert (found.value, found.reason, found.action, found.verdicts) == ("bot", "RULE", None, ())
        assert not found.allowed

    def test_none_is_no_answer(self) -> None:
        found = asked(lambda c: None, default="human")
        assert (found.value, found.reason) == ("human", "DEFAULT")

    def test_false_and_zero_are_answers(self) -> None:
        for value in (False, 0, "", []):
            assert (asked(lambda c, v=value: v, default="x").value, asked(lambda c: 0).reason) == (value, "RULE")

    def test_it_says_what_it_was_made_on(self) -> None:
        found = asked(lambda c: 1, fact("x", "0s"))
        assert (found.at, found.plan, found.freshness) == (moment("1h"), PLAN.digest, FRESH)


class TestFailures:
    """Promise 7: whatever the function raises, the host gets the default."""

    @pytest.mark.parametrize("error", [ValueError("boom"), KeyError("x"), ZeroDivisionError(), RecursionError()])
    def test_an_exception_gives_the_default(self, error: Exception) -> None:
        def function(context: Context) -> Any:
            raise error

        found = asked(function, default="human")
        assert (found.value, found.reason) == ("human", "FUNCTION_FAILED")
        assert type(error).__name__ in found.error
        assert type(error).__name__ in found.explain()

    @pytest.mark.parametrize("meant", [KeyboardInterrupt, SystemExit, asyncio.CancelledError, GeneratorExit])
    def test_but_nobody_swallows_what_is_meant_for_the_host(self, meant: type[BaseException]) -> None:
        def function(context: Context) -> Any:
            raise meant

        with pytest.raises(meant):
            asked(function)

    @pytest.mark.parametrize(
        ("function", "meant"),
        [
            (lambda c: c.seen("ivrr"), "ivr"),
            (lambda c: c.count("transfer.faild"), "transfer.failed"),
            (lambda c: c.last("call.start"), "call.started"),
            (lambda c: c.trait("valu_tier"), "value_tier"),
            (lambda c: c.trait("valu_tier", "low"), "value_tier"),
            (lambda c: c.known("in_arears"), "in_arrears"),
            (lambda c: c.journey("money_tranfer").active, "money_transfer"),
            (lambda c: c.journeys("activaton"), "activation"),
            (lambda c: c.in_audience("frequent_callers"), "frequent_caller"),
            (lambda c: c.consents_to("marketin"), "marketing"),
        ],
    )
    def test_a_misspelt_name_gives_the_default_and_names_the_nearest(self, function: Any, meant: str) -> None:
        found = asked(function, default="human")
        assert (found.value, found.reason) == ("human", "NAME_UNKNOWN")
        assert f"Did you mean {meant!r}?" in found.error
        with pytest.raises(NameUnknown, match="Did you mean"):
            asked(function, strict=True)

    @pytest.mark.parametrize(
        "function",
        [
            lambda c: c.journey("money_transfer").active,
            lambda c: c.journeys(),
            lambda c: c.trait("in_arrears"),
            lambda c: c.trait("in_arrears", False),
            lambda c: c.known("in_arrears"),
            lambda c: c.seen("ivr"),
            lambda c: c.count("ivr", "1h"),
            lambda c: c.last("ivr"),
            lambda c: c.consents_to("marketing"),
            lambda c: c.subscribed("email", "offers"),
            lambda c: c.timeline(),
            lambda c: c.actions(),
            lambda c: c.decisions(),
            lambda c: c.interactions(),
        ],
    )
    def test_what_is_not_granted_is_said_to_be(self, function: Any) -> None:
        log = [fact("transfer.started", "0s", transfer_id="T1", channel="ivr"), trait("in_arrears", True, "0s")]
        found = decide(Question("q", function, "human"), hidden_from("mailer", "marketing", *log))
        assert (found.value, found.reason) == ("human", "NOT_GRANTED")
        with pytest.raises(NotGranted):
            decide(Question("q", function), hidden_from("mailer", "marketing", *log, strict=True))

    def test_a_grant_for_one_purpose_is_none_for_another(self) -> None:
        log = [trait("value_tier", "high", "0s")]
        tier = Question("tier", lambda c: c.trait("value_tier"))
        assert decide(tier, hidden_from("mailer", "marketing", *log)).value == "high"
        assert decide(tier, hidden_from("mailer", "service", *log)).reason == "NOT_GRANTED"

    def test_without_a_plan_every_name_is_known(self) -> None:
        context = seen_by(small(), [fact("x", "0s")], "1m", strict=True)
        assert (context.seen("anything"), context.trait("anything", 7), context.journey("m").stage) == (False, 7, "")


class TestPartial:
    """TI5: a question beyond what is kept gets the best answer, marked; in tests it raises."""

    LOG = tuple(fact("help.searched", f"{n}m") for n in range(20))

    def test_a_count_beyond_what_is_kept_is_partial(self) -> None:
        found = asked(lambda c: c.count("help.searched", "1d"), *self.LOG)
        assert (found.value, found.reason, found.partial) == (16, "RULE", True)
        assert "PARTIAL" in found.explain()
        with pytest.raises(NotCovered):
            asked(lambda c: c.count("help.searched", "1d"), *self.LOG, strict=True)

    def test_within_what_is_kept_it_is_whole(self) -> None:
        """The newest sixteen begin at minute 4: a window that starts after it is covered."""
        found = asked(lambda c: c.count("help.searched", "10m"), *self.LOG, at="19m", strict=True)
        assert (found.value, found.partial) == (10, False)

    def test_without_a_window_the_whole_number_is_known(self) -> None:
        assert asked(lambda c: c.count("help.searched"), *self.LOG, strict=True).value == 20

    def test_exactly_as_many_as_are_kept_is_whole(self) -> None:
        assert not asked(lambda c: c.count("help.searched", "1d"), *self.LOG[:16], strict=True).partial


class TestActions:
    GRANTED = consent("marketing", "granted", "0s")

    def test_an_action_that_no_guardrail_holds_back_is_the_value(self) -> None:
        found = asked(lambda c: UPSELL, self.GRANTED)
        assert (found.value, found.reason, found.allowed, found.verdict.kind) == (UPSELL, "RULE", True, ALLOW)

    def test_one_that_is_held_back_gives_the_default_and_names_guardrail_owner_and_reason(self) -> None:
        found = asked(lambda c: UPSELL, default="nothing")
        assert (found.value, found.reason, found.allowed) == ("nothing", "HELD_BACK", False)
        assert found.action == UPSELL
        assert found.verdict.kind == BLOCK
        assert "held by privacy by guardrail consent: No marketing without consent" in found.explain()

    def test_the_strictest_verdict_is_told_first(self) -> None:
        """Two sent (DEFER), and a failed transfer (BLOCK): the block is the verdict."""
        log = [self.GRANTED, action("offer.a", "1m", purpose="marketing"), action("offer.b", "2m", purpose="marketing")]
        assert asked(lambda c: UPSELL, *log).verdict.kind == DEFER
        found = asked(lambda c: UPSELL, *log, fact("transfer.failed", "3m", transfer_id="T1"))
        assert (found.verdict.kind, found.verdict.guardrail) == (BLOCK, "no_selling_in_trouble")

    def test_one_that_only_observes_does_not_hold_it_back_and_is_told(self) -> None:
        found = asked(lambda c: UPSELL, self.GRANTED, fact("x", "30m", channel="ivr"))
        assert found.allowed
        assert "would be (only observing) held by lab" in found.explain()

    def test_of_ranked_actions_the_first_admissible_is_taken(self) -> None:
        mail = Action("mail.news", topic="news", purpose="service")
        ranked = [UPSELL, mail, SERVICE]
        assert asked(lambda c: ranked).value == SERVICE
        assert asked(lambda c: ranked, subscription("news", "opted_in", "0s")).value == mail
        assert asked(lambda c: ranked, self.GRANTED, subscription("news", "opted_in", "0s")).value == UPSELL

    def test_where_none_is_admissible_the_first_ones_verdicts_are_told(self) -> None:
        found = asked(lambda c: [UPSELL, Action("mail.news", topic="news")])
        assert (found.action, found.reason, found.verdict.guardrail) == (UPSELL, "HELD_BACK", "consent")

    def test_an_action_without_a_channel_is_judged_on_the_touchpoints(self) -> None:
        late = "2026-03-02T22:00:00+01:00"
        question = Question("q", lambda c: SERVICE)
        assert decide(question, seen_by(PLAN, [], late), "email").allowed
        assert not decide(question, seen_by(PLAN, [], late), "sms").allowed
        question = Question("q", lambda c: Action("call.back", channel="email"))
        assert decide(question, seen_by(PLAN, [], late), "sms").allowed

    def test_without_an_actor_nothing_can_be_done(self) -> None:
        for found in (asked(lambda c: UPSELL), asked(lambda c: UPSELL, self.GRANTED), asked(lambda c: 1)):
            with pytest.raises(RuntimeError, match="allows no action now"):
                found.act()


class TestExplanations:
    def test_it_tells_answer_reason_and_what_was_asked(self) -> None:
        found = asked(lambda c: "bot" if c.seen("ivr", "1h") and c.trait("value_tier") == "low" else "human",
                      fact("x", "30m", channel="ivr"), trait("value_tier", "high", "0s"))  # fmt: skip
        assert found.explain() == (
            "some.question = 'human' (RULE); "
            "because seen('ivr', '1h') is True, trait('value_tier') is 'high'; context LIVE"
        )

    def test_why_not_names_what_was_false(self) -> None:
        found = asked(lambda c: "bot" if c.seen("ivr", "1h") else "human")
        assert found.explain(why_not="bot") == "Not 'bot': seen('ivr', '1h') is False."

    def test_why_not_the_answer_itself(self) -> None:
        assert asked(lambda c: "bot").explain(why_not="bot") == "some.question is 'bot'."

    def test_why_not_an_action_that_is_held_back(self) -> None:
        found = asked(lambda c: UPSELL)
        wanted = "by privacy by guardrail consent: No marketing without consent."
        assert found.explain(why_not=UPSELL) == f"Not offer.upsell about bandwidth: held {wanted}"
        assert found.explain(why_not="offer.upsell") == f"Not 'offer.upsell': held {wanted}"

    def test_why_not_one_that_is_deferred_says_until_when(self) -> None:
        log = [action("offer.a", f"{n}m", purpose="marketing") for n in range(2)]
        found = asked(lambda c: UPSELL, consent("marketing", "granted", "0s"), *log)
        assert found.verdict.until == BEGIN + 7 * DAY
        assert "until 2026-03-09T09:00:00Z" in found.explain(why_not=UPSELL)

    def test_why_not_where_the_function_failed(self) -> None:
        assert asked(lambda c: 1 // 0).explain(why_not="x").startswith("Not 'x': ZeroDivisionError")

    def test_why_not_where_nothing_was_known(self) -> None:
        context = Context(NOBODY, PLAN, BEGIN, Freshness(MISSING))
        found = decide(Question("q", lambda c: "a"), context)
        assert found.explain(why_not="b") == "Not 'b': nothing was known of the customer (context MISSING)."

    def test_why_not_where_nothing_was_asked(self) -> None:
        found = asked(lambda c: "a")
        assert found.explain(why_not="b") == "Not 'b': some.question asked nothing and answered 'a'."

    @pytest.mark.parametrize(
        ("freshness", "words"),
        [
            (Freshness(MISSING), "context MISSING"), (Freshness(STALE, 42_000_000), "context STALE, 42 s old"),
            (Freshness(PERSISTED, 90_000_000), "context PERSISTED, 90 s old"),
        ],
    )  # fmt: skip
    def test_it_says_how_old_the_context_is(self, freshness: Freshness, words: str) -> None:
        found = decide(Question("q", lambda c: 1), context_of(fold(PLAN, []), PLAN, BEGIN, freshness))
        assert found.explain().endswith(words)

    def test_a_missing_context_holds_marketing_back_and_lets_service_out(self) -> None:
        context = Context(NOBODY, PLAN, BEGIN, Freshness(MISSING))
        assert not decide(Question("q", lambda c: UPSELL), context).allowed
        assert decide(Question("q", lambda c: SERVICE), context).allowed


def test_decisions_and_actions_of_all_touchpoints_are_read_by_all() -> None:
    log = [decision("chat.route", "bot", "0s"), decision("mail.offer", None, "1m"), action("offer.upsell", "2m")]
    context = seen_by(PLAN, log, "3m")
    assert [each.properties["value"] for each in context.decisions("chat.route")] == ["bot"]
    assert [each.type for each in context.actions()] == ["offer.upsell"]


# Everything that was read is told.


def readings(c: Context) -> dict[str, Any]:
    """Every question that a context answers, in words, with what it should tell of its answer."""
    transfer, card = c.journey("money_transfer"), c.journey("activation")
    completed = transfer.completed_at
    started, latest, progress = transfer.started_at, transfer.latest, transfer.progress_at
    assert latest is not None
    assert card.latest is None
    assert card.started_at is None
    return {
        "journey('money_transfer').completed_at": completed,
        "journey('money_transfer').started_at": started,
        "journey('money_transfer').latest": f"{latest.key} at {latest.stage}",
        "journey('money_transfer').progress_at": progress,
        "journey('activation').latest": None,
        "journey('activation').started_at": None,
        "journey('money_transfer').stage": transfer.stage,
        "timeline()": len(c.timeline()),
        "interactions()": len(c.interactions()),
        "interactions('ivr')": len(c.interactions("ivr")),
        "traits()": sorted(c.traits()),
        "brief()": str(c.brief()),
    }


def test_a_decision_tells_every_question_that_it_asked_with_its_answer() -> None:
    facts = [
        fact("transfer.started", "0s", transfer_id="T-0"), fact("transfer.completed", "1m", transfer_id="T-0"),
        fact("transfer.started", "20m", transfer_id="T-1"),
        fact("transfer.details_entered", "21m", transfer_id="T-1"),
        fact("call.started", "22m", channel="ivr", visit="c-1"),
        fact("call.started", "23m", channel="voice", visit="c-2"),
        trait("value_tier", "high", "5m"), trait("balance", 3.5, "5m"),
    ]  # fmt: skip
    wanted: dict[str, Any] = {}
    context = context_of(fold(PLAN, facts), PLAN, "25m", strict=True)

    def function(c: Context) -> str:
        wanted.update(readings(c))
        return "asked"

    made = decide(Question("q", function), context)
    assert made.value == "asked"
    assert made.reads == list(wanted.items())
    assert made.reads[2] == ("journey('money_transfer').latest", "T-1 at details")
    assert dict(made.reads)["timeline()"] == 6
    assert dict(made.reads)["interactions('ivr')"] == 1
    assert dict(made.reads)["traits()"] == ["balance", "value_tier"]
    assert None not in (
        wanted["journey('money_transfer').completed_at"],
        wanted["journey('money_transfer').started_at"],
    )
    for question in wanted:
        assert question in made.explain()


def test_why_not_names_a_reading_that_found_nothing() -> None:
    def function(c: Context) -> str:
        return "human" if c.interactions("ivr") else "bot"

    made = decide(Question("q", function), context_of(fold(PLAN, []), PLAN, "25m"))
    assert made.explain(why_not="human") == "Not 'human': interactions('ivr') is 0."
