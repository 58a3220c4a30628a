"""Reports count by map: a call that two maps are about is in both, one that merely touches is in one (ADR 0012)."""

from __future__ import annotations

from typing import Any

from segue.domain.interaction import InteractionRef
from segue_hub.testing import run_hub

from tests.calling import calling, event

EXPRESSIONS = (
    "starts: 'event.type == \"{start}\"'\nkey: 'event.properties.id'\nreaches_goal: 'event.type == \"{end}\"'\n"
)
PLAN = {
    "vocabulary.yaml": "channels: {voice: {assisted: true, cost: {amount: 6.0, currency: EUR}}, app: {}}\n"
    "identifiers: {account: {priority: 1}}\n",
    "maps/call.yaml": "map: call\n" + EXPRESSIONS.format(start="call.started", end="call.ended"),
    "maps/repeat.yaml": "map: repeat\n" + EXPRESSIONS.format(start="call.started", end="call.ended"),
    "maps/transfer.yaml": "map: transfer\ntouches: ['help.*']\n"
    + EXPRESSIONS.format(start="transfer.started", end="transfer.completed"),
    "maps/refund.yaml": "map: refund\ntouches: ['help.*']\n"
    + EXPRESSIONS.format(start="refund.started", end="refund.completed"),
}


def test_a_report_by_map_holds_what_is_its_own_and_none_adds_maps_up() -> None:
    with run_hub(PLAN) as hub, calling(hub.address, hub.key("voice")) as voice:
        facts = [
            event("transfer.started", "account=A", id="T"), event("refund.started", "account=A", id="R"),
            event("call.started", "account=A", channel="voice", id="C"),
            event("call.ended", "account=A", channel="voice", id="C"),
            event("help.asked", "account=A", channel="voice"),
        ]  # fmt: skip
        for fact in facts[2:]:
            fact.interaction = InteractionRef("call-1" if fact.type.startswith("call") else "call-2")
        assert set(voice.statuses(*facts)) == {"ACCEPTED"}
        report: dict[str, Any] = hub.call(hub.hub.reports.journeys())
        assert {name: figures["interactions"] for name, figures in report["maps"].items()} == {
            "call": {"voice": 1},
            "repeat": {"voice": 1},
            "refund": {"voice": 1},  # help touches the one that progressed last
            "transfer": {},
        }
        assert {name: figures["cost"] for name, figures in report["maps"].items()} == {
            "call": 6.0, "repeat": 6.0, "refund": 6.0, "transfer": 0,
        }  # fmt: skip
        assert set(report) == {"at", "plan", "maps"}, "a sum over maps would count calls twice"
