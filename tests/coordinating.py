"""The realistic plan with all that coordinates: every limit of a guardrail, and words that read what teams told each
other and what the customer chose, in maps, audiences and guardrails.

Owns `COORDINATED`, and facts of random customers as several touchpoints would have told them to a hub.
"""

from __future__ import annotations

from typing import Any

from segue.domain.fact import ACTION, RESERVATION, TRAIT, Fact, derived_id, properties_bytes
from segue.domain.identifier import Identifier

from tests.building import SKETCH
from tests.unit.logs import TOUCHPOINTS
from tests.unit.test_coordination_laws import GUARDRAILS, WEIGHED

_ALL = ["identity", "traits", "consents", "subscriptions", "timeline", "activity", "interactions", "journeys",
        "decisions", "actions", "audiences", "claims"]  # fmt: skip
COORDINATED: dict[str, Any] = {
    **SKETCH,
    "effort": WEIGHED,
    "maps": {
        **SKETCH["maps"],
        "handover": {
            "position": 3,
            "starts": 'event.type in ["call.started", "help.searched"] && claim("conversation").holder != ""',
            "stages": {
                "offered": {"reached": 'event.type == "mail.opened" && claim("conversation").offered_to == "desk"'},
                "tired": {"reached": 'event.type == "call.started" && effort.score > 6'},
            },
            "reaches_goal": 'event.type == "transfer.completed" && choice("topic:offers") != "no"',
            "fails": 'event.type == "complaint.sent" && (holdout("control_group") == "held_out" || '
                     'incident("IOS-481").open)',
            "stalls": {"after": "1h"}, "abandons": {"after": "1d"},
        },
    },
    "audiences": {
        **SKETCH["audiences"],
        "at_the_desk": {"when": 'claim("conversation").holder == "desk" && choice("journey:money_transfer") != "left"'},
        "treated": {"when": 'holdout("control_group") == "treated" && !incident("IOS-481").open'},
        "worn_out": {"when": "effort.score >= 5"},
    },
    "guardrails": {
        **SKETCH["guardrails"], **GUARDRAILS,
        "handed_over": {
            "suppress_when": 'claim("conversation").offered_to != "" || in_audience("at_the_desk")', "reason": "r"
        },
    },
    "touchpoints": {
        **SKETCH["touchpoints"],
        **{name: {"channel": "voice", "writes": ["*"], "reads": {"service": _ALL}} for name in TOUCHPOINTS},
        "mailer": {
            "channel": "email", "writes": ["*"], "reads": {"marketing": ["traits.business", "audiences"]}
        },
    },
}  # fmt: skip


def as_told(facts: list[Fact], example: str, later: int = 0) -> list[Fact]:
    """The facts under names and ids that no other example has, `later` by so many microseconds; what an action or a
    release says of a place still is about that place.
    """
    kept = [fact for fact in facts if not (fact.kind == TRAIT and fact.properties["value"] == "?")]
    # No hub takes a balance that is a text, nor whom the plan blocks.
    ids = {fact.id.hex(): derived_id(fact.occurred_at + later, f"told {example}", str(number))
           for number, fact in enumerate(kept)}  # fmt: skip
    made = []
    for fact in kept:
        names = [i for i in fact.identifiers if i.value != "null"] or [Identifier("cookie", "c1")]
        raw, said = fact.raw, dict(fact.properties)
        if fact.kind in (ACTION, RESERVATION) and said.get("reservation"):
            said["reservation"] = ids.get(said["reservation"], bytes.fromhex(said["reservation"])).hex()
        for instant in {"expires_at", "until"} & said.keys():
            said[instant] += later
        if said != fact.properties:
            raw = properties_bytes(said)
        made.append(
            Fact(
                ids[fact.id.hex()], fact.kind, fact.type, fact.occurred_at + later, fact.seq,
                tuple(Identifier(kind, f"{example}.{value}") for kind, value in names), fact.channel or "voice",
                fact.touchpoint, fact.interaction, raw,
            )
        )  # fmt: skip
    return made
