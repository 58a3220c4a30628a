"""Shadows: a new version of a decision function beside the one that acts (L6)."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import segue
from segue.domain.decision import Decision
from segue.domain.decision_fact import Basis
from segue.domain.fact import DECISION, MAX_PROPERTIES
from segue.domain.shadow import SUFFIX, pair_from, pair_of, shadow_name
from segue.errors import ConfigError
from segue.shadow import Shadows
from segue.testing import FakeHub
from segue_hub.testing import RunningHub, run_hub

from tests.building import plan
from tests.calling import calling, event
from tests.commanding import Command
from tests.integration.test_decide import post
from tests.joining import EXAMPLE, joined
from tests.waiting import eventually

LOGIC = """
import segue
chat = segue.Touchpoint("chat")


def cautious(c):
    return "bot" if c.journey("money_transfer").stalled else "agent"


@chat.decision("chat.route", default="bot", shadow=cautious)
def route(c):
    return "agent" if c.journey("money_transfer").active else "bot"
"""


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningHub]:
    path = tmp_path_factory.mktemp("logic") / "shadow_logic.py"
    path.write_text(LOGIC, encoding="utf-8")
    with run_hub(EXAMPLE, decisions=[str(path)]) as running:
        yield running


@pytest.fixture
def segue_hub(hub: RunningHub) -> Command:
    return Command.of(hub)


def test_the_shadow_is_asked_beside_recorded_and_never_acts(
    hub: RunningHub, segue_hub: Command, tmp_path: Path
) -> None:
    with calling(hub.address, hub.key("app")) as app:
        app.statuses(*[event("transfer.started", f"account=W-{n}", transfer_id=f"T-{n}") for n in range(4)])
    with joined(hub, "chat", tmp_path) as chat:

        @chat.decision("chat.first", default="bot")
        def route(c: segue.Context) -> str:
            return "agent" if c.journey("money_transfer").active else "bot"

        chat.shadow("chat.first", lambda c: "agent" if c.seen("transfer.started", "1h") and c.seen("ivr") else "bot")
        for number in range(8):
            with chat.session(account=f"W-{number}", wait=5) as customer:
                assert customer.decide(route).value == ("agent" if number < 4 else "bot")
        eventually(lambda: chat.status()["shadows"]["chat.first"]["answered"] == 8)
        assert chat.flush()
        with chat.session(account="W-0", wait=5) as customer:
            eventually(lambda: customer.context().content.decisions)
            assert {fact.type for fact in customer.context().content.decisions} == {"chat.first"}
            assert "shadow" not in str(customer.brief())
    plain = segue_hub.json("decision", "compare", "chat.first")
    assert (plain["pairs"], plain["agree"], plain["differ"], plain["agreement"]) == (8, 4, 4, 0.5)
    (found,) = plain["differences"]
    assert (found["was"], found["now"], found["count"], found["customers"]) == ('"agent"', '"bot"', 4, 4)
    assert set(found["examples"]) == {f"account=W-{n}" for n in range(4)}
    assert found["read"][0] == {"what": "seen('transfer.started', '1h') is True", "count": 4}
    assert plain["functions"]["was"] != plain["functions"]["now"]
    text = segue_hub.ok("decision", "compare", "chat.first")
    assert "50.0% of 8 pairs agree (8 customers)" in text
    assert "no pair of answers" in segue_hub.fails(
        1, "decision", "compare", "chat.first", "--since", "2099-01-01T00:00:00Z"
    )
    assert "touchpoint.shadow('chat.other', new_function)" in segue_hub.fails(1, "decision", "compare", "chat.other")


def test_the_hub_asks_the_shadow_after_it_has_answered(hub: RunningHub, segue_hub: Command) -> None:
    key = hub.key("chat")
    for number in range(3):
        body = {"decision": "chat.route", "identifiers": {"account": f"V-{number}"}}
        for _ in range(2):
            assert post(hub.http, body, key)[1]["value"] == "bot"
    eventually(lambda: hub.hub.decisions.counts["shadows"] == 6)
    plain = segue_hub.json("decision", "compare", "chat.route")
    assert (plain["pairs"], plain["differ"], plain["failed"]) == (3, 3, 0), "recorded when a pair changed"
    assert plain["differences"][0]["was"] == '"bot"'
    assert plain["differences"][0]["now"] == '"agent"'


def test_the_report_needs_the_admins_key(hub: RunningHub) -> None:
    team = Command(hub.address, hub.key("chat"))
    assert "NOT_GRANTED" in team.fails(1, "decision", "compare", "chat.route")


def test_a_shadow_that_never_comes_back_holds_up_no_host(hub: RunningHub, tmp_path: Path) -> None:
    gate = threading.Event()
    with joined(hub, "chat", tmp_path) as chat:

        @chat.decision("chat.stuck", default="bot", record="always", shadow=lambda c: gate.wait(30))
        def route(c: segue.Context) -> str:
            return "bot"

        began = time.monotonic()
        with chat.session(account="U-1", wait=5) as customer:
            for _ in range(1500):
                assert customer.decide(route).value == "bot"
        assert chat.flush(20), "what the host decided is out, whatever its shadow does"
        assert time.monotonic() - began < 25
        assert chat.status()["shadows"]["chat.stuck"]["skipped"] > 0
        gate.set()


@pytest.mark.parametrize("error", [ValueError("no"), SystemExit(3), KeyboardInterrupt()])
def test_whatever_a_shadow_raises_is_counted_and_breaks_nothing(
    hub: RunningHub, tmp_path: Path, error: BaseException
) -> None:
    def new(c: segue.Context) -> str:
        raise error

    with joined(hub, "chat", tmp_path) as chat:
        question = chat.decision("chat.raises", shadow=new)(lambda c: "bot")
        with chat.session(account="U-2", wait=5) as customer:
            assert customer.decide(question).value == "bot"
            eventually(lambda: chat.status()["shadows"]["chat.raises"]["failed"] == 1)
            assert customer.decide(question).value == "bot"
        eventually(lambda: chat.status()["shadows"]["chat.raises"]["failed"] == 2)


def test_on_the_fake_hub_a_test_sees_both() -> None:
    fake = FakeHub(plan())
    chat = segue.Touchpoint("desk", hub="")
    question = chat.decision("chat.route")(lambda c: "old")
    chat.shadow("chat.route", lambda c: "new")
    with fake.touchpoint(chat).session(account="A-1") as customer:
        assert customer.decide(question).value == "old"
    told = [fact for fact in fake.facts if fact.kind == DECISION]
    assert [fact.type for fact in told] == ["chat.route", "chat.route" + SUFFIX]
    assert not pair_from(told[1].properties).agree
    assert told[1].properties["was"]["id"] == told[0].id.hex()


def test_a_shadow_of_nothing_is_refused() -> None:
    chat = segue.Touchpoint("chat", hub="")
    with pytest.raises(
        ConfigError, match=r"no question is called 'chat.route': register it first\. There is: none yet"
    ):
        chat.shadow("chat.route", lambda c: "new")


def test_a_pair_of_any_size_can_be_written_down() -> None:
    from tests.unit.test_decision import asked

    big = asked(lambda c: ["x" * 1000] * 60)
    _, raw = pair_of(big, big, Basis())
    assert len(raw) <= MAX_PROPERTIES
    assert pair_from(json.loads(raw)).agree


def test_agreement_is_about_what_becomes_of_the_customer() -> None:
    from tests.unit.test_decision import asked

    def pair(one: Any, other: Any) -> Any:
        was: Decision = asked(one)
        return pair_from(json.loads(pair_of(was, asked(other), Basis())[1]))

    assert pair(lambda c: "a", lambda c: "a" if not c.seen("ivr") else "b").agree, "for other reasons, but alike"
    assert not pair(lambda c: "a", lambda c: "b").agree
    assert pair(lambda c: "a", lambda c: "b" if not c.seen("ivr") else "a").decided_by == ("seen('ivr')", False)
    assert pair(lambda c: "a", lambda c: 1 // 0).failed
    assert not pair(lambda c: segue.Action("help.tip"), lambda c: segue.Action("help.tip", topic="x")).agree


def test_shadows_leave_no_thread_behind_and_survive_a_closed_queue() -> None:
    shadows = Shadows()
    assert not [t for t in threading.enumerate() if t.name == "segue-shadow" and t is shadows._thread]
    done = threading.Event()
    shadows.ask("q", lambda: bool(done.set()) or True)
    assert done.wait(5)
    thread = shadows._thread
    assert thread is not None
    shadows.close()
    thread.join(5)
    assert not thread.is_alive()
    assert shadow_name("q") == "q#shadow"
