"""`plan simulate`: a new plan on what really happened, against counting by hand (nothing is written)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from segue.domain.content import Content
from segue.domain.context import Context
from segue.domain.decision import judge
from segue.domain.derivation import derive
from segue.domain.fact import ACTION, CONSENT, DECISION, Fact
from segue.domain.fold import advance, fold, step
from segue.domain.plan import Plan
from segue.domain.projection import Projected
from segue_hub.checking.plan_check import check_plan
from segue_hub.testing import RunningHub, run_hub

from tests.building import BEGIN, DAY, HOUR, fact
from tests.commanding import Command

VOCABULARY = """
channels: {app: {}, email: {}, chat: {assisted: true}}
events: {transfer.started: {}, transfer.completed: {}}
purposes: [service, marketing]
"""
MAP = """
map: transfer
starts: 'event.type == "transfer.started"'
reaches_goal: 'event.type == "transfer.completed"'
stalls: {after: "%s"}
abandons: {after: "60d"}
"""
TOUCHPOINTS = """
email: {owner: crm, channel: email, writes: ["*"]}
app: {owner: payments, channel: app, writes: ["*", "consent:*"]}
"""
AUDIENCES = """
stuck: {when: 'journey.transfer.stalled'}
%s
"""
GUARDRAILS = """
consent: {applies_to: 'action.purpose == "marketing"', requires_consent: marketing, reason: No consent., owner: privacy}
pressure: {applies_to: 'action.purpose == "marketing"', cap: {limit: %d, window: "7d"}, reason: Enough., owner: crm}
"""


def files(stalls: str = "1d", limit: int = 5, audience: str = "writers: {when: 'seen(\"app\")'}") -> dict[str, str]:
    return {
        "vocabulary.yaml": VOCABULARY, "maps/transfer.yaml": MAP % stalls, "touchpoints.yaml": TOUCHPOINTS,
        "audiences.yaml": AUDIENCES % audience, "guardrails.yaml": GUARDRAILS % limit,
    }  # fmt: skip


def customers() -> list[list[Fact]]:
    """Six: those with a consent get a mail every second day; the last decision was held back."""
    found = []
    for number in range(6):
        who = f"account=S-{number}"
        log = [fact("transfer.started", f"{number}h", who, channel="app", touchpoint="app")]
        if number % 2:
            log.append(fact("marketing", "1h", who, kind=CONSENT, state="granted", touchpoint="app"))
        for mail in range(number):
            at = BEGIN + (2 * mail + 1) * DAY + number * HOUR
            decided = fact(
                "email.offer", at, who, kind=DECISION, touchpoint="email", channel="email", value="offer.upsell",
                reason="RULE", action={"topic": "b", "purpose": "marketing"},
            )  # fmt: skip
            done = fact(
                "offer.upsell", at + 1, who, kind=ACTION, touchpoint="email", channel="email", topic="b",
                purpose="marketing", status="completed", decision_id=decided.id.hex(), details={},
            )  # fmt: skip
            log += [decided, done]
        if number == 5:
            log.append(fact("transfer.completed", "4d", who, channel="app", touchpoint="app"))
        found.append(sorted(log, key=lambda f: f.order))
    return found


class Time:
    now = BEGIN + 12 * DAY

    def __call__(self) -> int:
        return self.now


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningHub]:
    with run_hub(files(), store=tmp_path_factory.mktemp("hub") / "segue.db", clock=Time()) as running:
        for log in customers():
            for touchpoint in ("app", "email"):
                mine = [f for f in log if f.touchpoint == touchpoint]
                if mine:
                    grant = running.hub.plans.current.grant(touchpoint)
                    results = running.call(running.hub.ingest.publish(mine, grant))
                    assert {r.status for r in results} == {"ACCEPTED"}, results
        yield running


def write(folder: Path, texts: dict[str, str]) -> Path:
    for name, text in texts.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder


def plan_of(texts: dict[str, str]) -> Plan:
    document = check_plan(texts).document
    assert document is not None
    return Plan(document)


def by_hand(plan: Plan, since: int = 0) -> dict[str, Any]:
    """The plainest counting: fold anew before every mail; those held back did not happen."""
    held: dict[str, int] = {}
    count = judged = 0
    for log in customers():
        happened: list[Fact] = []
        skipped: set[str] = set()
        for f in log:
            if f.kind == DECISION and f.occurred_at >= since:
                judged += 1
                content = Content()
                for before in happened:
                    step(content, plan, before)
                action = {"kind": "offer.upsell", "topic": "b", "purpose": "marketing", "advances": "",
                          "channel": "email", "touchpoint": "email"}  # fmt: skip
                verdicts = [v for v in judge(action, Context(Projected(content), plan, f.occurred_at)) if v.binds]
                if verdicts:
                    count += 1
                    skipped.add(f.id.hex())
                for name in {v.guardrail for v in verdicts}:
                    held[name] = held.get(name, 0) + 1
            if f.kind != ACTION or f.properties["decision_id"] not in skipped:
                happened.append(f)
    members = {
        name: sorted(
            f"account=S-{n}" for n, log in enumerate(customers()) if _members(plan, log).get(name)
        )
        for name in plan.audiences
    }  # fmt: skip
    return {"judged": judged, "count": count, "held": held, "members": members}


def _members(plan: Plan, log: list[Fact]) -> Any:
    content = fold(plan, log)
    advance(content, plan, Time.now)
    return derive(content, plan, Time.now).audiences


@pytest.fixture
def segue_hub(hub: RunningHub) -> Command:
    return Command(hub.address, hub.admin_key)


@pytest.mark.parametrize("since", [0, BEGIN + 4 * DAY])
def test_it_counts_what_counting_by_hand_counts(
    hub: RunningHub, segue_hub: Command, tmp_path: Path, since: int
) -> None:
    new = files("20d", 1, "writers: {when: 'count(\"app\") >= 2'}\nsettled: {when: '!journey.transfer.active'}")
    folder = write(tmp_path, new)
    options = ["--since", "2026-03-06T09:00:00Z"] if since else []
    plain = segue_hub.json("plan", "simulate", folder, *options)
    before, after = by_hand(plan_of(files()), since), by_hand(plan_of(new), since)
    assert before["judged"] == plain["actions"]["judged"] > 0
    assert plain["actions"]["held_back"] == {"in_force": before["count"], "new": after["count"]}
    rows = {r["guardrail"]: (r["in_force"], r["new"]) for r in plain["actions"]["by_guardrail"]}
    names = {*before["held"], *after["held"]}
    assert rows == {name: (before["held"].get(name, 0), after["held"].get(name, 0)) for name in names}
    assert rows["pressure"][1] > rows["pressure"][0] == 0
    assert plain["actions"]["newly_held_back"] == after["count"] - before["count"]
    assert plain["actions"]["by_touchpoint"][0]["owner"] == "crm"
    for name in ("stuck", "writers"):
        was, now = set(before["members"][name]), set(after["members"][name])
        audience = plain["audiences"][name]
        assert (audience["in_force"], audience["new"]) == (len(was), len(now))
        assert (audience["joiners"], audience["leavers"]) == (len(now - was), len(was - now))
        assert set(audience["examples"]["leave"]) == was - now
    assert plain["audiences"]["settled"]["in_force"] is None
    journeys = plain["journeys"]["transfer"]
    assert journeys["in_force"] == hub.call(hub.hub.reports.journeys("transfer"))["maps"]["transfer"]
    assert (journeys["in_force"]["started"], journeys["new"]["completed"]) == (6, 1)
    example = plain["actions"]["examples"][0]
    assert (example["guardrail"], example["verdict"], example["touchpoint"]) == ("pressure", "DEFER", "email")


def test_nothing_is_written_and_nothing_changes_for_anybody(
    hub: RunningHub, segue_hub: Command, tmp_path: Path
) -> None:
    before = hub.hub.store.head(), hub.hub.store.counts(), hub.hub.plans.current.digest, len(hub.hub.plans.history)
    segue_hub.json("plan", "simulate", write(tmp_path, files(limit=1)))
    assert before == (
        hub.hub.store.head(), hub.hub.store.counts(), hub.hub.plans.current.digest, len(hub.hub.plans.history)
    )  # fmt: skip


def test_the_plan_in_force_changes_nothing(segue_hub: Command, tmp_path: Path) -> None:
    plain = segue_hub.json("plan", "simulate", write(tmp_path, files()))
    assert plain["plans"]["in_force"] == plain["plans"]["new"]
    assert (plain["actions"]["newly_held_back"], plain["actions"]["newly_allowed"]) == (0, 0)
    assert all(a["joiners"] == a["leavers"] == 0 for a in plain["audiences"].values())
    assert all(m["in_force"] == m["new"] for m in plain["journeys"].values())
    text = segue_hub.ok("plan", "simulate", tmp_path)
    assert "no audience changes" in text
    assert "no journey changes" in text


def test_people_read_whose_actions_are_held_back_by_what(segue_hub: Command, tmp_path: Path) -> None:
    text = segue_hub.ok("plan", "simulate", write(tmp_path, files("20d", 1)), "--since", "2026-03-03T00:00:00Z")
    assert "newly held back" in text
    assert any(line.split()[:4] == ["pressure", "crm", "email", "crm"] for line in text.splitlines())
    assert "-account=S-0" in text, "who leaves an audience, by name"
    assert "→" not in text.partition("journeys that change")[0]


def test_a_plan_with_errors_is_not_simulated(segue_hub: Command, tmp_path: Path) -> None:
    broken = files() | {"audiences.yaml": "stuck: {when: 'journey.transfr.stalled'}\n"}
    said = segue_hub.fails(1, "plan", "simulate", write(tmp_path, broken))
    assert "nothing was simulated" in said
    assert "audiences.yaml" in said
    assert "is no instant" in segue_hub.fails(2, "plan", "simulate", tmp_path, "--since", "soon")


def test_live_traffic_has_its_turn_and_one_runs_at_a_time(hub: RunningHub) -> None:
    document = check_plan(files(limit=1)).document
    assert document is not None
    simulations = _simulations(hub)

    async def run() -> tuple[int, list[Any], str]:
        turns = 0

        async def others() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        beside = asyncio.create_task(others())
        refused = ""
        found = []
        async for progress in simulations.simulate(document, 0):
            try:
                async for _ in simulations.simulate(document, 0):
                    raise AssertionError("two at once")
            except Exception as error:  # noqa: BLE001  # its code is asked
                refused = getattr(error, "code", "")
            found.append(progress)
        beside.cancel()
        return turns, found, refused

    import segue_hub.services.simulation as module

    slice_, told = module.SLICE, module.TOLD_EVERY
    module.SLICE, module.TOLD_EVERY = 0.0, 0.0  # type: ignore[misc]
    try:
        turns, found, refused = hub.call(run())
    finally:
        module.SLICE, module.TOLD_EVERY = slice_, told  # type: ignore[misc]
    assert refused == "OVERLOADED"
    assert turns > 20, "others had their turn between facts"
    assert [p.document is not None for p in found] == [False] * (len(found) - 1) + [True]
    assert len(found) > 2
    assert json.dumps(found[-1].document)


def _simulations(hub: RunningHub) -> Any:
    from segue_hub.services.simulation import Simulations

    inside = hub.hub
    return Simulations(inside.contexts, inside.plans, inside.ingest, inside.clock, lambda: 6)
