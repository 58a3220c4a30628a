"""Actions: what a touchpoint wants to do to a customer (semantics AC1).

Owns the action as a decision function returns it, and what its fact says. Only actions meet guardrails.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Action:
    """One thing to do. Proto: `segue.v1.Action`.

    Attributes:
        kind: for example `offer.upsell`.
        topic: what it is about.
        purpose: `service`, `marketing` ...
        channel: where; the touchpoint's own where empty.
        properties: details for the touchpoint itself.
        advances: the journey map on whose way it helps the customer, if any.
    """

    kind: str
    topic: str = ""
    purpose: str = "service"
    channel: str = ""
    properties: Mapping[str, Any] = field(default_factory=dict)
    advances: str = ""

    def asked(self, channel: str) -> dict[str, Any]:
        """What guardrails read of it."""
        return {
            "kind": self.kind, "topic": self.topic, "purpose": self.purpose, "channel": self.channel or channel,
            "advances": self.advances,
        }  # fmt: skip


def action_properties(
    kind: str, asked: dict[str, Any], status: str, decision_id: bytes, reservation: bytes = b""
) -> dict[str, Any]:
    """The properties of an action fact, as they come back from the wire."""
    more = {"reservation": reservation.hex()} if reservation else {}
    if asked.get("advances"):
        more["advances"] = asked["advances"]
    return more | {
        "kind": kind, "topic": asked["topic"], "purpose": asked["purpose"], "channel": asked["channel"],
        "status": status, "decision_id": decision_id.hex(), "details": asked.get("details", {}),
    }  # fmt: skip
