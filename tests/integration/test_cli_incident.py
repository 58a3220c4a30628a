"""Incidents on the command line: opened, fixed, announced, listed; for people and for programs."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from segue.domain.instant import SECOND, instant_text, parse_instant
from segue_hub.testing import RunningHub, run_hub

from tests.calling import now
from tests.commanding import Command

PLAN = {
    "touchpoints.yaml": """
ops: {channel: web, writes: ["incident:OPS-*"], reads: {}}
app: {channel: app, writes: ["x.*"], reads: {}}
"""
}


@pytest.fixture
def hub() -> Iterator[RunningHub]:
    with run_hub(PLAN) as running:
        yield running


@pytest.fixture
def segue_hub(hub: RunningHub) -> Command:
    return Command.of(hub)


def is_open(hub: RunningHub, name: str) -> bool:
    return hub.hub.plans.current.workspace.state(name, now() + SECOND).open


def test_an_incident_is_opened_listed_and_fixed(hub: RunningHub, segue_hub: Command) -> None:
    said = segue_hub.ok("incident", "open", "IOS-481", "--title", "Uploads fail", "--workaround", "Use the [b] web")
    assert said.startswith("accepted: IOS-481 opened at ")
    assert is_open(hub, "IOS-481")
    text = segue_hub.ok("incident", "list")
    assert "IOS-481" in text
    assert "Use the [b] web" in text, "what people write is no markup"
    (found,) = segue_hub.json("incident", "list")
    assert found["opened_at"] is not None
    assert {name: found[name] for name in ("incident", "state", "title", "workaround", "fixed_at", "turns_at")} == {
        "incident": "IOS-481", "state": "open", "title": "Uploads fail", "workaround": "Use the [b] web",
        "fixed_at": None, "turns_at": None,
    }  # fmt: skip
    assert segue_hub.json("status")["incidents_open"] == ["IOS-481"]
    assert "incidents open: IOS-481" in segue_hub.ok("status")
    assert segue_hub.ok("incident", "fix", "IOS-481").startswith("accepted: IOS-481 fixed at ")
    assert not is_open(hub, "IOS-481")
    assert "incidents open" not in segue_hub.ok("status")
    assert segue_hub.json("incident", "list") == []
    assert [one["state"] for one in segue_hub.json("incident", "list", "--all")] == ["fixed"]


def test_an_announced_one_is_listed_with_what_it_is_called_and_when_it_turns(segue_hub: Command) -> None:
    begin, end = (instant_text((now() // SECOND + hours * 3600) * SECOND) for hours in (1, 2))
    segue_hub.ok("incident", "open", "N-7", "--title", "Maintenance", "--at", begin)
    segue_hub.ok("incident", "fix", "N-7", "--at", end)
    (found,) = segue_hub.json("incident", "list")
    assert (found["state"], found["title"], found["turns_at"]) == ("announced", "Maintenance", begin)
    assert found["opened_at"] is None


def test_told_twice_under_an_id_of_its_own_it_is_one_fact(hub: RunningHub, segue_hub: Command) -> None:
    for moment in ((), ("--at", "2026-05-04T10:42:00Z")):
        command = ("incident", "open", "IOS-1", "--id", f"alert-{len(moment)}", *moment)
        first, second = segue_hub.json(*command), segue_hub.json(*command)
        assert (first["status"], second["status"]) == ("ACCEPTED", "DUPLICATE")
        assert first["id"] == second["id"]
    assert len(hub.hub.store.workspace_facts()) == 2
    opened = hub.hub.plans.current.workspace.state("IOS-1", now() + SECOND).opened_at
    assert opened == parse_instant("2026-05-04T10:42:00Z")


def test_of_two_that_are_told_for_one_moment_the_later_word_holds(hub: RunningHub, segue_hub: Command) -> None:
    at = ("--at", instant_text((now() // SECOND + 3600) * SECOND))
    segue_hub.ok("incident", "open", "IOS-1", *at)
    segue_hub.ok("incident", "fix", "IOS-1", *at)
    assert segue_hub.json("incident", "list") == [], "the announcement was taken back"
    segue_hub.ok("incident", "open", "IOS-1", *at)
    assert [one["state"] for one in segue_hub.json("incident", "list")] == ["announced"]


def test_a_misspelt_one_that_is_fixed_is_taken_with_a_note_of_what_may_be_meant(segue_hub: Command) -> None:
    segue_hub.ok("incident", "open", "IOS-481")
    result = segue_hub("incident", "fix", "IOS-48l")
    assert result.exit_code == 0
    assert "IOS-48l was never opened. Did you mean 'IOS-481'? [INCIDENT_UNKNOWN]" in result.stderr
    assert segue_hub.json("incident", "fix", "IOS-48l")["code"] == "INCIDENT_UNKNOWN"


def test_in_the_name_of_a_touchpoint_its_grant_decides(segue_hub: Command) -> None:
    assert segue_hub.ok("incident", "open", "OPS-1", "--as", "ops").startswith("accepted")
    error = segue_hub.fails(1, "incident", "open", "IOS-1", "--as", "ops")
    assert "[NOT_GRANTED]" in error
    assert '"incident:IOS-1"' in error
    result = segue_hub("incident", "open", "IOS-1", "--as", "app", "--json")
    assert (result.exit_code, json.loads(result.stdout)["status"]) == (1, "REJECTED")


def test_what_cannot_be_meant_exits_with_2_or_is_refused_with_its_field(segue_hub: Command) -> None:
    assert "--at" in segue_hub.fails(2, "incident", "open", "IOS-1", "--at", "tomorrow")
    assert "Missing argument" in segue_hub.fails(2, "incident", "open")
    assert "[FACT_INVALID]" in segue_hub.fails(1, "incident", "open", "x" * 200)
    assert "[TOO_FAR_AHEAD]" in segue_hub.fails(1, "incident", "open", "IOS-1", "--at", "2099-01-01T00:00:00Z")
    assert "no hub answers" in Command().fails(3, "incident", "open", "IOS-1")
    assert "[KEY_MISSING]" in Command(hub=segue_hub.hub).fails(1, "incident", "list")


def test_the_log_shows_it_among_the_facts(segue_hub: Command) -> None:
    segue_hub.ok("incident", "open", "IOS-481", "--title", "Uploads fail")
    line = segue_hub.ok("events", "tail", "--after", "-1", "--count", "1")
    assert "incident" in line
    assert "IOS-481" in line
    told = json.loads(segue_hub.ok("events", "tail", "--after", "-1", "--count", "1", "--json"))
    assert (told["kind"], told["touchpoint"], told["properties"]["state"]) == ("incident", "@admin", "opened")
    assert "identifiers" not in told
