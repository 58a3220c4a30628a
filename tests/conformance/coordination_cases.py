"""Vectors of coordination: places under caps, claims handed over, holdouts after a merge, effort, yielding.

Owns the cases; `make_vectors` writes them.
"""

from __future__ import annotations

from typing import Any

from segue.domain.expression import NEVER
from segue.domain.fact import CHOICE, CLAIM, EXPOSURE, RESERVATION, Fact

from tests.building import BEGIN, DAY, HOUR, MINUTE, action, fact, link


def _granted(at: int | str, begins: int, *slots: str, touchpoint: str = "mailer", **more: Any) -> Fact:
    return fact(
        "offer.a", at, kind=RESERVATION, touchpoint=touchpoint, status="granted", slots=list(slots),
        expires_at=begins + 5 * MINUTE, **more,
    )  # fmt: skip


def _said(at: str, who: str, status: str, until: int = 0, **more: Any) -> Fact:
    return fact("conversation", at, kind=CLAIM, touchpoint=who, status=status, until=until, **more)


_SPENT = _granted("0s", BEGIN, "cap")
_BACK = _granted("1d", BEGIN + DAY, "cap")
_LATE = _granted("2d", BEGIN + 2 * DAY, "cap")

CASES: dict[str, dict[str, Any]] = {
    "AC2-a-place-is-spent-unless-it-is-given-back": {
        "says": "A granted place counts from its grant on: all its window where nothing more is heard, not where it is "
                "released, and once where its action sorts before it since its teller's clock is behind.",
        "sketch": {"guardrails": {"cap": {"cap": {"limit": 1, "window": "12h", "exactness": "strict"}, "reason": "R"}}},
        "facts": [
            _SPENT,
            _BACK, fact("offer.a", "25h", kind=RESERVATION, status="released", reservation=_BACK.id.hex()),
            action("offer.a", "47h", reservation=_LATE.id.hex()), _LATE,
        ],
        "actions": [["60h", {"kind": "offer.b"}], [BEGIN + 60 * HOUR - 1, {"kind": "offer.c"}]],
        "claims": {
            "held": [
                [BEGIN + 60 * HOUR, "offer.b", "cap", "ALLOW", NEVER],
                [BEGIN + 60 * HOUR - 1, "offer.c", "cap", "DEFER", BEGIN + 60 * HOUR],
            ]
        },
    },
    "AC2-a-claim-is-handed-over": {
        "says": "Who holds her offers her, the one offered to accepts; what others say of it changes nothing, and a "
                "claim runs out unless renewed.",
        "sketch": {"guardrails": {"busy": {"claim": "conversation", "reason": "R"}}},
        "facts": [
            _said("0s", "chat", "held", BEGIN + 2 * HOUR), _said("1m", "ivr", "held", BEGIN + 9 * HOUR),
            _said("2m", "chat", "offered", BEGIN + HOUR, to="desk", note="n"),
            _said("3m", "ivr", "accepted", BEGIN + DAY),
            _said("4m", "desk", "accepted", BEGIN + 3 * HOUR), _said("5m", "chat", "released"),
        ],
        "actions": [
            ["1h", {"kind": "a", "touchpoint": "chat"}], ["1h", {"kind": "b", "touchpoint": "desk"}],
            ["3h", {"kind": "c", "touchpoint": "chat"}],
        ],
        "claims": {
            "held": [
                [BEGIN + HOUR, "a", "busy", "DEFER", BEGIN + 3 * HOUR], [BEGIN + HOUR, "b", "busy", "ALLOW", NEVER],
                [BEGIN + 3 * HOUR, "c", "busy", "ALLOW", NEVER],
            ]
        },
    },
    "AC4-the-earliest-exposure-wins": {
        "says": "After a merge the earliest exposure is the customer's, whatever the strongest identifier would draw; "
                "a choice that is taken back is none.",
        "sketch": {
            "identifiers": {"account": {"priority": 1}, "cookie": {"priority": 9}},
            "guardrails": {"control": {"holdout": {"share": 0.0}, "reason": "R"}},
        },
        "facts": [
            fact("control", "1h", "cookie=c", kind=EXPOSURE, arm="held_out"),
            fact("control", "2h", "account=A", kind=EXPOSURE, arm="treated"),
            link("3h", "cookie=c", "account=A"),
            fact("topic:offers", "4h", "account=A", kind=CHOICE, choice="no"),
            fact("topic:offers", "5h", "account=A", kind=CHOICE, choice=""),
        ],
        "actions": [["6h", {"kind": "a"}]],
        "claims": {"held": [[BEGIN + 6 * HOUR, "a", "control", "BLOCK", NEVER]]},
    },
    "TI11-effort-is-a-sum-over-its-window": {
        "says": "Interactions leave the sum with their start; beyond the budget only what helps goes out.",
        "sketch": {
            "channels": {"web": {}, "voice": {"assisted": True}}, "effort": {"window": "1d", "weights": {"repeats": 3}},
            "guardrails": {"tired": {"effort_budget": {"most": 4, "deescalating": ["help.*"]}, "reason": "R"}},
        },
        "facts": [
            fact("x", "0s", visit="1"), fact("x", "1h", visit="2"),
            fact("x", "2h", visit="3", channel="voice", outcome="transferred"),
        ],
        "actions": [["3h", {"kind": "a"}], [BEGIN + DAY + HOUR, {"kind": "b"}],
            [BEGIN + DAY + 2 * HOUR, {"kind": "c"}],
        ],
        "claims": {
            "held": [
                [BEGIN + 3 * HOUR, "a", "tired", "BLOCK", BEGIN + DAY],
                [BEGIN + DAY + HOUR, "b", "tired", "BLOCK", BEGIN + DAY + 2 * HOUR],
                [BEGIN + DAY + 2 * HOUR, "c", "tired", "ALLOW", NEVER],
            ]
        },
    },
}  # fmt: skip
