"""Actions: what a touchpoint wants to do to a customer (semantics AC1).

Owns the action as a decision function returns it. Only actions meet guardrails.
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
    """

    kind: str
    topic: str = ""
    purpose: str = "service"
    channel: str = ""
    properties: Mapping[str, Any] = field(default_factory=dict)

    def asked(self, channel: str) -> dict[str, Any]:
        """What guardrails read of it."""
        return {
            "kind": self.kind, "topic": self.topic, "purpose": self.purpose, "channel": self.channel or channel
        }  # fmt: skip
