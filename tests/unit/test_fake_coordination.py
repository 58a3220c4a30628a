"""The fake hub's builders of what coordinates: a function that reads them is tested without a hub."""

from __future__ import annotations

import segue
from segue.testing import Clock, FakeHub

from tests.building import small

PLAN = small(
    channels={"chat": {}, "email": {}},
    guardrails={
        "busy": {"claim": "conversation", "reason": "r"}, "control": {"holdout": {"share": 0.5}, "reason": "r"}
    },
)  # fmt: skip


def test_a_function_that_reads_what_she_chose_who_has_her_and_her_arm() -> None:
    fake = FakeHub(PLAN, Clock("2026-03-02T09:00:00Z"))
    chat = segue.Touchpoint("chat")

    @chat.decision("chat.greet", default="hello")
    def greet(c: segue.Context) -> str:
        return f"{c.choice('channel:email')} {c.claim('conversation').holder} {c.holdout('control')} {c.effort.score}"

    @chat.decision("chat.offer")
    def offer(c: segue.Context) -> segue.Action:
        return segue.Action("offer.a", channel="email")

    fake.customer(account="A").claimed("desk", lasting="5m", ago="1m").exposed("control", "treated")
    with fake.touchpoint(chat).session(account="A") as customer:
        assert customer.decide(greet).value == " desk treated 0"
        assert customer.decide(offer).verdict.holder == "desk"
        fake.clock.advance("4m")
        assert customer.decide(greet).value == "  treated 0", "the claim has run out, five minutes after it began"
        assert customer.decide(offer).allowed
        fake.customer(account="A").chose("channel:email", touchpoint="web")
        assert customer.decide(greet).value == "no  treated 0"
        assert customer.decide(offer).verdict.holder == "web"
