"""The federation in step: what one touchpoint tells, the others decide on; plans, grants and ends reach them all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import segue
from segue.domain.plan import Plan
from segue.errors import PlanError
from segue_hub.checking.plan_check import read_directory
from segue_hub.server import sync_service
from segue_hub.testing import RunningHub, run_hub

from tests.joining import EXAMPLE, joined
from tests.waiting import eventually

READS = (
    "{service: [identity, traits.business, journeys, activity, timeline, interactions, decisions, actions, audiences,"
    " claims]}"
)


def with_text(file: str, before: str, after: str) -> dict[str, str]:
    """The example plan with one text replaced."""
    files = read_directory(EXAMPLE)
    assert before in files[file]
    files[file] = files[file].replace(before, after)
    return files


@pytest.fixture
def hub() -> Iterator[RunningHub]:
    with run_hub(EXAMPLE) as running:
        yield running


class Crew:
    """Touchpoints by name, made when asked for."""

    def __init__(self, stack: ExitStack, hub: RunningHub, folder: Path) -> None:
        self._stack, self._hub, self._folder = stack, hub, folder

    def __call__(self, name: str, **more: Any) -> segue.Touchpoint:
        return self._stack.enter_context(joined(self._hub, name, self._folder, **more))


@pytest.fixture
def crew(hub: RunningHub, tmp_path: Path) -> Iterator[Crew]:
    with ExitStack() as stack:
        yield Crew(stack, hub, tmp_path)


def instance(hub: RunningHub, touchpoint: str) -> dict[str, Any]:
    async def read() -> dict[str, Any]:
        return hub.hub.overview.plain()

    plain = hub.call(read())
    return next((i for i in plain["instances"] if i["touchpoint"] == touchpoint), {})


def test_what_one_touchpoint_tells_the_others_decide_on_at_once(crew: Crew) -> None:
    app, chat = crew("app"), crew("chat")

    @chat.decision("chat.route", default="bot")
    def route(c: segue.Context) -> str:
        return "agent" if c.journey("money_transfer").active and c.seen("transfer.failed", "1h") else "bot"

    with chat.session(account="A-1") as theirs, app.session(account="A-1") as ours:
        assert theirs.decide(route).value == "bot"
        ours.track("transfer.failed", transfer_id="T")
        eventually(lambda: theirs.decide(route).value == "agent")
        decision = theirs.decide(route)
        assert decision.freshness.state == "LIVE"
        assert decision.version > 0
        assert "transfer.failed" in decision.explain()


def test_a_login_merges_what_two_channels_know(crew: Crew) -> None:
    app, chat = crew("app"), crew("chat")
    with app.session(device="d-1") as anonymous, chat.session(account="A-2") as known:
        anonymous.track("transfer.failed", transfer_id="T")
        app.flush()
        assert known.context().count("transfer.failed") == 0
        anonymous.identify(account="A-2")
        eventually(lambda: known.context().count("transfer.failed") == 1)
        eventually(lambda: chat.runtime().machine.replica.all()[0].customer != "")
    with chat.session(device="d-1", wait=5) as same:
        assert same.context().count("transfer.failed") == 1


def test_a_plan_push_reaches_every_touchpoint_and_the_status_shows_who_runs_it(hub: RunningHub, crew: Crew) -> None:
    chat, app = crew("chat"), crew("app")
    before = chat.status()["plan"]
    assert before == hub.hub.plans.current.digest
    after = hub.push(with_text("maps/support.yaml", 'stalls: {after: "2d"}', 'stalls: {after: "3d"}'))
    assert after != before
    eventually(lambda: chat.status()["plan"] == app.status()["plan"] == after)
    eventually(lambda: instance(hub, "chat")["plan"] == instance(hub, "app")["plan"] == after)
    assert instance(hub, "chat")["plan_current"] is True


def test_a_plan_that_an_sdk_cannot_run_is_refused_with_the_reason_and_the_last_good_one_stays(
    hub: RunningHub, crew: Crew, monkeypatch: pytest.MonkeyPatch
) -> None:
    chat, app = crew("chat"), crew("app")
    good = chat.status()["plan"]
    with app.session(account="A-3") as teller, chat.session(account="A-3", wait=5) as customer:
        teller.track("transfer.failed", transfer_id="T")
        eventually(lambda: customer.context().journey("money_transfer").active)

        def too_new(document: Any) -> Plan:
            raise PlanError("this SDK knows no maps of that sort", field="maps.money_transfer")

        monkeypatch.setattr("segue.sync.Plan", too_new)
        bad = hub.push(with_text("maps/support.yaml", 'stalls: {after: "2d"}', 'stalls: {after: "3d"}'))
        eventually(lambda: chat.status()["plan_refused"])
        assert chat.status()["plan"] == good
        assert chat.status()["plan_refused"]["digest"] == bad
        assert "no maps of that sort" in chat.status()["plan_refused"]["reason"]
        shown = eventually(lambda: instance(hub, "chat") if instance(hub, "chat")["plan_refused"] else None)
        assert "no maps of that sort" in shown["plan_refused"]
        assert shown["plan"] == good
        assert shown["plan_current"] is False

        # The hub goes on folding what this instance still runs: nothing is missing, and what happens is seen (VE3).
        @chat.decision("chat.journey", default="unknown")
        def asks(c: segue.Context) -> str:
            return f"{c.journey('money_transfer').active} {c.count('transfer.failed')}"

        chat.runtime().config = type(chat.runtime().config)(touchpoint="chat")  # not strict, as in production
        eventually(lambda: customer.decide(asks).value == "True 1")
        teller.track("transfer.failed", transfer_id="T")
        decision = eventually(lambda: d if (d := customer.decide(asks)).value == "True 2" else None)
        assert decision.reason == "RULE"
        assert decision.freshness.state == "LIVE"
        assert chat.status()["plan"] == good

        monkeypatch.undo()
        best = hub.push(with_text("maps/support.yaml", 'stalls: {after: "2d"}', 'stalls: {after: "4d"}'))
        eventually(lambda: chat.status()["plan"] == best)
        assert not chat.status()["plan_refused"]
        eventually(lambda: customer.decide(asks).value == "True 2")


def test_where_grants_are_narrowed_the_sections_are_gone_from_replicas(hub: RunningHub, crew: Crew) -> None:
    chat, app = crew("chat"), crew("app")
    chat.runtime().machine.keeps = True  # as where contexts are kept on disk: what came is there to look at
    with app.session(account="A-4") as teller, chat.session(account="A-4", wait=5) as customer:
        teller.track("transfer.failed", transfer_id="T")
        eventually(lambda: customer.context().journey("money_transfer").active)
        assert customer.context().timeline()
        hub.push(with_text("touchpoints.yaml", READS, "{service: [activity]}"))
        eventually(lambda: "timeline" in customer.context().content.hidden)
        context = customer.context()
        assert (context.content.timeline, context.content.journeys) == ([], {})
        assert context.count("transfer.failed") == 1
        with pytest.raises(segue.NotGranted):
            context.journey("money_transfer").active  # noqa: B018
        held = chat.runtime().machine.replica.all()[0]
        assert {section.name for section in held.sections} == {"activity", "envelope", "outcomes"}


def test_what_a_touchpoint_may_not_see_still_binds_it(crew: Crew) -> None:
    app, email, crm = crew("app"), crew("email"), crew("crm")

    @email.decision("email.offer")
    def offer(c: segue.Context) -> segue.Action:
        return segue.Action(kind="offer.upsell", purpose="marketing", channel="email")

    with (
        app.session(account="A-5") as teller,
        crm.session(account="A-5", wait=0) as knows,
        email.session(account="A-5", purpose="marketing", wait=5) as customer,
    ):
        teller.consent("marketing", "granted")
        knows.set_trait("value_tier", "high")
        eventually(lambda: customer.decide(offer).allowed)
        teller.track("transfer.failed", transfer_id="T")
        held = eventually(lambda: d if not (d := customer.decide(offer)).allowed else None)
        assert held.verdict.guardrail == "no_selling_in_trouble"
        assert held.verdict.reason == "The customer is trying to solve a problem."
        assert "journeys" in customer.context().content.hidden
        sections = {s.name for s in email.runtime().machine.replica.all()[0].sections}
        assert not sections & {"journeys", "timeline", "traits.financial"}
        teller.track("transfer.completed", transfer_id="T")
        eventually(lambda: customer.decide(offer).allowed)


def test_a_hub_that_stops_is_left_in_good_order_and_found_again(tmp_path: Path) -> None:
    store = tmp_path / "segue.db"
    with run_hub(EXAMPLE, store=store) as first:
        port, key = first.hub.port, first.key("app")
        app = segue.Touchpoint("app", hub=first.address, key=key, state=tmp_path / "app")
        session = app.session(account="A-6", wait=5)
        session.track("transfer.failed", transfer_id="T")
        assert app.flush()
        eventually(lambda: session.context().version > 0)
    try:
        eventually(lambda: app.status()["connection"] == "DOWN")
        session.track("transfer.failed", transfer_id="U")
        assert session.context().count("transfer.failed") == 2
        with run_hub(store=store, port=port) as second:
            eventually(lambda: app.status()["connection"] == "READY", 20)
            assert app.flush(20)
            eventually(lambda: not app.runtime().machine.replica.all()[0].pending)
            assert session.context().count("transfer.failed") == 2
            assert second.hub.store.counts()["facts"] == 2
    finally:
        app.close()


def test_a_revoked_touchpoint_keeps_deciding_on_what_it_holds_and_says_why_it_hears_nothing(
    hub: RunningHub, crew: Crew
) -> None:
    app = crew("app")
    with app.session(account="A-7", wait=5) as session:
        session.track("transfer.failed", transfer_id="T")
        assert app.flush()
        hub.call(hub.hub.touchpoints.revoke("app"))
        eventually(lambda: "not valid" in app.status()["last_error"], 20)
        session.track("transfer.failed", transfer_id="U")
        assert session.context().count("transfer.failed") == 2
        assert not app.flush(0.3)
        assert app.status()["waiting"] == 1


def test_a_bookmark_finds_a_replica_that_went_astray_and_heals_it(
    hub: RunningHub, crew: Crew, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sync_service, "BOOKMARK", 0.1)
    app = crew("app")
    with app.session(account="A-8", wait=5) as session:
        session.track("transfer.failed", transfer_id="T")
        assert app.flush()
        held = app.runtime().machine.replica.all()[0]
        version = eventually(lambda: held.version)
        held.version = version - 1  # as if a frame had been lost on the way
        eventually(lambda: held.version == version)


def test_an_audience_tells_joiners_and_leavers_also_of_mere_time(tmp_path: Path) -> None:
    from tests.calling import now

    shift = [0]
    with run_hub(EXAMPLE, clock=lambda: now() + shift[0]) as hub, ExitStack() as stack:
        crew = Crew(stack, hub, tmp_path)
        app, chat = crew("app"), crew("chat")
        heard: list[tuple[str, bool]] = []
        resets: list[bool] = []

        def tell(members: list[tuple[str, list[segue.Identifier], bool]], reset: bool) -> None:
            resets.append(reset)
            heard.extend((str(names[0]), left) for _, names, left in members)

        with app.session(account="A-9") as early, app.session(account="A-10") as late:
            early.track("transfer.failed", transfer_id="T")
            assert app.flush()
            chat.watch_audience("in_trouble", tell)
            eventually(lambda: heard == [("account=A-9", False)])
            assert resets[0] is True
            late.track("transfer.failed", transfer_id="U")
            eventually(lambda: heard[1:] == [("account=A-10", False)])
            early.track("transfer.completed", transfer_id="T")
            eventually(lambda: heard[2:] == [("account=A-9", True)])
            shift[0] = 3 * 86_400 * 1_000_000 + 60_000_000
            hub._loop.call_soon_threadsafe(hub.hub.timers._changed.set)
            eventually(lambda: heard[3:] == [("account=A-10", True)])
