"""Writes the vectors of fold, derivation and guardrails: `python -m tests.conformance.make_vectors`.

A vector is one JSON file in `vectors/`, named by its rule, that any language can run:

    says        the rule in a sentence
    plan        the document, expressions with their checked trees
    workspace   facts that belong to no customer, where there are any; their order must not matter either
    facts       in the order of arrival, which must not matter; `properties` is JSON text, exactly as it was sent
    claims      what was reasoned by hand (below)
    sections    the complete plain content after all facts (integers are 64 bits; 9223372036854775807 is "never")
    derivations at instants: who is in which audience, and when any of it may change
    verdicts    at instants, on an action: what each guardrail says that applies to it

Only `claims` are written by a person: `running` [map, key], `ended` [map, key, outcome, when], `orphans` by map,
`members` by instant, `held` (instant, action kind, guardrail, verdict, until). The rest is what the implementation
gave when the claims held; a difference afterwards is a change of meaning, and needs an ADR.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from segue.domain.content import Content
from segue.domain.derivation import derive
from segue.domain.expression import NEVER
from segue.domain.fact import Fact
from segue.domain.fold import fold
from segue.domain.identifier import Identifier
from segue.domain.instant import parse_instant
from segue.domain.interaction import InteractionRef
from segue.domain.plan import Plan
from segue.domain.scope import Scope
from segue.domain.section import plain

from tests.building import (
    BEGIN,
    DAY,
    HOUR,
    MINUTE,
    action,
    consent,
    document,
    fact,
    incident,
    link,
    moment,
    trait,
    workspace,
)
from tests.conformance import coordination_cases, identity_cases

VECTORS = Path(__file__).parent / "vectors"
IDENTITY = VECTORS / "identity.json"
"""Who is one: another form, told in its first line (`identity_cases`)."""

_TRANSFER: dict[str, Any] = {
    "starts": 'event.type == "transfer.started"',
    "key": "event.properties.id",
    "touches": ["help.*", "voice"],
    "stages": {"details": {"reached": 'event.type == "transfer.details"'}},
    "reaches_goal": 'event.type == "transfer.completed"',
    "fails": 'event.type in ["transfer.rejected", "transfer.completed"]',
    "stalls": {"after": "15m"},
    "abandons": {"after": "3d"},
}
_SINGLE = {part: body for part, body in _TRANSFER.items() if part not in ("key", "fails")}
_TRANSFERS: dict[str, Any] = {"maps": {"transfer": _TRANSFER}}


def _t(name: str, at: int | str, id: Any = "T1", **more: Any) -> Fact:
    return fact(f"transfer.{name}", at, id=id, **more)


CASES: dict[str, dict[str, Any]] = {
    "FA1-any-order-and-duplicates": {
        "says": "Facts arrive in any order and more than once; their order is (occurred_at, seq, id).",
        "sketch": _TRANSFERS,
        "facts": [
            _t("completed", "10m"), _t("started", "0s"), _t("details", "5m"), _t("started", "0s"),
            _t("started", "10m", "T2", seq=1), _t("completed", "10m", "T2", seq=2),
        ],
        "claims": {
            "running": [],
            "ended": [
                ["transfer", "T1", "completed", BEGIN + 10 * MINUTE],
                ["transfer", "T2", "completed", BEGIN + 10 * MINUTE],
            ],
        },
    },
    "FA5-maps-and-guardrails-read-incidents": {
        "says": "A map reads an incident as of the fact's time; of one instant the last in order holds; what is "
        "announced flips. Nobody told of an incident: it is not open.",
        "sketch": {
            "maps": {
                "upload": {
                    "starts": 'event.type == "upload" && incident("IOS-481").open', "key": "event.properties.n",
                    "reaches_goal": "false",
                }
            },
            "audiences": {
                "broken": {"when": 'incident("IOS-481").open'}, "quiet": {"when": '!incident("never").open'}
            },
            "guardrails": {"hold": {"suppress_when": 'incident("IOS-481").open', "reason": "Uploads fail."}},
        },
        "workspace": [
            incident("IOS-481", "fixed", "5h"), incident("IOS-481", "opened", "2h", title="Uploads fail"),
            incident("IOS-481", "opened", "3h", workaround="Use the web"), incident("IOS-481", "opened", "9h", seq=1),
            incident("IOS-481", "fixed", "9h", seq=2),
        ],
        "facts": [fact("upload", at, n=n) for n, at in enumerate(("1h", "2h", "4h", "5h"))],
        "at": ["5h", "9h"],
        "actions": [[BEGIN + 5 * HOUR, {"kind": "offer"}]],
        "claims": {
            "running": [["upload", "1"], ["upload", "2"]],
            "members": [[BEGIN + 5 * HOUR, ["quiet"]], [BEGIN + 9 * HOUR, ["quiet"]]],
            "held": [[BEGIN + 5 * HOUR, "offer", "hold", "ALLOW", NEVER]],
        },
    },
    "FA5-announced-incidents-flip": {
        "says": "An incident that is announced opens at its instant, and is over at its own: both are flips.",
        "sketch": {
            "audiences": {
                "broken": {"when": 'incident("N-7").open'},
                "for_an_hour": {"when": 'incident("N-7").open && now - incident("N-7").opened_at >= duration("1h")'},
            },
            "guardrails": {"hold": {"suppress_when": 'incident("N-7").open', "reason": "Maintenance."}},
        },
        "workspace": [incident("N-7", "fixed", "4h"), incident("N-7", "opened", "2h")],
        "facts": [fact("x", "0s")],
        "at": ["0s", BEGIN + 2 * HOUR - 1, "2h", "3h", BEGIN + 4 * HOUR - 1, "4h"],
        "actions": [["0s", {"kind": "offer"}], ["2h", {"kind": "offer"}], ["4h", {"kind": "offer"}]],
        "claims": {
            "members": [
                [BEGIN, []], [BEGIN + 2 * HOUR - 1, []], [BEGIN + 2 * HOUR, ["broken"]],
                [BEGIN + 3 * HOUR, ["broken", "for_an_hour"]], [BEGIN + 4 * HOUR - 1, ["broken", "for_an_hour"]],
                [BEGIN + 4 * HOUR, []],
            ],
            "held": [
                [BEGIN, "offer", "hold", "ALLOW", NEVER],
                [BEGIN + 2 * HOUR, "offer", "hold", "BLOCK", BEGIN + 4 * HOUR],
                [BEGIN + 4 * HOUR, "offer", "hold", "ALLOW", NEVER],
            ],
        },
    },
    "FA5-calendars-follow-the-wall": {
        "says": "Opening hours follow the wall of their zone across a change of the clocks; a day may be different; "
        "hours that end no later than they begin end on the next day.",
        "sketch": {
            "calendars": {
                "support": {
                    "zone": "Europe/Berlin", "hours": [{"days": ["sat", "mon"], "from": "08:00", "to": "18:00"}],
                    "exceptions": [{"date": "2026-04-04"}, {"date": "2026-04-06", "from": "22:00", "to": "02:00"}],
                }
            },
            "audiences": {"open": {"when": 'calendar("support").open'}},
        },
        "facts": [fact("x", "2026-03-01T00:00:00Z")],
        "at": [
            parse_instant(at)
            for at in ("2026-03-28T06:59:59Z", "2026-03-28T07:00:00Z", "2026-03-28T17:00:00Z", "2026-03-30T06:00:00Z",
                       "2026-03-30T16:00:00Z", "2026-04-06T20:00:00Z", "2026-04-07T00:00:00Z")
        ],
        "claims": {
            "members": [
                [parse_instant(at), ["open"] if inside else []]
                for at, inside in (
                    ("2026-03-28T06:59:59Z", False), ("2026-03-28T07:00:00Z", True), ("2026-03-28T17:00:00Z", False),
                    ("2026-03-30T06:00:00Z", True), ("2026-03-30T16:00:00Z", False), ("2026-04-06T20:00:00Z", True),
                    ("2026-04-07T00:00:00Z", False),
                )
            ],
        },
    },
    "TI1-windows-are-half-open": {
        "says": "An instant t is within W while t > now - W: true a microsecond before the hour, false at it.",
        "sketch": {"audiences": {"recent": {"when": 'seen("ivr", "1h")'}, "twice": {"when": 'count("x", "1h") >= 2'}}},
        "facts": [fact("x", "0s", channel="ivr"), fact("x", "10m")],
        "at": ["10m", BEGIN + HOUR - 1, BEGIN + HOUR, BEGIN + HOUR + 10 * MINUTE],
        "claims": {
            "members": [
                [BEGIN + 10 * MINUTE, ["recent", "twice"]], [BEGIN + HOUR - 1, ["recent", "twice"]], [BEGIN + HOUR, []]
            ],
        },
    },
    "TI1-abandons-at-its-deadline": {
        "says": "A journey ends at its deadline, however late anyone looks, and before the facts of that instant.",
        "sketch": {**_TRANSFERS, "audiences": {"stalled": {"when": "journey.transfer.stalled"}}},
        "facts": [_t("started", "0s"), _t("completed", BEGIN + 3 * DAY), _t("started", "1d", "T2"), fact("x", "9d")],
        "at": ["9d"],
        "claims": {
            "running": [],
            "ended": [
                ["transfer", "T1", "abandoned", BEGIN + 3 * DAY], ["transfer", "T1", "orphan", BEGIN + 3 * DAY],
                ["transfer", "T2", "abandoned", BEGIN + 4 * DAY],
            ],
            "orphans": {"transfer": 1},
        },
    },
    "TI1-due-in-order": {
        "says": "What is due at one instant ends by instant, then the plan's order of maps, then key.",
        "sketch": {
            "maps": {
                "a": {**_TRANSFER, "position": 1}, "b": {**_TRANSFER, "position": 0, "abandons": {"after": "2d"}},
                "c": {**_TRANSFER, "position": 2, "abandons": {"after": "2d"}},
            }
        },
        "facts": [_t("started", "0s", 2), _t("started", "0s", 1), fact("x", "9d")],
        "claims": {
            "ended": [
                [name, key, "abandoned", BEGIN + days * DAY]
                for name, days in (("b", 2), ("c", 2), ("a", 3)) for key in ("1", "2")
            ],
        },
    },
    "TI2-absence-is-retractable": {
        "says": "Stalled is derived from the last progress: it flips by mere time, and a late fact takes it back.",
        "sketch": {**_TRANSFERS, "audiences": {"stalled": {"when": "journey.transfer.stalled"}}},
        "facts": [_t("started", "0s"), fact("x", "20m"), _t("details", "14m")],
        "at": ["20m", BEGIN + 29 * MINUTE - 1, "29m", BEGIN + 14 * MINUTE + 3 * DAY],
        "claims": {
            "running": [["transfer", "T1"]],
            "members": [
                [BEGIN + 20 * MINUTE, []], [BEGIN + 29 * MINUTE - 1, []], [BEGIN + 29 * MINUTE, ["stalled"]],
                [BEGIN + 14 * MINUTE + 3 * DAY, []],
            ],
        },
    },
    "TI3-keys": {
        "says": "Texts, integers and integral doubles are keys, as text; absent, empty, boolean, fractional are none.",
        "sketch": _TRANSFERS,
        "facts": [
            *(_t("started", "0s", key, seq=n) for n, key in enumerate(["T1", 7, 8.0, "", True, 7.5, None, [1]])),
            fact("transfer.started", "1m"), _t("details", "1m", 7.0), _t("details", "1m", "8"),
        ],
        "claims": {"running": [["transfer", "7"], ["transfer", "8"], ["transfer", "T1"]], "ended": []},
    },
    "TI3-settles": {
        "says": "A start within `settles` after the goal of its key is absorbed, also where the goal came alone.",
        "sketch": _TRANSFERS,
        "facts": [
            _t("started", "0s", "A"), _t("completed", "1m", "A"), _t("started", BEGIN + 6 * MINUTE - 1, "A"),
            _t("started", "0s", "B"), _t("completed", "1m", "B"), _t("started", BEGIN + 6 * MINUTE, "B"),
            _t("completed", "1m", "C"), _t("started", BEGIN + MINUTE + 1, "C"),
        ],
        "claims": {
            "running": [["transfer", "B"]],
            "ended": [
                ["transfer", "A", "completed", BEGIN + MINUTE], ["transfer", "B", "completed", BEGIN + MINUTE],
                ["transfer", "C", "orphan", BEGIN + MINUTE],
            ],
            "orphans": {"transfer": 1},
            "ended_in_any_order": True,
        },
    },
    "TI3-without-a-start": {
        "says": "A keyed stage opens a journey whose start was not seen; a failure alone opens nothing.",
        "sketch": {"maps": {"transfer": _TRANSFER, "single": _SINGLE}},
        "facts": [
            _t("details", "0s", "A"), _t("details", "0s", "B", seq=0), _t("started", "0s", "B", seq=1),
            _t("rejected", "1m", "D"),
        ],
        "claims": {"running": [["single", ""], ["transfer", "A"], ["transfer", "B"]], "orphans": {}},
    },
    "TI3-sixteen-run": {
        "says": "Sixteen of a map run at once: the seventeenth ends the least recently progressed as dropped.",
        "sketch": _TRANSFERS,
        "facts": [
            *(_t("started", f"{n}s", f"T{n:02}") for n in range(16)), _t("details", "1m", "T00"),
            _t("started", "2m", "T99"),
        ],
        "claims": {
            "running": [["transfer", f"T{n:02}"] for n in (0, *range(2, 16), 99)],
            "ended": [["transfer", "T01", "dropped", BEGIN + 2 * MINUTE]],
        },
    },
    "TI3-touches-count-once": {
        "says": "A fact without the key belongs to all running journeys, and its interaction counts once, for the "
        "latest progressed; one with the key belongs to that journey alone.",
        "sketch": _TRANSFERS,
        "facts": [
            _t("started", "0s", "A"), _t("started", "1m", "B"),
            fact("call", "2m", channel="voice", visit="C1"), _t("details", "3m", "A"),
            fact("help.searched", "4m", channel="voice", visit="C1"), fact("help.searched", "5m", visit="V1"),
            fact("help.searched", "6m", visit="V2", id="B"), fact("help.searched", "7m", visit="V3", id="Z"),
        ],
        "claims": {
            "running": [["transfer", "A"], ["transfer", "B"]],
            "interactions": {"A": {"web": 1}, "B": {"voice": 1, "web": 1}},
        },
    },
    "TI4-goal-beats-fails-and-maps-read-the-past": {
        "says": "Goal beats fails; conditions read the context before the fact, and other journeys as they were then.",
        "sketch": {
            "maps": {
                "transfer": _TRANSFER,
                "after": {"starts": 'event.type == "transfer.completed" && journey.transfer.active'},
                "again": {"starts": 'event.channel == "ivr" && now - last("ivr") < duration("1h")'},
            }
        },
        "facts": [
            _t("started", "0s"), fact("x", "1m", channel="ivr"), _t("completed", "2m"),
            fact("x", BEGIN + HOUR + MINUTE, channel="ivr"), fact("x", "90m", channel="ivr"),
        ],
        "claims": {
            "running": [["after", ""], ["again", ""]], "ended": [["transfer", "T1", "completed", BEGIN + 2 * MINUTE]]
        },
    },
    "TI5-a-threshold-flips-when-the-nth-newest-leaves": {
        "says": "`count >= n` flips when the n-th newest leaves the window; twenty are told from nineteen.",
        "sketch": {
            "audiences": {"three": {"when": 'count("x", "1h") >= 3'}, "twenty": {"when": '20 <= count("y", "1h")'}}
        },
        "facts": [*(fact("x", f"{n * 10}m") for n in range(5)), *(fact("y", f"{n}m") for n in range(20))],
        "at": ["40m", BEGIN + HOUR - 1, "1h", BEGIN + HOUR + 20 * MINUTE - 1, "80m"],
        "claims": {
            "members": [
                [BEGIN + 40 * MINUTE, ["three", "twenty"]], [BEGIN + HOUR - 1, ["three", "twenty"]],
                [BEGIN + HOUR, ["three"]], [BEGIN + 80 * MINUTE - 1, ["three"]], [BEGIN + 80 * MINUTE, []],
            ],
        },
    },
    "ID4-a-merge-never-widens": {
        "says": "A consent binds the identifiers linked at its time; the most restrictive of their latest holds.",
        "sketch": {
            "guardrails": {
                "marketing": {"requires_consent": "marketing", "reason": "No consent."},
                "research": {"requires_consent": "research", "reason": "No consent."},
            }
        },
        "facts": [
            consent("marketing", "denied", "0s", "cookie=c"), consent("marketing", "granted", "1m", "account=A"),
            consent("research", "denied", "0s", "cookie=c"), link("2m", "account=A", "cookie=c"),
            consent("research", "granted", "3m", "account=A"),
        ],
        "actions": [["4m", {"kind": "offer"}]],
        "claims": {
            "held": [
                [BEGIN + 4 * MINUTE, "offer", "marketing", "BLOCK", NEVER],
                [BEGIN + 4 * MINUTE, "offer", "research", "ALLOW", NEVER],
            ],
        },
    },
    "AC3-a-cap-defers-until-its-window-ends": {
        "says": "A cap counts completed actions it applies to, and defers until enough of them have left the window.",
        "sketch": {
            "guardrails": {
                "cap": {
                    "applies_to": 'action.kind.startsWith("offer")',
                    "cap": {"limit": 2, "window": "7d"},
                    "reason": "Enough.",
                }
            }
        },
        "facts": [
            action("offer.a", "0s"), action("offer.b", "1d"), action("offer.c", "2d"),
            action("offer.d", "2d", status="failed"), action("letter", "2d"),
        ],
        "actions": [
            ["3d", {"kind": "offer.e"}], [BEGIN + 8 * DAY - 1, {"kind": "offer.e"}], ["8d", {"kind": "offer.e"}],
            ["3d", {"kind": "letter"}],
        ],
        "claims": {
            "held": [
                [BEGIN + 3 * DAY, "offer.e", "cap", "DEFER", BEGIN + 8 * DAY],
                [BEGIN + 8 * DAY - 1, "offer.e", "cap", "DEFER", BEGIN + 8 * DAY],
                [BEGIN + 8 * DAY, "offer.e", "cap", "ALLOW", NEVER],
            ],
        },
    },
    "AC1-quiet-hours-and-the-clocks": {
        "says": "Quiet hours follow the customer's own clock across midnight and its changes: an end that is skipped "
        "is the change itself, an hour that comes twice is quiet twice.",
        "sketch": {
            "time_zone": "America/New_York",
            "guardrails": {
                "night": {"quiet_hours": {"from": "21:00", "to": "08:00", "zone": "customer"}, "reason": "Night."},
                "small_hours": {
                    "quiet_hours": {"from": "01:00", "to": "02:30", "zone": "customer"}, "reason": "Small."
                },
            },
        },
        "facts": [trait("time_zone", "Europe/Berlin", "2026-01-01T00:00:00Z")],
        "actions": [
            [at, {"kind": "call"}]
            for at in (
                "2026-03-28T21:00:00Z", "2026-03-29T00:30:00Z", "2026-10-24T20:00:00Z", "2026-10-25T00:10:00Z",
                "2026-10-25T00:45:00Z", "2026-10-25T01:10:00Z", "2026-06-01T12:00:00Z",
            )
        ],
        "claims": {
            "held": [
                [parse_instant(at), "call", name, kind, NEVER if until is None else parse_instant(until)]
                for at, name, kind, until in (
                    ("2026-03-28T21:00:00Z", "night", "DEFER", "2026-03-29T06:00:00Z"),
                    ("2026-03-29T00:30:00Z", "small_hours", "DEFER", "2026-03-29T01:00:00Z"),
                    ("2026-10-24T20:00:00Z", "night", "DEFER", "2026-10-25T07:00:00Z"),
                    ("2026-10-25T00:10:00Z", "small_hours", "DEFER", "2026-10-25T00:30:00Z"),
                    ("2026-10-25T00:45:00Z", "small_hours", "ALLOW", None),
                    ("2026-10-25T01:10:00Z", "small_hours", "DEFER", "2026-10-25T01:30:00Z"),
                    ("2026-06-01T12:00:00Z", "night", "ALLOW", None),
                )
            ],
        },
    },
}  # fmt: skip
CASES |= coordination_cases.CASES


def plain_fact(fact: Fact) -> dict[str, Any]:
    """A fact as a vector writes it."""
    reference = fact.interaction
    return {
        "id": fact.id.hex(), "kind": fact.kind, "type": fact.type, "occurred_at": fact.occurred_at, "seq": fact.seq,
        "identifiers": [list(identifier) for identifier in fact.identifiers], "channel": fact.channel,
        "touchpoint": fact.touchpoint, "properties": fact.raw.decode(),
        "interaction": [reference.id, reference.direction, reference.outcome] if reference else None,
    }  # fmt: skip


def read_fact(body: dict[str, Any]) -> Fact:
    """A fact as a vector tells it."""
    return Fact(
        bytes.fromhex(body["id"]), body["kind"], body["type"], body["occurred_at"], body["seq"],
        tuple(Identifier(*identifier) for identifier in body["identifiers"]), body["channel"], body["touchpoint"],
        InteractionRef(*body["interaction"]) if body["interaction"] else None, body["properties"].encode(),
    )  # fmt: skip


def plan_of(case: dict[str, Any]) -> Plan:
    """The plan of a vector, with its workspace."""
    return Plan(case["plan"]).on(workspace(*(read_fact(body) for body in case.get("workspace", ()))))


def derivation(content: Content, plan: Plan, at: int) -> dict[str, Any]:
    """What holds at an instant, as a vector writes it."""
    found = derive(content, plan, at)
    members = sorted(name for name, inside in found.audiences.items() if inside)
    return {"at": at, "members": members, "flips_at": found.flips_at}


def verdicts(content: Content, plan: Plan, at: int, action: dict[str, str]) -> dict[str, Any]:
    """What guardrails say at an instant, as a vector writes it."""
    scope = Scope(content, max(at, content.at), plan, action=action)
    said = [rule.verdict(scope) for rule in plan.guardrails.values() if rule.applies(scope)]
    found = {v.guardrail: [v.kind, v.until, v.reason, v.binds] for v in said}
    return {"at": at, "action": action, "verdicts": found}


def vector(case: dict[str, Any]) -> dict[str, Any]:
    """The vector of a case."""
    made = document(case["sketch"])
    told = case.get("workspace", ())
    plan = Plan(made).on(workspace(*told))
    content = fold(plan, case["facts"])
    return {
        "says": case["says"],
        "plan": made,
        **({"workspace": [plain_fact(fact) for fact in told]} if told else {}),
        "facts": [plain_fact(fact) for fact in case["facts"]],
        "claims": case["claims"],
        "sections": plain(content, plan),
        "derivations": [derivation(content, plan, moment(at)) for at in case.get("at", ())],
        "verdicts": [verdicts(content, plan, moment(at), action) for at, action in case.get("actions", ())],
    }


def text(vector: dict[str, Any]) -> str:
    """A vector as its file: one line per entry of its parts."""

    def compact(value: Any) -> str:
        return json.dumps(value, sort_keys=True, ensure_ascii=False)

    def part(value: Any) -> str:
        if isinstance(value, dict) and value:
            return "{\n" + ",\n".join(f"  {compact(name)}: {compact(value[name])}" for name in sorted(value)) + "\n}"
        if isinstance(value, list) and value:
            return "[\n" + ",\n".join(f"  {compact(item)}" for item in value) + "\n]"
        return compact(value)

    return "{\n" + ",\n".join(f"{compact(name)}: {part(value)}" for name, value in vector.items()) + "\n}\n"


def main() -> None:
    VECTORS.mkdir(exist_ok=True)
    for name, case in CASES.items():
        (VECTORS / f"{name}.json").write_text(text(vector(case)), encoding="utf-8")
    IDENTITY.write_text(text(identity_cases.document()), encoding="utf-8")


if __name__ == "__main__":
    main()
