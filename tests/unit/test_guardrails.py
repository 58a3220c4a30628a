"""Guardrails: what each form says, until when, in which mode, and on an old or absent context."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from segue.domain.content import Content
from segue.domain.context import Context
from segue.domain.decision import judge
from segue.domain.expression import NEVER
from segue.domain.fact import Fact
from segue.domain.fold import fold
from segue.domain.freshness import MISSING, STALE, Freshness
from segue.domain.guardrail import ALLOW, BLOCK, DEFER, Verdict
from segue.domain.instant import parse_instant
from segue.domain.plan import Plan
from segue.domain.projection import NOBODY, Projected, project, receive
from segue.domain.scope import Scope

from tests.building import (
    BEGIN,
    DAY,
    HOUR,
    MINUTE,
    action,
    consent,
    context_of,
    fact,
    moment,
    plan,
    small,
    subscription,
    trait,
)
from tests.unit.logs import law

PLAN = plan()


def ask(
    name: str,
    facts: list[Fact],
    at: int | str,
    *,
    by: Plan = PLAN,
    kind: str = "offer.upsell",
    purpose: str = "marketing",
    channel: str = "email",
    topic: str = "",
) -> Verdict | None:
    """What one guardrail says; None where it does not speak about the action."""
    asked = {"kind": kind, "purpose": purpose, "channel": channel, "topic": topic}
    context = context_of(fold(by, facts), by, at)
    return next((verdict for verdict in judge(asked, context) if verdict.guardrail == name), None)


def said(name: str, facts: list[Fact], at: int | str, **more: Any) -> tuple[str, int]:
    verdict = ask(name, facts, at, **more)
    assert verdict is not None
    return verdict.kind, verdict.until


class TestCaps:
    """`contact_pressure`: two marketing outreaches in seven days."""

    def sent(self, *at: str, **more: Any) -> list[Fact]:
        return [action("offer.upsell", when, purpose="marketing", **more) for when in at]

    def test_below_the_limit_it_lets_pass(self) -> None:
        assert said("contact_pressure", self.sent("0s"), "1h") == (ALLOW, NEVER)

    def test_at_the_limit_it_defers_until_the_first_of_them_leaves_the_window(self) -> None:
        log = self.sent("0s", "1d")
        assert said("contact_pressure", log, "2d") == (DEFER, BEGIN + 7 * DAY)
        assert said("contact_pressure", log, BEGIN + 7 * DAY - 1) == (DEFER, BEGIN + 7 * DAY)
        assert said("contact_pressure", log, BEGIN + 7 * DAY) == (ALLOW, NEVER)

    def test_beyond_the_limit_it_waits_for_as_many_as_are_too_many(self) -> None:
        """Three known where two are allowed: two must leave, so the second oldest decides."""
        assert said("contact_pressure", self.sent("0s", "1d", "2d"), "3d") == (DEFER, BEGIN + 8 * DAY)

    def test_only_completed_actions_count(self) -> None:
        log = self.sent("0s") + self.sent("1h", status="failed") + self.sent("2h", status="skipped")
        assert said("contact_pressure", log, "3h") == (ALLOW, NEVER)

    def test_only_those_that_it_applies_to_count(self) -> None:
        log = [*self.sent("0s"), action("offer.upsell", "1h", purpose="service")]
        assert said("contact_pressure", log, "2h") == (ALLOW, NEVER)

    def test_an_action_counts_by_its_kind_and_channel_also_where_its_properties_do_not_repeat_them(self) -> None:
        """Counterexample: a cap on `action.kind` read it from the properties and counted nothing, so it never held."""
        by = small(
            guardrails={
                "kind": {"applies_to": 'action.kind.startsWith("offer.")', "cap": {"limit": 1, "window": "1d"}},
                "channel": {"applies_to": 'action.channel == "sms"', "cap": {"limit": 1, "window": "1d"}},
            }
        )
        log = [action("offer.upsell", "0s", channel="sms")]
        assert said("kind", log, "1h", by=by) == (DEFER, BEGIN + DAY)
        assert said("channel", log, "1h", by=by, channel="sms") == (DEFER, BEGIN + DAY)

    def test_it_does_not_speak_about_other_purposes(self) -> None:
        assert ask("contact_pressure", self.sent("0s", "1h"), "2h", purpose="service") is None


class TestQuietHours:
    """`night`: 21:00 to 08:00 where the customer is; sms and voice only."""

    def berlin(self, at: str) -> tuple[str, int]:
        return said("night", [trait("time_zone", "Europe/Berlin", "2026-01-01T00:00:00Z")], at, channel="sms")

    def test_by_day_it_lets_pass(self) -> None:
        assert self.berlin("2026-01-15T12:00:00+01:00") == (ALLOW, NEVER)

    def test_from_its_first_minute_it_defers_across_midnight_to_the_morning(self) -> None:
        morning = parse_instant("2026-01-16T08:00:00+01:00")
        assert self.berlin("2026-01-15T20:59:59.999999+01:00") == (ALLOW, NEVER)
        assert self.berlin("2026-01-15T21:00:00+01:00") == (DEFER, morning)
        assert self.berlin("2026-01-16T00:00:00+01:00") == (DEFER, morning)
        assert self.berlin("2026-01-16T07:59:59.999999+01:00") == (DEFER, morning)
        assert self.berlin("2026-01-16T08:00:00+01:00") == (ALLOW, NEVER)

    def test_in_the_customers_zone_and_not_in_ours(self) -> None:
        noon_in_berlin = "2026-01-15T12:00:00+01:00"
        log = [trait("time_zone", "America/New_York", "2026-01-01T00:00:00Z")]
        morning = parse_instant("2026-01-15T08:00:00-05:00")
        assert said("night", log, noon_in_berlin, channel="voice") == (DEFER, morning)

    @pytest.mark.parametrize("zone", [None, "nowhere", "../etc", 7], ids=repr)
    def test_where_the_zone_is_unknown_the_plans_own(self, zone: Any) -> None:
        log = (
            [fact("x", "2026-01-01T00:00:00Z")] if zone is None else [trait("time_zone", zone, "2026-01-01T00:00:00Z")]
        )
        assert said("night", log, "2026-01-15T21:00:00+01:00", channel="sms")[0] == DEFER
        assert said("night", log, "2026-01-15T20:59:00+01:00", channel="sms")[0] == ALLOW

    def test_the_night_the_clocks_go_forward_is_an_hour_shorter(self) -> None:
        assert self.berlin("2026-03-28T22:00:00+01:00") == (DEFER, parse_instant("2026-03-29T06:00:00Z"))

    def test_the_night_they_go_back_is_an_hour_longer(self) -> None:
        assert self.berlin("2026-10-24T22:00:00+02:00") == (DEFER, parse_instant("2026-10-25T07:00:00Z"))

    def quiet(self, start: str, end: str) -> Plan:
        return small(
            time_zone="Europe/Berlin", guardrails={"q": {"quiet_hours": {"from": start, "to": end, "zone": "customer"}}}
        )

    def test_an_end_that_the_clocks_skip_is_the_change_itself(self) -> None:
        """Counterexample: 02:30 does not exist on that night, and was taken for 03:30 instead of 03:00."""
        by = self.quiet("22:00", "02:30")
        assert said("q", [], "2026-03-29T00:30:00Z", by=by) == (DEFER, parse_instant("2026-03-29T01:00:00Z"))

    def test_a_beginning_that_they_skip_too(self) -> None:
        by = self.quiet("02:30", "05:00")
        verdict = ask("q", [], "2026-03-29T00:30:00Z", by=by)
        assert verdict is not None
        assert (verdict.kind, verdict.flips_at) == (ALLOW, parse_instant("2026-03-29T01:00:00Z"))

    def test_an_hour_that_comes_twice_is_quiet_twice(self) -> None:
        """Counterexample: at 02:30 summer time nothing was said to change before the evening; 02:00 came again."""
        by = self.quiet("22:00", "02:15")
        assert said("q", [], "2026-10-25T00:10:00Z", by=by) == (DEFER, parse_instant("2026-10-25T00:15:00Z"))
        between = ask("q", [], "2026-10-25T00:30:00Z", by=by)
        assert between is not None
        assert (between.kind, between.flips_at) == (ALLOW, parse_instant("2026-10-25T01:00:00Z"))
        assert said("q", [], "2026-10-25T01:10:00Z", by=by) == (DEFER, parse_instant("2026-10-25T01:15:00Z"))

    @law(60)
    @given(
        st.sampled_from(["2026-03-28T12:00:00Z", "2026-10-24T12:00:00Z", "2026-06-01T00:00:00Z"]),
        st.integers(0, 47), st.integers(0, 47), st.integers(0, 36 * 60),
        st.sampled_from(["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Africa/Cairo", "Asia/Kolkata"]),
    )  # fmt: skip
    def test_no_verdict_changes_before_it_said_it_would(
        self, day: str, start: int, end: int, after: int, zone: str
    ) -> None:
        by = small(
            time_zone=zone,
            guardrails={
                "q": {
                    "quiet_hours": {"from": f"{start // 2}:{start % 2 * 30:02}", "to": f"{end // 2}:{end % 2 * 30:02}"}
                }
            },
        )
        rule, at = by.guardrails["q"], parse_instant(day) + after * MINUTE
        now = rule.verdict(Scope(Content(), at, by))
        assert now.flips_at > at
        for later in range(at, min(now.flips_at, at + 2 * DAY), 10 * MINUTE):
            assert rule.verdict(Scope(Content(), later, by)).kind == now.kind
        assert rule.verdict(Scope(Content(), now.flips_at - 1, by)).kind == now.kind
        if start != end:
            assert rule.verdict(Scope(Content(), now.flips_at, by)).kind != now.kind

    def test_a_channel_that_it_does_not_apply_to_goes_out_at_night(self) -> None:
        assert ask("night", [], "2026-01-15T23:00:00+01:00", channel="email") is None


class TestSuppression:
    """`no_selling_in_trouble`: a failed transfer within two hours, a stalled incident, or arrears."""

    def test_it_blocks_and_says_until_when(self) -> None:
        log = [fact("transfer.failed", "0s", transfer_id="T1")]
        assert said("no_selling_in_trouble", log, "1h") == (BLOCK, BEGIN + 2 * HOUR)
        assert said("no_selling_in_trouble", log, BEGIN + 2 * HOUR) == (ALLOW, NEVER)

    def test_where_only_a_fact_can_change_it_never_says_when(self) -> None:
        assert said("no_selling_in_trouble", [trait("in_arrears", True, "0s")], "1h") == (BLOCK, NEVER)

    def test_a_verdict_that_lets_pass_says_when_it_may_turn(self) -> None:
        """The incident stalls four hours after its last progress: from then on nothing is sold."""
        log = [fact("incident.opened", "0s", number=1), fact("incident.diagnosed", "1h", number=1)]
        verdict = ask("no_selling_in_trouble", log, "2h")
        assert verdict is not None
        assert (verdict.kind, verdict.flips_at) == (ALLOW, BEGIN + 5 * HOUR)
        assert said("no_selling_in_trouble", log, "5h")[0] == BLOCK

    def test_it_speaks_about_offers_only(self) -> None:
        assert ask("no_selling_in_trouble", [trait("in_arrears", True, "0s")], "1h", kind="call.back") is None

    def test_a_condition_that_fails_does_not_block_and_an_applies_to_that_fails_applies(self) -> None:
        by = small(
            traits={"n": {"type": "int"}},
            guardrails={
                "fails": {"suppress_when": "1 / trait.n > 0"},
                "applies": {"applies_to": "1 / size(action.topic) > 0", "suppress_when": "true"},
            },
        )
        assert said("fails", [], "0s", by=by)[0] == ALLOW
        assert said("applies", [], "0s", by=by)[0] == BLOCK


class TestConsentAndSubscription:
    @pytest.mark.parametrize(("state", "kind"), [("granted", ALLOW), ("denied", BLOCK), ("withdrawn", BLOCK)])
    def test_marketing_needs_consent(self, state: str, kind: str) -> None:
        assert said("consent", [consent("marketing", state, "0s")], "1m") == (kind, NEVER)

    def test_silence_is_no_consent(self) -> None:
        assert said("consent", [fact("x", "0s")], "1m") == (BLOCK, NEVER)

    def test_a_merge_with_a_refusal_holds_it_back(self) -> None:
        log = [consent("marketing", "granted", "0s", "account=A-1"), consent("marketing", "denied", "0s", "cookie=c")]
        assert said("consent", log, "1m")[0] == BLOCK

    def test_a_subscription_is_of_the_actions_own_channel_and_topic(self) -> None:
        log = [subscription("offers", "opted_in", "0s", channel="email")]
        mail = {"kind": "mail.offers", "topic": "offers"}
        assert said("newsletter", log, "1m", **mail)[0] == ALLOW
        assert said("newsletter", log, "1m", **mail, channel="sms")[0] == BLOCK
        assert said("newsletter", log, "1m", kind="mail.news", topic="news")[0] == BLOCK

    def test_opting_out_blocks(self) -> None:
        log = [subscription("offers", "opted_in", "0s"), subscription("offers", "opted_out", "1m")]
        assert said("newsletter", log, "2m", kind="mail.offers", topic="offers")[0] == BLOCK

    def test_a_hidden_subscription_still_lets_pass_what_was_subscribed_to(self) -> None:
        """The mailer may not see subscriptions: it is told for which topics of its channel it may write (VE5)."""
        content = fold(PLAN, [subscription("offers", "opted_in", "0s", channel="email")])
        held = receive(project(content, PLAN, PLAN.grant("mailer"), "marketing", content.at)[0])
        asked = {"kind": "mail.offers", "purpose": "service", "channel": "email", "topic": "offers"}
        verdicts = [
            {v.guardrail: v.kind for v in judge(asked, Context(each, PLAN, content.at))}
            for each in (held, Projected(content))
        ]
        assert verdicts[0] == verdicts[1]


class TestModesAndFreshness:
    def test_one_that_observes_tells_and_does_not_bind(self) -> None:
        verdict = ask("watching", [fact("x", "0s", channel="ivr")], "1m")
        assert verdict is not None
        assert (verdict.kind, verdict.mode, verdict.binds) == (BLOCK, "observe", False)

    def verdicts(self, freshness: str, by: Plan, purpose: str, content: Content | None = None) -> dict[str, str]:
        projected = NOBODY if content is None else Projected(content)
        context = Context(projected, by, BEGIN, Freshness(freshness))
        asked = {"kind": "offer.upsell", "purpose": purpose, "channel": "email", "topic": ""}
        return {verdict.guardrail: verdict.kind for verdict in judge(asked, context)}

    def ways(self) -> Plan:
        return small(
            guardrails={
                "default": {"suppress_when": "false"},
                "blocks": {"suppress_when": "false", "on_missing": "block", "on_stale": "block"},
                "allows": {"suppress_when": "true", "on_missing": "allow", "on_stale": "allow"},
                "enforces": {"suppress_when": "true", "on_stale": "enforce"},
            }
        )

    def test_on_a_missing_context_marketing_is_held_back_and_service_goes_out(self) -> None:
        by = self.ways()
        assert self.verdicts(MISSING, by, "marketing") == {
            "default": BLOCK, "blocks": BLOCK, "allows": ALLOW, "enforces": BLOCK
        }  # fmt: skip
        assert self.verdicts(MISSING, by, "service") == {
            "default": ALLOW, "blocks": BLOCK, "allows": ALLOW, "enforces": ALLOW
        }  # fmt: skip

    def test_on_a_stale_context_the_last_known_is_enforced_unless_the_plan_says_otherwise(self) -> None:
        assert self.verdicts(STALE, self.ways(), "service", Content()) == {
            "default": ALLOW, "blocks": BLOCK, "allows": ALLOW, "enforces": BLOCK
        }  # fmt: skip

    def test_what_is_hidden_and_not_shipped_counts_as_missing(self) -> None:
        held = Projected(Content(), frozenset({"consents", "traits.financial", "activity", "journeys", "actions"}))
        for purpose, kind in (("marketing", BLOCK), ("service", ALLOW)):
            asked = {"kind": "offer.upsell", "purpose": purpose, "channel": "email", "topic": ""}
            found = {v.guardrail: v.kind for v in judge(asked, Context(held, PLAN, BEGIN))}
            assert found["no_selling_in_trouble"] == kind

    def test_a_shipped_verdict_tells_reason_and_end_but_not_the_field(self) -> None:
        content = fold(PLAN, [fact("transfer.failed", "0s", transfer_id="T1")])
        sections, _ = project(content, PLAN, PLAN.grant("mailer"), "marketing", content.at)
        asked = {"kind": "offer.upsell", "purpose": "service", "channel": "email", "topic": ""}
        found = {v.guardrail: v for v in judge(asked, Context(receive(sections), PLAN, moment("1h")))}
        verdict = found["no_selling_in_trouble"]
        assert (verdict.kind, verdict.until) == (BLOCK, BEGIN + 2 * HOUR)
        assert verdict.reason == "The customer is trying to solve a problem."
        assert b"transfer.failed" not in b"".join(section.data for section in sections)
