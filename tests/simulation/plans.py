"""The plans of the simulation: small, quick deadlines, one strict cap; two versions that take turns.

Owns their documents. Checked and compiled once.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from segue.domain.plan import Plan

from tests.building import document

LIMIT = 1
"""Marketing actions within `WINDOW`."""
WINDOW = 40_000_000
_READS = {"service": ["identity", "traits", "timeline", "activity", "journeys", "actions", "audiences"]}
SKETCH: dict[str, Any] = {
    "timeline": 10,
    "identifiers": {
        "account": {"priority": 1, "unique": True}, "email": {"priority": 2, "per_customer": 2},
        "cookie": {"priority": 9, "partners": 3},
    },
    "channels": {"web": {}, "ivr": {}, "email": {}},
    "traits": {"tier": {"type": "string"}},
    "events": {"transfer.started": {}, "transfer.details": {}, "transfer.completed": {}, "help.searched": {}},
    "purposes": ["service", "marketing"],
    "maps": {
        "transfer": {
            "position": 0, "title": "Send money", "starts": 'event.type == "transfer.started"',
            "key": "event.properties.number",
            "touches": ["help.*"],
            "stages": {"details": {"position": 0, "reached": 'event.type == "transfer.details"'}},
            "reaches_goal": 'event.type == "transfer.completed"',
            "stalls": {"after": "8s"}, "abandons": {"after": "60s"},
        },
    },
    "audiences": {"stuck": {"when": "journey.transfer.stalled"}},
    "guardrails": {
        "pressure": {
            "applies_to": 'action.purpose == "marketing"', "reason": "Once is enough.", "owner": "crm",
            "cap": {"limit": LIMIT, "window": "40s", "exactness": "strict", "hold": "5s"},
        },
    },
    "touchpoints": {
        "web": {"channel": "web", "writes": ["*", "retraction:*", "separation:*"], "reads": _READS},
        "ivr": {"channel": "ivr", "writes": ["*", "retraction:*", "separation:*"], "reads": _READS},
        "crm": {"channel": "email", "writes": ["*"], "reads": _READS},
    },
}  # fmt: skip


@lru_cache(maxsize=1)
def documents() -> tuple[dict[str, Any], dict[str, Any]]:
    """Two plans: the second knows one more audience and stage."""
    maps = {"transfer": {**SKETCH["maps"]["transfer"], "title": "Send money, again"}}
    audiences = {**SKETCH["audiences"], "curious": {"when": 'seen("help.searched", "10s")'}}
    return document(SKETCH), document({**SKETCH, "maps": maps, "audiences": audiences})


@lru_cache(maxsize=1)
def kinds() -> Any:
    """Both plans' identifier kinds."""
    return Plan(documents()[0]).kinds
