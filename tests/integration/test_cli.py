"""Commands that look inside a running hub: what they print for people, for programs, and when something is wrong."""

from __future__ import annotations

import csv
import io
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import segue
from segue.domain.instant import instant_text
from segue_hub.testing import RunningHub, run_hub

from tests.commanding import Command
from tests.joining import EXAMPLE, joined
from tests.waiting import eventually


@pytest.fixture(scope="module")
def hub() -> Iterator[RunningHub]:
    with run_hub(EXAMPLE) as running:
        yield running


@pytest.fixture(scope="module")
def segue_hub(hub: RunningHub) -> Command:
    command = Command.of(hub)
    command.ok(
        "events", "send", "transfer.failed", "account=L-1", "device=L-d", "-p", "transfer_id=T", "-p", "amount=12.5"
    )
    command.ok("events", "send", "transfer.started", "account=L-1", "-p", "transfer_id=U")
    return command


# Events.


def test_an_event_that_is_sent_says_what_became_of_it(segue_hub: Command) -> None:
    assert segue_hub.ok("events", "send", "transfer.started", "account=L-2").startswith(
        "accepted: transfer.started at "
    )
    sent = segue_hub.json("events", "send", "transfer.started", "account=L-2")
    assert sent["status"] == "ACCEPTED"
    assert len(bytes.fromhex(sent["id"])) == 16


@pytest.mark.parametrize("moment", [(), ("--at", "2026-05-04T10:42:00Z")], ids=["now", "at a moment"])
def test_an_event_with_an_id_of_its_own_is_one_fact_however_often_it_is_sent(
    segue_hub: Command, moment: tuple[str, ...]
) -> None:
    command = ("events", "send", "transfer.started", "account=L-3", "--id", f"row-{len(moment)}", *moment)
    first, second = segue_hub.json(*command), segue_hub.json(*command)
    assert (first["status"], second["status"]) == ("ACCEPTED", "DUPLICATE")
    assert first["id"] == second["id"]


def test_an_event_that_is_refused_exits_with_1_and_says_the_code_and_the_cure(segue_hub: Command) -> None:
    error = segue_hub.fails(1, "events", "send", "call.started", "account=L-1")
    assert "[NOT_GRANTED]" in error
    assert "touchpoints.yaml" in error


def test_what_cannot_be_meant_exits_with_2(segue_hub: Command) -> None:
    assert "kind=value" in segue_hub.fails(2, "events", "send", "transfer.failed", "L-1")
    assert "--at" in segue_hub.fails(2, "events", "send", "transfer.failed", "account=L-1", "--at", "yesterday")
    assert "Missing argument" in segue_hub.fails(2, "events", "send", "transfer.failed")
    assert "No such command" in segue_hub.fails(2, "evnets")


def test_a_tail_begins_where_asked_and_ends_after_so_many(segue_hub: Command) -> None:
    lines = segue_hub.ok("events", "tail", "--after", "1", "--count", "2").splitlines()
    assert len(lines) == 2
    assert "transfer.failed" in lines[0]
    parsed = [
        json.loads(line)
        for line in segue_hub.ok("events", "tail", "--after", "-1", "--count", "3", "--json").splitlines()
    ]
    positions = [fact["position"] for fact in parsed]
    assert positions == sorted(positions)
    assert parsed[0]["identifiers"] == ["account=L-1", "device=L-d"]


def test_a_tail_of_one_customer_shows_nobody_else(segue_hub: Command) -> None:
    lines = segue_hub.ok("events", "tail", "account=L-2", "--after", "1", "--count", "2", "--json").splitlines()
    assert {json.loads(line)["identifiers"][0] for line in lines} == {"account=L-2"}


# Customers and decisions.


def test_a_customer_is_shown_by_any_identifier(segue_hub: Command) -> None:
    text = segue_hub.ok("customer", "show", "device=L-d")
    assert text.splitlines()[0].startswith("account=L-1")
    assert "money_transfer" in text
    plain = segue_hub.json("customer", "show", "account=L-1")
    assert plain["identifiers"] == ["account=L-1", "device=L-d"]
    assert {journey["key"] for journey in plain["journeys"]} == {"T", "U"}
    assert "in_trouble" in plain["audiences"]


def test_what_she_chose_who_she_is_with_and_her_arm_are_shown_and_told_as_changes(
    hub: RunningHub, segue_hub: Command
) -> None:
    begun = time.time_ns() // 1000
    chat = Command.of(hub, "chat")
    for kind, type_, said in (
        ("choice", "channel:email", ["choice=no"]),
        ("claim", "conversation", ["status=held", f"until={begun + 3_600_000_000}", "note=she waits"]),
        ("exposure", "control", ["arm=treated"]),
    ):
        chat.ok("events", "send", type_, "account=L-77", "--kind", kind, *(p for text in said for p in ("-p", text)))
    text = segue_hub.ok("customer", "show", "account=L-77")
    assert "chose      channel:email = no" in text
    assert "with       chat until " in text
    assert "arm        control: treated" in text
    plain = segue_hub.json("customer", "show", "account=L-77")
    assert (plain["choices"], plain["arms"]) == ({"channel:email": "no"}, {"control": "treated"})
    assert plain["claims"]["conversation"]["holder"] == "chat"
    words = segue_hub.json("customer", "diff", "account=L-77", instant_text(begun - 1), "now")["words"]
    assert "choice channel:email: 'no', not told of before" in words
    assert "claim conversation: 'chat', not told of before" in words
    refused = chat.fails(1, "events", "send", "chanel:email", "account=L-77", "--kind", "choice", "-p", "choice=no")
    assert "FACT_INVALID" in refused
    assert "channel:NAME" in refused


def test_a_timeline_is_newest_first_and_as_long_as_asked(segue_hub: Command) -> None:
    facts = segue_hub.json("customer", "timeline", "account=L-1")
    assert [fact["type"] for fact in facts] == ["transfer.started", "transfer.failed"]
    assert facts[1]["properties"] == {"transfer_id": "T", "amount": 12.5}
    assert len(segue_hub.json("customer", "timeline", "account=L-1", "--limit", "1")) == 1
    assert segue_hub.json("customer", "timeline", "account=L-1", "--kind", "trait") == []
    assert "transfer.failed" in segue_hub.ok("customer", "timeline", "account=L-1")


def test_an_identity_marks_the_name_the_customer_goes_by(segue_hub: Command) -> None:
    assert segue_hub.ok("customer", "identity", "device=L-d").splitlines() == ["* account=L-1", "  device=L-d"]
    assert segue_hub.json("customer", "identity", "device=L-d") == {
        "customer": "account=L-1", "identifiers": ["account=L-1", "device=L-d"]
    }  # fmt: skip


@pytest.mark.parametrize(
    "command", [("customer", "show"), ("customer", "timeline"), ("customer", "identity"), ("decision", "explain")]
)
def test_nobody_is_not_found_and_no_name_is_used_wrongly(segue_hub: Command, command: tuple[str, ...]) -> None:
    assert "nobody is known by account=nobody" in segue_hub.fails(1, *command, "account=nobody")
    assert "kind=value" in segue_hub.fails(2, *command, "nobody")


def test_a_decision_is_explained_as_it_was_recorded(hub: RunningHub, segue_hub: Command, tmp_path: Path) -> None:
    with joined(hub, "chat", tmp_path) as chat:

        @chat.decision("chat.route", default="bot")
        def route(c: segue.Context) -> str:
            return "agent" if c.seen("transfer.failed", "1h") else "bot"

        with chat.session(account="L-1", wait=5) as session:
            eventually(lambda: session.context().version)
            session.decide(route)
            assert chat.flush()
    text = segue_hub.ok("decision", "explain", "account=L-1", "chat.route")
    assert text.splitlines()[0].startswith("chat.route = 'agent'")
    assert "seen('transfer.failed', '1h') is True" in text
    (fact,) = segue_hub.json("decision", "explain", "account=L-1", "chat.route")
    assert fact["properties"]["value"] == "agent"
    assert f"function {fact['properties']['function']}" in text
    why_not = ("decision", "explain", "account=L-1", "--id", fact["id"][:20], "--why-not")
    assert segue_hub.ok(*why_not, "bot") == "Not 'bot': seen('transfer.failed', '1h') is True.\n"
    assert segue_hub.json(*why_not, "agent")["because"] == "chat.route is 'agent'."
    assert "with id ffff" in segue_hub.fails(1, "decision", "explain", "account=L-1", "--id", "ffff")
    assert "no decision 'chat.other'" in segue_hub.fails(1, "decision", "explain", "account=L-1", "chat.other")


ODD = "[red]x[/] [/b] [bold"


def test_what_teams_write_is_printed_as_it_is_and_never_read_as_markup(segue_hub: Command) -> None:
    segue_hub.ok(
        "events", "send", f"transfer.{ODD}", f"account=L{ODD}", "-p", f"transfer_id={ODD}", "-p", f"{ODD}={ODD}"
    )
    segue_hub.ok("events", "send", "transfer.started", f"account=L{ODD}", "-p", f"transfer_id={ODD}")
    for command in (("customer", "show"), ("customer", "timeline"), ("customer", "identity")):
        assert ODD in segue_hub.ok(*command, f"account=L{ODD}"), command
    assert ODD in segue_hub.ok("status")
    assert f"nobody is known by account=N{ODD}" in segue_hub.fails(1, "customer", "show", f"account=N{ODD}")


# Audiences, journeys, status.


def test_audiences_are_listed_with_their_members_now(segue_hub: Command) -> None:
    found = {audience["name"]: audience for audience in segue_hub.json("audience", "list")}
    assert found["in_trouble"]["members"] >= 1
    assert found["in_trouble"]["owner"] == "cx-board"
    assert "transfer.failed" in found["in_trouble"]["when"]
    assert "frequent_caller" in segue_hub.ok("audience", "list")


def test_members_are_printed_one_a_line_and_exported(segue_hub: Command, tmp_path: Path) -> None:
    lines = segue_hub.ok("audience", "members", "in_trouble").splitlines()
    assert "account=L-1  device=L-d" in lines
    parsed = [json.loads(line) for line in segue_hub.ok("audience", "members", "in_trouble", "--json").splitlines()]
    assert {"customer": "account=L-1", "identifiers": ["account=L-1", "device=L-d"]} in parsed
    rows = list(csv.DictReader(io.StringIO(segue_hub.ok("audience", "export", "in_trouble"))))
    assert {"customer": "account=L-1", "account": "L-1", "device": "L-d"} in rows
    file = tmp_path / "members.jsonl"
    result = segue_hub("audience", "export", "in_trouble", "--format", "jsonl", "-o", file)
    assert "members of in_trouble" in result.stderr
    assert {"customer": "account=L-1", "account": "L-1", "device": "L-d"} in [
        json.loads(line) for line in file.read_text().splitlines()
    ]


@pytest.mark.parametrize("command", ["members", "export"])
def test_an_unknown_audience_exits_with_1_and_names_the_nearest(segue_hub: Command, command: str) -> None:
    error = segue_hub.fails(1, "audience", command, "in_troubel")
    assert "Did you mean 'in_trouble'?" in error
    assert "[NAME_UNKNOWN]" in error


def test_journeys_are_reported_against_their_targets(segue_hub: Command) -> None:
    report = segue_hub.json("journeys", "report", "money_transfer")
    assert set(report["maps"]) == {"money_transfer"}
    assert report["maps"]["money_transfer"]["started"] >= 2
    assert set(report["maps"]["money_transfer"]["targets"]) == {"completion", "assisted_interactions_per_journey"}
    text = segue_hub.ok("journeys", "report")
    assert "target completion: 0.9" in text
    assert "activation" in text
    assert "Did you mean 'money_transfer'?" in segue_hub.fails(1, "journeys", "report", "money_tranfser")


def test_the_status_tells_store_plan_and_instances(hub: RunningHub, segue_hub: Command, tmp_path: Path) -> None:
    with joined(hub, "chat", tmp_path):
        plain: dict[str, Any] = segue_hub.json("status")
        assert plain["serving"] is True
        assert plain["plan"]["digest"] == hub.hub.plans.current.digest
        assert "chat" in [instance["touchpoint"] for instance in plain["instances"]]
        text = segue_hub.ok("status")
        assert text.startswith("serving for ")
        assert plain["incarnation"] in text
        assert "chat" in text


# Touchpoints.


def test_a_key_is_issued_works_and_is_revoked(hub: RunningHub, segue_hub: Command) -> None:
    issued = segue_hub.json("touchpoint", "add", "web")
    assert issued["hub"] == hub.address
    web = Command(hub.address, key=issued["key"])
    web.ok("events", "send", "help.searched", "account=L-9", "-p", "query=x")
    lines = segue_hub.ok("touchpoint", "add", "web").splitlines()
    assert [line.partition("=")[0] for line in lines] == ["export SEGUE_HUB", "export SEGUE_KEY"]
    assert segue_hub.ok("touchpoint", "revoke", "web") == "2 keys of web revoked\n"
    assert "[KEY_INVALID]" in web.fails(1, "events", "send", "help.searched", "account=L-9")
    assert "lower case" in segue_hub.fails(1, "touchpoint", "add", "Not A Name")


@pytest.mark.parametrize("name", ["@admin", "@anything"])
@pytest.mark.parametrize("command", ["add", "revoke"])
def test_the_admins_name_is_no_touchpoints_and_its_key_stays(segue_hub: Command, command: str, name: str) -> None:
    error = segue_hub.fails(1, "touchpoint", command, name)
    assert "[NAME_RESERVED]" in error
    assert f"{name!r} is a reserved name" in error
    assert "delete the .admin-key file" in error
    assert segue_hub.json("status")["serving"] is True


# What is wrong.

ASKING = [
    ("status",), ("customer", "show", "account=L-1"), ("customer", "timeline", "account=L-1"),
    ("audience", "list"), ("audience", "members", "in_trouble"), ("journeys", "report"), ("plan", "list"),
    ("plan", "diff", EXAMPLE), ("plan", "push", EXAMPLE), ("plan", "rollback"), ("touchpoint", "add", "web"),
    ("touchpoint", "revoke", "web"), ("events", "send", "transfer.failed", "account=L-1"), ("events", "tail"),
    ("decision", "explain", "account=L-1"),
]  # fmt: skip


@pytest.mark.parametrize("command", ASKING, ids=lambda command: " ".join(map(str, command[:2])))
def test_where_no_hub_answers_it_exits_with_3_and_says_what_to_do(command: tuple[Any, ...]) -> None:
    error = Command("127.0.0.1:1", "k", "k").fails(3, *command)
    assert "no hub answers at 127.0.0.1:1" in error
    assert "segue-hub serve" in error


@pytest.mark.parametrize("command", ASKING, ids=lambda command: " ".join(map(str, command[:2])))
def test_a_wrong_key_and_none_exit_with_1_and_say_where_keys_come_from(
    hub: RunningHub, command: tuple[Any, ...]
) -> None:
    for key, code in (("wrong", "KEY_INVALID"), ("", "KEY_MISSING")):
        error = Command(hub.address, key, key).fails(1, *command)
        assert f"[{code}]" in error
        assert "touchpoint add" in error


def test_a_touchpoints_key_does_not_open_the_admins_services(hub: RunningHub) -> None:
    error = Command(hub.address, hub.key("chat")).fails(1, "status")
    assert "SEGUE_ADMIN_KEY" in error
    assert "[NOT_GRANTED]" in error


def test_help_is_there_for_every_command() -> None:
    from segue_hub.cli import main

    command = Command()
    assert "segue-hub dev" in command.ok("--help")
    for name, found in main.commands.items():
        assert command.ok(name, "-h").startswith("Usage: ")
        for inner in getattr(found, "commands", {}):
            said = command.ok(name, inner, "--help")
            assert said.startswith("Usage: ")
            assert "\\b" not in said, "the mark that keeps examples as they are is no part of the help"
    assert "version" in command.ok("--version")
