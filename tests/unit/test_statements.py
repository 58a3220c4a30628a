"""What is said about who is one: how such facts look, what is refused, and how a touchpoint says it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
import segue
from segue.domain.fact import LINK, RETRACTION, STATEMENTS, Fact, check
from segue.domain.identifier import Identifier
from segue.domain.statement import SAID, statement_fact
from segue.errors import FactError
from segue.testing import FakeHub
from segue.wire import fact_from_bytes, fact_to_bytes
from segue_hub.services.differences import difference

from tests.building import BEGIN

ANN, PHONE = Identifier("account", "A-1"), Identifier("phone", "+4930123456")
ID = bytes(range(16))


def said(kind: str, **more: Any) -> Fact:
    return statement_fact(ID, kind, (ANN, PHONE), BEGIN, 0, **more)


@pytest.mark.parametrize("kind", SAID)
@pytest.mark.parametrize("reason", ["", "zwei Leute, ein Telefon ☎", "x" * 512])
def test_what_is_said_comes_back_from_the_wire_with_its_reason(kind: str, reason: str) -> None:
    fact = said(kind, reason=reason, touchpoint="desk")
    check(fact)
    assert fact_from_bytes(fact_to_bytes(fact)) == fact
    assert fact.properties.get("reason", "") == reason


def test_a_retraction_names_the_fact_that_it_takes_back_and_nothing_else_does() -> None:
    for kind in SAID:
        fact = fact_from_bytes(fact_to_bytes(said(kind, target=ID)))
        assert fact.properties == ({"fact": ID.hex()} if kind == RETRACTION else {})


@pytest.mark.parametrize("kind", STATEMENTS)
@pytest.mark.parametrize("names", [(ANN,), (ANN, ANN), (ANN, PHONE, Identifier("cookie", "c"))])
def test_a_statement_is_about_two(kind: str, names: tuple[Identifier, ...]) -> None:
    with pytest.raises(FactError, match="Name the two"):
        check(statement_fact(ID, kind, names, BEGIN, 0))


@pytest.mark.parametrize(
    ("kind", "raw", "field"),
    [
        (RETRACTION, b'{"fact":"abc"}', "retraction.fact"), (RETRACTION, b'{"fact":7}', "retraction.fact"),
        (RETRACTION, b'{"fact":"' + b"g" * 32 + b'"}', "retraction.fact"), ("ending", b'{"reason":1}', "ending.reason"),
        ("separation", b'{"reason":"' + b"x" * 513 + b'"}', "separation.reason"),
        (LINK, b'{"reason":[]}', "link.reason"),
    ],
)  # fmt: skip
def test_what_cannot_be_said_names_field_and_cure(kind: str, raw: bytes, field: str) -> None:
    with pytest.raises(FactError) as caught:
        check(Fact(ID, kind, kind, BEGIN, 0, (ANN, PHONE), raw=raw))
    assert caught.value.field == field


# The SDK.


def test_a_touchpoint_links_parts_and_keeps_apart(fake_hub: FakeHub) -> None:
    desk = fake_hub.touchpoint(segue.Touchpoint("desk"))
    fake_hub.customer(account="A-1").event("x", channel="web")
    fake_hub.customer(email="ben@example.com").event("y", channel="web")

    def seen(name: str) -> bool:
        with desk.session(account="A-1") as session:
            return session.context().seen(name)

    assert (seen("x"), seen("y")) == (True, False)
    desk.link("account=A-1", Identifier("email", " Ben@Example.com"), reason="the same address")
    assert seen("y")
    desk.retract("email=ben@example.com", "account=A-1", reason="a typo")
    assert not seen("y")
    fake_hub.clock.advance("1s")  # what was said of the past does not take back what comes
    desk.link("account=A-1", "email=ben@example.com")
    assert seen("y")
    (linked,) = [fact for fact in fake_hub.facts if fact.kind == LINK][-1:]
    desk.retract("account=A-1", "email=ben@example.com", fact=linked.id.hex())
    assert not seen("y")
    desk.separate("account=A-1", "email=ben@example.com")
    desk.link("account=A-1", "email=ben@example.com")
    assert not seen("y")
    (link,) = [fact for fact in fake_hub.facts if fact.kind == LINK][:1]
    assert (link.touchpoint, link.channel, link.properties) == ("desk", "desk", {"reason": "the same address"})


def test_an_ended_number_is_somebody_elses_from_then_on(fake_hub: FakeHub) -> None:
    desk = fake_hub.touchpoint(segue.Touchpoint("desk"))
    fake_hub.customer(account="A-1", phone="+491").event("x", ago="3h")
    desk.end("account=A-1", "phone=+491", occurred_at=datetime.fromtimestamp(fake_hub.clock() / 1e6 - 3600, UTC))
    fake_hub.customer(account="A-2", phone="+491").event("y", ago="5m")
    with desk.session(phone="+491") as now, desk.session(account="A-1") as ann:
        assert (now.context().seen("x"), now.context().seen("y")) == (False, True)
        assert (ann.context().seen("x"), ann.context().seen("y")) == (True, False)


class Hostile(str):
    """A host's own value that cannot even be read."""

    def partition(self, sep: str, /) -> tuple[str, str, str]:
        raise RuntimeError("on purpose")


def test_a_host_is_never_hurt_by_what_it_says(fake_hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEGUE_STRICT", "0")
    desk = fake_hub.touchpoint(segue.Touchpoint("desk", strict=False))
    desk.runtime().config = segue.config.load("desk", strict=False)
    desk.link("A-1", "phone=p")
    desk.link(Hostile("account=A-1"), "phone=p")
    desk.link(None, 7)  # type: ignore[arg-type]
    desk.retract("account=A-1", "phone=p", fact="no id")
    desk.end("account=A-1", "phone=p", occurred_at=datetime(2026, 1, 1))  # without a zone
    desk.separate("account=A-1", "account=A-1", reason="x" * 600)
    assert fake_hub.facts == []
    assert desk.refused == {"link:link": 3, "retraction:retraction": 1, "ending:ending": 1, "separation:separation": 1}


# Differences.


def portrait(**told: Any) -> dict[str, Any]:
    empty: dict[str, Any] = {
        "customer": "account=A-1", "at": "t", "plan": "p", "facts": 0, "identifiers": ["account=A-1"], "traits": {},
        "consents": {}, "subscriptions": {}, "journeys": [], "ended": [], "audiences": [], "activity": {},
        "decisions": [], "actions": [], "choices": {}, "claims": {}, "arms": {},
    }  # fmt: skip
    return empty | told


def standing(state: str, stage: str = "", key: str = "T1") -> dict[str, Any]:
    ended = "t" if state in ("completed", "abandoned") else None
    return {"map": "m", "key": key, "started_at": "s", "state": state, "stage": stage, "ended_at": ended}


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ({}, {}, []),
        ({"consents": {"marketing": "granted"}}, {"consents": {"marketing": "withdrawn"}},
         ["consent marketing: 'granted' -> 'withdrawn'"]),
        ({"subscriptions": {"email:news": "opted_in"}}, {}, ["subscription email:news: gone"]),
        ({}, {"choices": {"channel:email": "no"}}, ["choice channel:email: 'no', not told of before"]),
        ({"claims": {"conversation": {"holder": "chat", "until": "t"}}},
         {"claims": {"conversation": {"holder": "desk", "until": "u"}}}, ["claim conversation: 'chat' -> 'desk'"]),
        ({"claims": {"conversation": {"holder": "chat", "until": "t"}}},
         {"claims": {"conversation": {"holder": "chat", "until": "u"}}}, []),
        ({}, {"journeys": [standing("running", "details")]}, ["journey m T1 began: running at details"]),
        ({"journeys": [standing("running", key="")]}, {"ended": [standing("abandoned", key="")]},
         ["journey m: running -> abandoned"]),
        ({"journeys": [standing("running")]}, {}, ["journey m T1 is no longer told of: it was running"]),
        ({"ended": [standing("completed")]}, {}, []),
        ({"identifiers": ["account=A-1", "cookie=c"]}, {}, ["known by cookie=c no longer"]),
        ({"activity": {"ivr": {"total": 2}}}, {"activity": {"ivr": {"total": 5}, "web": {"total": 1}}},
         ["seen: ivr +3, web +1"]),
        ({}, {"decisions": [{"id": "1", "touchpoint": "chat", "type": "chat.route", "properties": {"value": "bot"}}]},
         ["chat decided chat.route = 'bot'"]),
        ({}, {"actions": [{"id": "1", "touchpoint": "crm", "type": "offer", "properties": {"status": "failed"}}]},
         ["crm did offer (failed)"]),
    ],
)  # fmt: skip
def test_differences_in_words(before: dict[str, Any], after: dict[str, Any], words: list[str]) -> None:
    assert difference(portrait(**before), portrait(**after))["words"] == words
