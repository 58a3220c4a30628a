"""`audience cursors` and `audience forget`: who watches by a cursor, and how that ends."""

from __future__ import annotations

from pathlib import Path

import pytest
from segue_hub.testing import run_hub

from tests.commanding import Command
from tests.joining import joined
from tests.waiting import eventually

PLAN = {
    "vocabulary.yaml": "traits: {inside: {type: bool}}\nidentifiers: {account: {priority: 1}}\n",
    "audiences.yaml": "insiders: {owner: o, title: t, when: 'trait.inside'}\n",
    "touchpoints.yaml": "crm: {owner: o, channel: web, writes: [], reads: {service: [audiences]}}\n"
    "app: {owner: o, channel: web, writes: ['trait:*'], reads: {}}\n",
}


def test_cursors_are_listed_with_who_listens_and_what_waits_and_one_that_nobody_needs_is_forgotten(
    tmp_path: Path,
) -> None:
    with run_hub(PLAN) as hub:
        segue_hub = Command.of(hub)
        assert segue_hub.json("audience", "cursors") == []
        with joined(hub, "crm", tmp_path) as crm:
            crm.watch("insiders", lambda tellings: None, cursor="export")
            (found,) = eventually(lambda: [c for c in segue_hub.json("audience", "cursors") if c["instances"]])
            assert (found["touchpoint"], found["cursor"], found["audience"]) == ("crm", "export", "insiders")
            assert found["instances"] == [crm.runtime().machine.instance]
            told = segue_hub.fails(1, "audience", "forget", "crm", "export", "insiders")
            assert "listens at the cursor 'export'" in told
            assert "IN_USE" in told
        segue_hub.ok("events", "send", "inside", "account=A-1", "--kind", "trait", "-p", "value=true")
        eventually(lambda: segue_hub.json("audience", "cursors")[0]["waiting"] == 1)
        table = segue_hub.ok("audience", "cursors")
        assert "export" in table
        assert "nobody" in table
        assert "forgot" in segue_hub.ok("audience", "forget", "crm", "export", "insiders")
        assert segue_hub.json("audience", "cursors") == []
        assert "has no cursor 'export'" in segue_hub.fails(1, "audience", "forget", "crm", "export", "insiders")
        assert segue_hub.json("status")["ledger"]["tellings"] == 0


def test_cursors_are_the_admins_to_see(tmp_path: Path) -> None:
    with run_hub(PLAN) as hub:
        told = Command(hub.address, hub.key("crm"), "").fails(1, "audience", "cursors")
        assert "NOT_GRANTED" in told


@pytest.mark.parametrize("arguments", [["cursors", "--help"], ["forget", "--help"]])
def test_the_commands_say_what_they_do(arguments: list[str]) -> None:
    assert "cursor" in Command().ok("audience", *arguments)
