"""Hosts: their listeners, their odd values and their missing plans neither stop the SDK nor are stopped by it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import segue
from segue.domain.plan import Plan
from segue.errors import PlanError
from segue_hub.testing import RunningHub, run_hub

from tests.calling import calling, event
from tests.joining import joined
from tests.serving import free_port
from tests.waiting import eventually

PLAN = {"audiences.yaml": 'seen_x:\n  owner: o\n  title: t\n  when: \'count("x", "24h") >= 1\'\n'}


@pytest.fixture(scope="module")
def hub() -> Iterator[RunningHub]:
    with run_hub(PLAN) as running:
        yield running


def others_tell(hub: RunningHub, name: str) -> None:
    with calling(hub.address, hub.key("other")) as caller:
        assert caller.statuses(event("x", name)) == ["ACCEPTED"]


def in_time(act: Any, seconds: float = 5.0) -> bool:
    """Whether something the host calls returns at all."""
    returned = threading.Event()

    def run() -> None:
        act()
        returned.set()

    threading.Thread(target=run, daemon=True).start()
    return returned.wait(seconds)


# Listeners of audiences.


def test_a_listener_that_uses_the_sdk_does_not_deadlock(hub: RunningHub, tmp_path: Path) -> None:
    with joined(hub, "app", tmp_path) as app, app.session(account="M-1", wait=5) as session:
        heard: list[str] = []

        def listen(members: list[Any], reset: bool) -> None:
            for customer, _, left in members:
                if not left:
                    session.track("noticed")
                    session.set_trait("noticed", True)
                    app.session(account="M-1-other", wait=0).close()
                    app.status()
                    heard.append(customer)

        app.watch_audience("seen_x", listen)
        others_tell(hub, "account=M-1")
        eventually(lambda: heard)
        assert in_time(lambda: session.track("host"))
        eventually(lambda: session.context().count("noticed") == 1)
        assert app.flush()


def test_a_listener_that_raises_ends_nothing_and_hears_the_next_change(hub: RunningHub, tmp_path: Path) -> None:
    with joined(hub, "app", tmp_path) as app, app.session(account="M-2", wait=5) as session:
        calls: list[int] = []

        def listen(members: list[Any], reset: bool) -> None:
            calls.append(len(members))
            raise ZeroDivisionError

        app.watch_audience("seen_x", listen)
        eventually(lambda: calls)
        stream = app.runtime()._call
        before = len(calls)
        others_tell(hub, "account=M-2")
        eventually(lambda: len(calls) > before)
        eventually(lambda: session.context().count("x") == 1)
        assert app.runtime()._call is stream
        assert app.status()["connection"] == "READY"


def test_a_slow_listener_keeps_no_host_waiting(hub: RunningHub, tmp_path: Path) -> None:
    with joined(hub, "app", tmp_path) as app, app.session(account="M-3", wait=5) as session:
        inside, go_on = threading.Event(), threading.Event()

        def listen(members: list[Any], reset: bool) -> None:
            inside.set()
            go_on.wait(10)

        app.watch_audience("seen_x", listen)
        assert inside.wait(5)
        question = app.decision("any")(lambda c: c.count("host"))
        try:
            assert in_time(lambda: session.track("host"))
            assert session.decide(question).value == 1
            assert app.flush()
        finally:
            go_on.set()


def test_what_a_host_hears_while_it_closes_is_not_told_to_the_next_process(hub: RunningHub, tmp_path: Path) -> None:
    """Regression: a program that heard what it waited for and closed at once heard the same when it was run again."""
    others_tell(hub, "account=M-4")
    inside, go_on = threading.Event(), threading.Event()

    def tell(tellings: list[segue.Telling]) -> None:
        inside.set()
        go_on.wait(10)

    with joined(hub, "app", tmp_path) as app:
        app.watch("seen_x", tell, cursor="closing")
        assert inside.wait(10)
        closing = threading.Thread(target=app.close)
        closing.start()
        eventually(lambda: app._runtime is None)
        go_on.set()
        closing.join(10)
        assert not closing.is_alive()
    (cursor,) = eventually(lambda: [c for c in hub.hub.ledger.cursors() if not c["instances"]])
    assert (cursor["name"], cursor["waiting"]) == ("closing", 0)


# Without a plan.


def offers(touchpoint: segue.Touchpoint) -> tuple[segue.Decision, segue.Decision]:
    """What it decides on a marketing action and on one of service."""
    made = []
    for purpose in ("marketing", "service"):
        action = segue.Action(kind="offer.loan", purpose=purpose)
        question = touchpoint.decision(f"offer.{purpose}")(lambda c, action=action: action)
        with touchpoint.session(account="M-10", wait=0) as session:
            made.append(session.decide(question))
    return made[0], made[1]


def test_while_no_plan_has_arrived_from_a_configured_hub_marketing_is_held_back_and_service_goes_out(
    tmp_path: Path,
) -> None:
    app = segue.Touchpoint("app", hub=f"127.0.0.1:{free_port()}", key="k", state=tmp_path)
    marketing, service = offers(app)
    assert (marketing.allowed, marketing.reason) == (False, "HELD_BACK")
    assert [verdict.guardrail for verdict in marketing.verdicts] == ["no_plan_yet"]
    assert "No plan has arrived yet" in marketing.explain()
    assert service.allowed
    assert app.status()["plan"] == ""
    app.close()


def test_a_refused_first_plan_holds_marketing_back_and_lets_service_go_out(
    hub: RunningHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = hub.hub.plans.current.digest
    make = Plan.__init__

    def refusing(self: Plan, document: Any) -> None:
        make(self, document)
        if self.digest == digest:
            raise PlanError("this SDK cannot run it")

    monkeypatch.setattr(Plan, "__init__", refusing)
    with joined(hub, "app", tmp_path) as app:
        eventually(lambda: app.status()["plan_refused"])
        with app.session(account="M-10", wait=5) as session:
            session.track("x")
            eventually(lambda: session.context().version > 0)
            assert session.context().freshness.state == "LIVE"
            marketing, service = offers(app)
        assert not marketing.allowed
        assert service.allowed
        assert app.status()["plan"] == ""


def test_who_works_without_a_hub_or_with_one_that_has_no_plan_is_held_back_by_nothing(tmp_path: Path) -> None:
    alone = segue.Touchpoint("app", hub="", state=tmp_path / "alone")
    assert all(decision.allowed for decision in offers(alone))
    alone.close()
    with run_hub() as planless, joined(planless, "app", tmp_path) as app:
        eventually(lambda: app.status()["plan"])
        assert all(decision.allowed for decision in offers(app))


def test_a_plan_that_arrives_replaces_the_waiting_one(hub: RunningHub, tmp_path: Path) -> None:
    with joined(hub, "app", tmp_path) as app:
        eventually(lambda: app.status()["plan"] == hub.hub.plans.current.digest)
        assert all(decision.allowed for decision in offers(app))


# Odd values and ends.


@pytest.mark.parametrize(
    "properties",
    [{1: 2, "a": 3}, {"x": "\ud800"}, {"x": "y" * 100_000}, {"x": object()}, {"x": {1, 2}}, {"x": float("nan")}],
    ids=["mixed keys", "surrogate", "too large", "object", "set", "nan"],
)
def test_an_action_that_cannot_be_told_does_not_raise_after_the_host_acted_and_is_counted(
    tmp_path: Path, properties: dict[Any, Any]
) -> None:
    app = segue.Touchpoint("app", hub="", state=tmp_path, strict=False)
    question = app.decision("odd", record="never")(lambda c: segue.Action(kind="offer", properties=properties))
    with app.session(account="M-20") as session:
        acted = []
        with session.decide(question).act():
            acted.append(1)
        assert acted == [1]
        eventually(lambda: told(app) == 1)
        with pytest.raises(ZeroDivisionError), session.decide(question).act():
            raise ZeroDivisionError
        eventually(lambda: told(app) == 2)
        session.track("still.works", durable=True)
        assert told(app) == 3
    app.close()


def told(app: segue.Touchpoint) -> int:
    """Facts that wait or were counted as not taken."""
    status = app.status()
    return int(status["waiting"] + sum(status["refused_here"].values()) + sum(status["losses"].values()))


def test_what_is_told_after_the_touchpoint_closed_is_counted_as_lost(tmp_path: Path) -> None:
    app = segue.Touchpoint("app", hub="", state=tmp_path)
    question = app.decision("late", record="always")(lambda c: "answer")
    session = app.session(account="M-21")
    session.track("in.time")
    outbox = app.runtime().outbox
    app.close()
    session.track("too.late")
    session.set_trait("too", "late")
    assert session.decide(question).value == "answer"
    assert (outbox.losses, outbox.offered) == ({"closed": 3}, 4)
    again = segue.Touchpoint("app", hub="", state=tmp_path)
    eventually(lambda: again.status()["waiting"] == 1)
    again.close()


def test_what_is_told_while_the_touchpoint_closes_is_kept_or_counted(tmp_path: Path) -> None:
    app = segue.Touchpoint("app", hub="", state=tmp_path)
    session = app.session(account="M-22")
    runtime, stop, sent = app.runtime(), threading.Event(), [0]

    def host() -> None:
        while not stop.is_set() and sent[0] < 20_000:
            session.track("x")
            sent[0] += 1

    telling = threading.Thread(target=host)
    telling.start()
    eventually(lambda: sent[0] > 200)
    app.close()
    session.track("x")
    stop.set()
    telling.join(10)
    outbox = runtime.outbox
    lost = sum(outbox.losses.values())
    assert outbox.offered == sent[0] + 1
    again = segue.Touchpoint("app", hub="", state=tmp_path)
    eventually(lambda: again.status()["waiting"] == sent[0] + 1 - lost)
    again.close()


def test_a_session_closed_twice_lets_go_once(tmp_path: Path) -> None:
    app = segue.Touchpoint("app", hub="", state=tmp_path)
    first, second = app.session(account="M-23"), app.session(account="M-23")
    first.close()
    first.close()
    with first:
        pass
    assert second._held.users == 1
    second.close()
    assert second._held.users == 0
    app.close()


@pytest.mark.parametrize("size", [70_000, 3_000_000])
def test_a_decision_of_any_size_is_given_whole_and_recorded_cut(hub: RunningHub, tmp_path: Path, size: int) -> None:
    name = f"M-24-{size}"
    with joined(hub, "app", tmp_path) as app, app.session(account=name, wait=5) as session:
        big = app.decision("big")(lambda c: "x" * size)
        assert session.decide(big).value == "x" * size
        session.track("after")
        assert app.flush()
        assert app.status()["losses"] == {}
        (decision,) = eventually(lambda: session.context().decisions("big"))
        assert 500 < len(decision.properties["value"]) <= 1000
        assert session.context().count("after") == 1
