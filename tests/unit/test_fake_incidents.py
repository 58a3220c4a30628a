"""Incidents in a channel team's own tests: the fake hub opens and fixes them, the real SDK reads them."""

from __future__ import annotations

import pytest
import segue
from segue.errors import FactError
from segue.testing import FakeHub

from tests.building import document

PLAN = {
    "guardrails": {
        "broken": {"applies_to": 'action.purpose == "marketing"', "suppress_when": 'incident("IOS-481").open',
                   "reason": "Uploads are broken."},
    },
    "calendars": {"support": {"zone": "UTC", "hours": [{"days": ["mon"], "from": "08:00", "to": "18:00"}]}},
    "audiences": {"invited": {"when": '!incident("IOS-481").open'}},
}  # fmt: skip

mail = segue.Touchpoint("mail")


@mail.decision("mail.offer")
def offer(c: segue.Context) -> segue.Action:
    return segue.Action("offer.plan", purpose="marketing")


@mail.decision("mail.tell", default="nothing")
def tell(c: segue.Context) -> str:
    return ", ".join(f"{one.id}: {one.workaround}" for one in c.incidents()) or "all is well"


def test_a_guardrail_an_audience_and_a_function_know_of_it_while_it_lasts() -> None:
    fake = FakeHub(document(PLAN))
    fake.customer(account="A").event("x")
    with fake.touchpoint(mail).session(account="A") as session:
        assert session.decide(offer).allowed
        fake.open_incident("IOS-481", title="Uploads fail", workaround="use the web", ago="5m")
        assert not session.decide(offer).allowed
        assert session.decide(tell).value == "IOS-481: use the web"
        assert not session.context().in_audience("invited")
        fake.fix_incident("IOS-481")
        assert session.decide(offer).allowed
        assert session.decide(tell).value == "all is well"


def test_what_is_announced_comes_with_the_clock_also_with_the_hub_down() -> None:
    fake = FakeHub(document(PLAN))
    with fake.touchpoint(mail).session(account="A") as session:
        fake.open_incident("IOS-481", later="1h")
        fake.fix_incident("IOS-481", later="3h")
        fake.down = True
        for hours, allowed in ((1, False), (1, False), (1, True)):
            fake.clock.advance(f"{hours}h")
            assert session.decide(offer).allowed is allowed


def test_while_the_fake_is_down_nothing_new_is_heard() -> None:
    fake = FakeHub(document(PLAN))
    with fake.touchpoint(mail).session(account="A") as session:
        fake.down = True
        fake.open_incident("IOS-481")
        assert session.decide(offer).allowed
        fake.down = False
        fake.customer(account="A").event("x")
        assert not session.decide(offer).allowed


def test_a_new_plan_keeps_the_incidents_and_a_touchpoint_tells_of_them() -> None:
    fake = FakeHub()
    with fake.touchpoint(mail).session(account="A") as session:
        mail.open_incident("IOS-481")
        assert session.decide(offer).allowed
        fake.push(document(PLAN))
        assert not session.decide(offer).allowed
        mail.fix_incident("IOS-481")
        assert session.decide(offer).allowed
        assert [fact.type for fact in fake.facts if fact.kind == "incident"] == ["IOS-481", "IOS-481"]


def test_what_cannot_be_an_incident_is_loud_in_tests() -> None:
    fake = FakeHub()
    fake.touchpoint(mail)
    with pytest.raises(FactError, match="names no incident"):
        fake.open_incident("")
    with pytest.raises(FactError, match="names no incident"):
        mail.open_incident("")


def test_a_calendar_is_read_at_the_clock_of_the_test() -> None:
    from segue.testing import Clock

    fake = FakeHub(document(PLAN), Clock("2026-03-02T17:59:00Z"))
    with fake.touchpoint(mail).session(account="A") as session:
        assert session.context().calendar("support").open
        fake.clock.advance("1m")
        assert not session.context().calendar("support").open
