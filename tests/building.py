"""Builders: plans from sketches with CEL as text, and facts with times said in words.

Owns the one realistic plan that most tests read. `document` checks the texts with the hub's checker, so that what is
tested is what a hub would ship. Nothing here asks a clock or chance: the same words give the same bytes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from segue.domain.content import Content
from segue.domain.context import Context
from segue.domain.fact import (
    ACTION,
    CONSENT,
    DECISION,
    EVENT,
    LINK,
    SUBSCRIPTION,
    TRAIT,
    Fact,
    check,
    derived_id,
    properties_bytes,
)
from segue.domain.fold import fold
from segue.domain.freshness import FRESH, Freshness
from segue.domain.identifier import Identifier, parse_identifier
from segue.domain.incident import check_incident, incident_fact
from segue.domain.instant import parse_instant, span
from segue.domain.interaction import InteractionRef
from segue.domain.plan import Plan
from segue.domain.projection import Projected
from segue.domain.vocabulary import TraitName, Vocabulary
from segue.domain.workspace import Workspace
from segue_hub.checking.expression import Checker

BEGIN = parse_instant("2026-03-02T09:00:00Z")
"""A Monday, 10:00 in Berlin: instants said as spans (`"15m"`) count from here."""
MINUTE = 60_000_000
HOUR = 60 * MINUTE
DAY = 24 * HOUR

SKETCH: dict[str, Any] = {
    "time_zone": "Europe/Berlin",
    "timeline": 20,
    "identifiers": {
        "account": {"priority": 1}, "email": {"priority": 2, "normalise": "email"},
        "phone": {"priority": 3, "normalise": "digits"}, "cookie": {"priority": 9},
    },
    "channels": {
        "web": {"cost": {"amount": 0.02, "currency": "EUR"}}, "app": {}, "ivr": {"cost": {"amount": 0.4}},
        "voice": {"assisted": True, "cost": {"amount": 6.0}}, "chat": {"assisted": True}, "email": {}, "sms": {},
    },
    "traits": {
        "value_tier": {"type": "string", "label": "business", "one_of": ["low", "mid", "high"]},
        "in_arrears": {"type": "bool", "label": "financial"},
        "balance": {"type": "double", "label": "financial"},
        "contract_ends": {"type": "timestamp", "label": "business"},
        "time_zone": {"type": "string"},
    },
    "events": {
        name: {}
        for name in (
            "transfer.started", "transfer.details_entered", "transfer.confirmed", "transfer.completed",
            "transfer.rejected", "transfer.failed", "help.searched", "call.started", "activation.started",
            "activation.verified", "activation.completed", "incident.opened", "incident.diagnosed",
            "incident.resolved", "incident.given_up", "complaint.sent", "mail.opened", "plan.searched",
        )
    },
    "purposes": ["service", "marketing", "analytics"],
    "maps": {
        "money_transfer": {
            "position": 0, "title": "Send money to another account", "owner": "payments-cx",
            "starts": 'event.type in ["transfer.started", "transfer.failed"]',
            "key": "event.properties.transfer_id",
            "touches": ["help.*", "call.*", "chat"],
            "stages": {
                "details": {"position": 0, "reached": 'event.type == "transfer.details_entered"'},
                "confirmed": {"position": 1, "reached": 'event.type == "transfer.confirmed"'},
            },
            "reaches_goal": 'event.type == "transfer.completed"',
            "fails": 'event.type == "transfer.rejected" || (event.type == "transfer.completed" && '
                     'has(event.properties.reversed) && event.properties.reversed == true)',
            "stalls": {"after": "15m"}, "abandons": {"after": "3d"},
        },
        "activation": {
            "position": 1, "title": "Activate the card",
            "starts": 'event.type == "activation.started"',
            "touches": ["call.*"],
            "stages": {"verified": {"reached": 'event.type == "activation.verified"'}},
            "reaches_goal": 'event.type == "activation.completed"',
            "stalls": {"after": "1h"}, "abandons": {"after": "1d"},
        },
        "incident": {
            "position": 2, "title": "Get it repaired",
            "starts": 'event.type == "incident.opened" || '
                      '(event.type == "complaint.sent" && count("complaint.sent", "7d") >= 2)',
            "key": "event.properties.number",
            "stages": {
                "diagnosed": {"reached": 'event.type == "incident.diagnosed"'},
                "in_transfer": {
                    "reached": 'event.type == "incident.diagnosed" && journey.money_transfer.stalled'
                },
            },
            "reaches_goal": 'event.type == "incident.resolved"',
            "fails": 'event.type == "incident.given_up"',
            "stalls": {"after": "4h"}, "abandons": {"after": "3d"},
        },
    },
    "audiences": {
        "stuck_in_transfer": {"when": 'journey.money_transfer.stalled && seen("ivr", "1h")'},
        "frequent_caller": {"when": 'count("call.started", "24h") >= 3'},
        "evening_person": {"when": 'now.getHours("Europe/Berlin") >= 18 && known("value_tier")'},
        "in_trouble": {
            "when": 'seen("transfer.failed", "2h") || journeys("incident").exists(j, j.stalled && j.stage != "")'
        },
        "gone_quiet": {
            "when": '!seen("web", "30m") && last("mail.opened") < now - duration("1d") && trait.balance >= 0.0'
        },
    },
    "guardrails": {
        "consent": {
            "applies_to": 'action.purpose == "marketing"', "requires_consent": "marketing",
            "reason": "No marketing without consent.", "owner": "privacy", "on_missing": "block",
        },
        "newsletter": {
            "applies_to": 'action.kind.startsWith("mail.")', "requires_subscription": "*",
            "reason": "Only what was subscribed to.", "owner": "crm",
        },
        "contact_pressure": {
            "applies_to": 'action.purpose == "marketing"', "cap": {"limit": 2, "window": "7d"},
            "reason": "No more than two marketing outreaches a week.", "owner": "cx-board",
        },
        "night": {
            "applies_to": 'action.channel in ["sms", "voice"]',
            "quiet_hours": {"from": "21:00", "to": "08:00", "zone": "customer"},
            "reason": "People sleep.", "owner": "cx-board",
        },
        "no_selling_in_trouble": {
            "applies_to": 'action.kind.startsWith("offer.")',
            "suppress_when": 'in_audience("in_trouble") || trait.in_arrears',
            "reason": "The customer is trying to solve a problem.", "owner": "cx-board", "on_stale": "block",
        },
        "watching": {
            "applies_to": 'action.kind.startsWith("offer.")', "suppress_when": 'seen("ivr", "1h")',
            "reason": "Would not sell after the IVR.", "owner": "lab", "mode": "observe",
        },
    },
    "touchpoints": {
        "desk": {
            "channel": "voice", "writes": ["*"],
            "reads": {
                "service": [
                    "identity", "traits", "consents", "subscriptions", "timeline", "activity", "interactions",
                    "journeys", "decisions", "actions", "audiences", "claims",
                ]
            },
        },
        "mailer": {
            "channel": "email", "writes": ["mail.*"], "reads": {"marketing": ["traits.business", "audiences"]}
        },
        "kiosk": {"channel": "web", "writes": ["web.*"], "reads": {"service": ["activity", "traits.general"]}},
    },
}  # fmt: skip
"""The realistic plan: expressions as text. Three maps, five audiences, six guardrails, three touchpoints."""


def document(sketch: Mapping[str, Any]) -> dict[str, Any]:
    """The document of a sketch: every expression with its checked tree."""
    made: dict[str, Any] = json.loads(json.dumps(sketch))
    traits = {
        name: TraitName(type=body.get("type", "string"), label=body.get("label", "general"))
        for name, body in made.get("traits", {}).items()
    }
    vocabulary = Vocabulary(
        channels=made.get("channels", {}), events=made.get("events", {}), traits=traits,
        purposes=tuple(made.get("purposes", ())),
    )  # fmt: skip
    checker = Checker(
        vocabulary, made.get("maps", {}), made.get("audiences", {}), made.get("calendars", {}),
        [name for name, body in made.get("guardrails", {}).items() if body.get("holdout")],
    )  # fmt: skip

    def check_in(body: dict[str, Any], field: str, place: str, result: str = "bool") -> None:
        if field in body:
            body[field] = {"source": body[field], "tree": checker.check(body[field], place, result)}

    for body in made.get("maps", {}).values():
        for field in ("starts", "reaches_goal", "fails"):
            check_in(body, field, "map")
        check_in(body, "key", "map", "any")
        for stage in body.get("stages", {}).values():
            check_in(stage, "reached", "map")
    for body in made.get("audiences", {}).values():
        check_in(body, "when", "audience")
    for body in made.get("guardrails", {}).values():
        check_in(body, "applies_to", "action")
        check_in(body, "suppress_when", "guardrail")
    return made


@lru_cache(maxsize=1)
def realistic() -> Plan:
    """The plan of `SKETCH`, compiled once."""
    return Plan(document(SKETCH))


def plan(**sections: Any) -> Plan:
    """The realistic plan, or with sections of its sketch replaced."""
    return Plan(document({**SKETCH, **sections})) if sections else realistic()


def small(**sections: Any) -> Plan:
    """A plan of these sections only; where it names no events or traits, every name is known."""
    return Plan(document(sections))


def moment(at: int | str) -> int:
    """An instant: a span after `BEGIN` (`"15m"`), an RFC 3339 text, or microseconds."""
    if isinstance(at, int):
        return at
    return parse_instant(at) if "T" in at else BEGIN + span(at)


def who(*identifiers: str) -> tuple[Identifier, ...]:
    """Identifiers from `kind=value`."""
    return tuple(parse_identifier(text) for text in identifiers)


def fact(
    type: str,
    at: int | str,
    *names: str,
    kind: str = EVENT,
    seq: int = 0,
    channel: str = "web",
    touchpoint: str = "test",
    visit: str = "",
    outcome: str = "",
    direction: str = "",
    **properties: Any,
) -> Fact:
    """A fact; `names` are identifiers (`account=A-1` where none is given), `visit` the id of its interaction."""
    occurred_at, identifiers, raw = moment(at), names or ("account=A-1",), properties_bytes(properties)
    native = "|".join((kind, type, str(seq), channel, touchpoint, visit, *identifiers, raw.decode()))
    made = Fact(
        derived_id(occurred_at, "test", native), kind, type, occurred_at, seq, who(*identifiers), channel, touchpoint,
        InteractionRef(visit, direction, outcome) if visit else None, raw,
    )  # fmt: skip
    check(made)
    return made


def trait(name: str, value: Any, at: int | str, *names: str) -> Fact:
    return fact(name, at, *names, kind=TRAIT, value=value, touchpoint="crm")


def consent(purpose: str, state: str, at: int | str, *names: str) -> Fact:
    return fact(purpose, at, *names, kind=CONSENT, state=state)


def subscription(topic: str, state: str, at: int | str, *names: str, channel: str = "email") -> Fact:
    return fact(topic, at, *names, kind=SUBSCRIPTION, state=state, channel=channel)


def link(at: int | str, *names: str) -> Fact:
    return fact("link", at, *names, kind=LINK)


def action(
    kind: str, at: int | str, *names: str, status: str = "completed", channel: str = "email", seq: int = 0, **more: Any
) -> Fact:
    return fact(kind, at, *names, kind=ACTION, status=status, channel=channel, seq=seq, **more)


def decision(name: str, value: Any, at: int | str, *names: str) -> Fact:
    return fact(name, at, *names, kind=DECISION, value=value)


def incident(id: str, state: str, at: int | str, *, seq: int = 0, title: str = "", workaround: str = "") -> Fact:
    """A workspace fact: `incident("IOS-481", "opened", "1h")`."""
    occurred_at, native = moment(at), "|".join((id, state, str(seq), title, workaround))
    made = incident_fact(
        derived_id(occurred_at, "test", native), id, state, occurred_at, seq, title=title, workaround=workaround,
        touchpoint="ops",
    )  # fmt: skip
    check_incident(made)
    return made


def workspace(*facts: Fact) -> Workspace:
    """What workspace facts say together."""
    return Workspace().telling({name: [f for f in facts if f.type == name] for name in {f.type for f in facts}})


def context_of(
    content: Content, plan: Plan, at: int | str, freshness: Freshness = FRESH, *, strict: bool = False
) -> Context:
    """The context of a content as the hub sees it: nothing hidden."""
    return Context(Projected(content), plan, moment(at), freshness, strict=strict)


def seen_by(plan: Plan, facts: list[Fact], at: int | str, *, strict: bool = False) -> Context:
    """The context after these facts, at a moment."""
    return context_of(fold(plan, facts), plan, at, strict=strict)
