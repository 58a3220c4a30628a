"""Coordination, case by case: places under caps, claims, and when a guardrail speaks."""

from __future__ import annotations

from typing import Any

import pytest
from segue.domain.claim import ACCEPTED, DECLINED, HELD, OFFERED, RELEASED, Claim, told
from segue.domain.decision import judge
from segue.domain.expression import NEVER
from segue.domain.fact import CHOICE, CLAIM, EXPOSURE, RESERVATION, Fact, check
from segue.domain.fold import fold
from segue.domain.freshness import Freshness
from segue.domain.guardrail import ALLOW, BLOCK, DEFER, Verdict
from segue.domain.identifier import Identifier
from segue.domain.instant import parse_instant
from segue.domain.plan import Plan
from segue.domain.reservation import KEPT
from segue.errors import FactError

from tests.building import BEGIN, DAY, HOUR, MINUTE, action, context_of, fact, moment, small, trait

CHANNELS = {"web": {}, "ivr": {}, "email": {}, "sms": {}, "voice": {"assisted": True}, "chat": {"assisted": True}}


def capped(**cap: Any) -> Plan:
    return small(
        time_zone="Europe/Berlin", traits={"time_zone": {"type": "string"}},
        guardrails={"cap": {"cap": {"limit": 1, **cap}, "reason": "Enough."}},
    )  # fmt: skip


def say(
    by: Plan, facts: list[Fact], at: int | str, name: str = "", freshness: Freshness | None = None, **asked: str
) -> Verdict | None:
    """What a guardrail says of an action (the only one where none is named)."""
    name = name or next(iter(by.guardrails))
    action = {"kind": "offer.upsell", "purpose": "marketing", "channel": "email", "topic": "", "touchpoint": "mailer"}
    context = context_of(fold(by, facts), by, at, *([freshness] if freshness else []))
    return next((v for v in judge(action | asked, context) if v.guardrail == name), None)


def granted(
    at: int | str, *slots: str, seq: int = 0, lasting: int = 5 * MINUTE, who: str = "mailer", **more: Any
) -> Fact:
    return fact(
        "offer.upsell", at, kind=RESERVATION, touchpoint=who, seq=seq, status="granted",
        slots=list(slots or ("cap",)), expires_at=moment(at) + lasting, **more,
    )  # fmt: skip


def released(grant: Fact, at: int | str) -> Fact:
    return fact("offer.upsell", at, kind=RESERVATION, status="released", reservation=grant.id.hex())


def done(grant: Fact, at: int | str, **more: Any) -> Fact:
    return action("offer.upsell", at, purpose="marketing", reservation=grant.id.hex(), **more)


class TestPlaces:
    def test_a_granted_place_is_taken_at_once_and_tells_who_holds_it(self) -> None:
        found = say(capped(window="1d"), [granted("0s", who="texter")], "1s")
        assert (found.kind, found.until, found.holder) == (DEFER, BEGIN + DAY, "texter")

    def test_an_expired_one_is_spent_since_nobody_knows(self) -> None:
        by, log = capped(window="1d"), [granted("0s")]
        assert say(by, log, "5m").kind == DEFER
        assert say(by, log, BEGIN + DAY - 1).kind == DEFER
        assert say(by, log, BEGIN + DAY).kind == ALLOW

    def test_an_expired_one_is_free_where_the_cap_says_so(self) -> None:
        by, log = capped(window="1d", on_expiry="free"), [granted("0s", frees=True)]
        before = say(by, log, BEGIN + 5 * MINUTE - 1)
        assert (before.kind, before.until) == (DEFER, BEGIN + 5 * MINUTE)
        assert say(by, log, "5m").kind == ALLOW

    def test_a_confirmed_one_counts_once_also_where_expired_ones_are_free(self) -> None:
        grant = granted("0s", frees=True)
        by = capped(window="1d", limit=2, on_expiry="free")
        log = [grant, done(grant, "1m")]
        assert say(by, log, "1h").kind == ALLOW, "one place of two"
        assert say(by, [*log, action("offer.upsell", "2m")], "1h").until == BEGIN + DAY

    def test_a_released_one_is_free_again(self) -> None:
        grant = granted("0s")
        assert say(capped(window="1d"), [grant, released(grant, "1s")], "2s").kind == ALLOW

    def test_what_is_confirmed_cannot_be_given_back(self) -> None:
        grant = granted("0s")
        assert say(capped(window="1d"), [grant, done(grant, "1s"), released(grant, "2s")], "3s").kind == DEFER

    def test_one_whose_clock_is_behind_takes_one_place_from_its_grant_on(self) -> None:
        """Counterexample: told a day before its grant, the action counted a day ago, and its place was free at once."""
        by, grant = capped(window="1d"), granted("1d")
        log = [done(grant, "1h"), grant]
        found = say(by, log, BEGIN + DAY + HOUR)
        assert (found.kind, found.until) == (DEFER, BEGIN + 2 * DAY)
        content = fold(by, log)
        assert content.caps["cap"] == ()
        assert content.confirmed == ()

    def test_an_action_that_names_a_grant_that_never_was_counts(self) -> None:
        never = granted("0s")
        assert say(capped(window="1d"), [done(never, "1h")], "2h").until == BEGIN + DAY + HOUR

    def test_more_reservations_than_are_kept_stay_counted(self) -> None:
        """Counterexample: the oldest was forgotten, and its place given away again."""
        log = [granted(f"{n}m", f"cap:{n}") for n in range(KEPT + 6)]
        by = capped(window="month", per="topic")
        content = fold(by, log)
        assert len(content.reservations) == KEPT
        for number in (0, 3, KEPT + 5):
            assert say(by, log, "3h", topic=str(number)).kind == DEFER

    def test_places_are_taken_by_what_a_cap_counts_by(self) -> None:
        by = capped(window="1d", per="channel")
        log = [action("offer.upsell", "0s", channel="sms")]
        assert say(by, log, "1h", channel="sms").kind == DEFER
        assert say(by, log, "1h", channel="email").kind == ALLOW

    @pytest.mark.parametrize(
        ("window", "sent", "until"),
        [
            ("day", "2026-03-29T00:30:00+01:00", "2026-03-30T00:00:00+02:00"),  # 23 hours: the clocks go forward
            ("day", "2026-10-25T00:30:00+02:00", "2026-10-26T00:00:00+01:00"),  # 25 hours
            ("day", "2026-03-02T23:59:59+01:00", "2026-03-03T00:00:00+01:00"),
            ("week", "2026-03-01T23:59:59+01:00", "2026-03-02T00:00:00+01:00"),  # a Sunday
            ("week", "2026-03-23T00:00:00+01:00", "2026-03-30T00:00:00+02:00"),
            ("month", "2026-02-28T12:00:00+01:00", "2026-03-01T00:00:00+01:00"),
            ("month", "2026-12-01T00:00:00+01:00", "2027-01-01T00:00:00+01:00"),
        ],
    )
    def test_a_calendar_window_ends_at_midnight_where_the_customer_is(self, window: str, sent: str, until: str) -> None:
        by, log = capped(window=window), [action("offer.upsell", sent)]
        end = parse_instant(until)
        found = say(by, log, end - 1)
        assert (found.kind, found.until) == (DEFER, end)
        assert say(by, log, end).kind == ALLOW

    def test_where_the_customer_is_elsewhere_her_midnight_counts(self) -> None:
        zone = trait("time_zone", "America/Los_Angeles", "2026-03-01T00:00:00Z")
        log = [zone, action("offer.upsell", "2026-03-02T23:00:00+01:00")]
        assert say(capped(window="day"), log, "2026-03-03T01:00:00+01:00").until == parse_instant(
            "2026-03-03T00:00:00-08:00"
        )


class TestClaims:
    """`told`: what each word does to each state."""

    HERE = Claim("conversation", "chat", 0, 100)
    OFFER = Claim("conversation", "chat", 0, 100, offered_to="desk", offered_until=50, note="n")

    def after(self, claim: Claim | None, status: str, who: str, at: int = 10, until: int = 200, **more: str):
        return told(claim, "conversation", status, who, at, until, **more)

    def test_whoever_comes_first_holds(self) -> None:
        assert self.after(None, HELD, "chat") == Claim("conversation", "chat", 10, 200)
        assert self.after(self.HERE, HELD, "desk") is self.HERE
        assert self.after(self.HERE, ACCEPTED, "desk") is self.HERE, "nobody offered"

    def test_renewing_only_ever_lengthens(self) -> None:
        assert self.after(self.HERE, HELD, "chat").until == 200
        assert self.after(self.HERE, HELD, "chat", until=20).until == 100
        assert self.after(self.OFFER, HELD, "chat").offered_to == "desk", "an offer stands while it is renewed"

    def test_one_that_has_run_out_is_anybodys(self) -> None:
        assert self.after(self.HERE, HELD, "desk", at=100).holder == "desk"
        assert self.after(self.OFFER, ACCEPTED, "desk", at=100).holder == "desk", "the one who offered has died"

    def test_the_holder_alone_offers_and_lets_go(self) -> None:
        assert self.after(self.HERE, OFFERED, "chat", until=50, to="desk").offered_to == "desk"
        assert self.after(self.HERE, OFFERED, "desk", to="desk") is self.HERE
        assert self.after(self.HERE, RELEASED, "desk") is self.HERE
        assert self.after(self.HERE, RELEASED, "chat") is None
        assert self.after(None, RELEASED, "chat") is None

    def test_the_one_it_is_offered_to_alone_accepts_and_declines(self) -> None:
        taken = self.after(self.OFFER, ACCEPTED, "desk")
        assert (taken.holder, taken.since, taken.until, taken.offered_to, taken.note) == ("desk", 10, 200, "", "n")
        assert self.after(self.OFFER, ACCEPTED, "ivr") is self.OFFER
        assert self.after(self.OFFER, DECLINED, "desk").offered_to == ""
        assert self.after(self.OFFER, DECLINED, "ivr") is self.OFFER
        assert self.after(self.OFFER, ACCEPTED, "desk", at=50) is self.OFFER, "the offer has run out, the claim has not"

    def test_an_offer_ends_with_its_claim(self) -> None:
        assert self.after(self.HERE, OFFERED, "chat", until=500, to="desk").offered_until == 100

    def test_after_a_handover_the_former_holder_changes_nothing(self) -> None:
        taken = self.after(self.OFFER, ACCEPTED, "desk")
        assert self.after(taken, HELD, "chat") is taken
        assert self.after(taken, RELEASED, "chat") is taken

    def test_a_claim_holds_others_back_and_says_who(self) -> None:
        by = small(guardrails={"busy": {"claim": "conversation", "reason": "She is being served."}})
        log = [fact("conversation", "0s", kind=CLAIM, touchpoint="chat", status="held", until=BEGIN + HOUR)]
        found = say(by, log, "1m")
        assert (found.kind, found.until, found.holder) == (DEFER, BEGIN + HOUR, "chat")
        assert say(by, log, "1m", touchpoint="chat").kind == ALLOW
        assert say(by, log, "1h").kind == ALLOW

    def test_a_claim_for_ever_is_refused(self) -> None:
        with pytest.raises(FactError, match=r"claim\.until"):
            fact("conversation", "0s", kind=CLAIM, status="held", until=BEGIN + 2 * DAY)


class TestWhenItSpeaks:
    BY = small(
        guardrails={
            "freeze": {
                "suppress_when": "true", "reason": "r", "exempt": ["service"],
                "valid": {"from": "2026-03-02T10:00:00Z", "until": "2026-03-02T12:00:00Z"},
            }
        }
    )  # fmt: skip

    def test_only_from_its_first_instant_to_its_last(self) -> None:
        start, end = parse_instant("2026-03-02T10:00:00Z"), parse_instant("2026-03-02T12:00:00Z")
        assert [say(self.BY, [], at).kind for at in (start - 1, start, end - 1, end)] == [ALLOW, BLOCK, BLOCK, ALLOW]
        assert say(self.BY, [], start - 1).flips_at == start
        assert (say(self.BY, [], start).until, say(self.BY, [], start).flips_at) == (end, end)
        assert say(self.BY, [], end).flips_at == NEVER

    def test_never_of_what_is_exempt(self) -> None:
        assert say(self.BY, [], "2h", purpose="service") is None

    def test_it_yields_to_what_matters_more_for_a_while(self) -> None:
        by = small(guardrails={"later": {"yields": {"to": ["outage.*"], "within": "4h"}, "reason": "r"}})
        log = [action("outage.notice", "1h", touchpoint="ops"), action("offer.upsell", "2h")]
        found = say(by, log, "3h")
        assert (found.kind, found.until, found.holder) == (DEFER, BEGIN + 5 * HOUR, "ops")
        assert say(by, log, "5h").kind == ALLOW
        assert say(by, [granted("1h", who="texter")], "2h").kind == ALLOW
        assert say(by, [fact("outage.notice", "1h", kind=RESERVATION, status="granted", slots=[])], "2h").kind == DEFER


@pytest.mark.parametrize(
    ("kind", "properties", "field"),
    [
        (CLAIM, {"status": "mine", "until": 1}, "claim.status"),
        (CLAIM, {"status": "held", "until": "soon"}, "claim.until"),
        (CLAIM, {"status": "offered", "until": BEGIN}, "claim.to"),
        (EXPOSURE, {"arm": "both"}, "exposure.arm"),
        (CHOICE, {"choice": 1}, "choice"),
        (CHOICE, {"choice": "no"}, "choice.about"),
        (RESERVATION, {"status": "taken"}, "reservation.status"),
    ],
)
def test_a_fact_that_says_nothing_sensible_is_refused_by_field(
    kind: str, properties: dict[str, Any], field: str
) -> None:
    from segue.domain.fact import properties_bytes

    made = Fact(
        bytes(16), kind, "x", BEGIN, 0, (Identifier("account", "A"),), "", "t", None, properties_bytes(properties)
    )
    with pytest.raises(FactError, match=field):
        check(made)
