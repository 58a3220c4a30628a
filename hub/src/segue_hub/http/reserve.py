"""`POST /v1/reserve`, `/v1/confirm`, `/v1/release`: a place under strict caps for whatever speaks HTTP.

Owns the reading of these questions and the writing of their answers, field by field. What is granted is the service's.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from segue.domain.fact import ACTION_STATUSES
from segue.domain.grant import Grant
from segue.domain.identifier import Identifier
from segue.domain.instant import instant_text
from segue.domain.plan import Plan

from ..services.decisions import DEADLINE, LONGEST
from ..services.failure import Refusal
from ..services.reservations import Answer, Asked, named
from .decide import names_of, verdict_plain

_ACTION: Final = ("kind", "topic", "purpose", "channel", "advances", "properties")
_FIELDS: Final = {
    "reserve": ("id", "identifiers", "action", "deadline_ms"),
    "confirm": ("id", "identifiers", "action", "status", "decision_id", "deadline_ms"),
    "release": ("id", "identifiers", "deadline_ms"),
}
_EXAMPLE: Final = (
    '{"id": "0197f3a2-5c1e-7b44-9d0a-3f6e8c2b1a70", "identifiers": {"account": "A-1009"}, '
    '"action": {"kind": "offer.upsell", "purpose": "marketing"}}'
)


@dataclass(frozen=True, slots=True)
class Question:
    """What a body asks.

    Attributes:
        asked: id, names and action; of a release the action is empty.
        seconds: how long the caller waits.
        status: what became of the action; of a confirmation.
    """

    asked: Asked
    seconds: float
    status: str = ""


def question_of(what: str, body: Any, grant: Grant, plan: Plan) -> Question:
    """The question that a body asks.

    Args:
        what: `reserve`, `confirm` or `release`.
        body: decoded JSON.
        grant: of the touchpoint that asks.
        plan: in force.

    Raises:
        Refusal: INPUT_INVALID or FACT_INVALID; names the field and the cure.
    """
    if not isinstance(body, dict):
        raise Refusal("INPUT_INVALID", f"body: no JSON object. Send {_EXAMPLE}")
    for name in body:
        if name not in _FIELDS[what]:
            raise Refusal("INPUT_INVALID", f"{name}: is not known. One of {', '.join(_FIELDS[what])}")
    deadline, status = body.get("deadline_ms", 0), body.get("status", "completed")
    if type(deadline) is not int or not 0 <= deadline <= LONGEST:
        raise Refusal("INPUT_INVALID", f"deadline_ms: {deadline!r} is no whole number between 1 and {LONGEST}")
    if what == "confirm" and status not in ACTION_STATUSES:
        raise Refusal("FACT_INVALID", f"status: {status!r} is not known. One of {', '.join(ACTION_STATUSES)}")
    names: tuple[Identifier, ...] = named(names_of(body.get("identifiers")), plan)
    action = {} if what == "release" else _action(body.get("action"), grant)
    if "decision_id" in body:
        action["decision_id"] = _decision_id(body["decision_id"])
    return Question(Asked(_id(body.get("id")), names, action), (deadline or DEADLINE) / 1000, status)


def _id(said: Any) -> bytes:
    try:
        return uuid.UUID(said).bytes
    except (ValueError, AttributeError, TypeError):
        raise Refusal("FACT_INVALID", f"id: {said!r} is no UUID. Make a new one for each action") from None


def _decision_id(said: Any) -> str:
    try:
        return "" if said is None else uuid.UUID(said).hex
    except (ValueError, AttributeError, TypeError):
        raise Refusal("FACT_INVALID", "decision_id: is none. Give the `id` that /v1/decide answered, or null") from None


def _action(said: Any, grant: Grant) -> dict[str, Any]:
    """As `/v1/decide` answers it."""
    if not isinstance(said, dict) or not isinstance(said.get("kind"), str) or not said["kind"]:
        raise Refusal("FACT_INVALID", f"action: names no kind. Send {_EXAMPLE}")
    for name, value in said.items():
        if name not in _ACTION:
            raise Refusal("INPUT_INVALID", f"action.{name}: is not known. One of {', '.join(_ACTION)}")
        wanted = dict if name == "properties" else str
        if value is not None and not isinstance(value, wanted):
            cure = "Send a JSON object" if wanted is dict else "Send a text"
            raise Refusal("FACT_INVALID", f"action.{name}: {value!r} is none. {cure}")
    return {
        **{name: said.get(name) or "" for name in ("kind", "topic", "purpose", "advances")},
        "channel": said.get("channel") or grant.channel, "details": said.get("properties") or {},
    }  # fmt: skip


def answer_plain(asked: Asked, answer: Answer) -> Mapping[str, Any]:
    """The answer to a reservation as JSON carries it."""
    return {
        "id": asked.id.hex(),
        "granted": answer.granted,
        "expires_at": instant_text(answer.expires_at) if answer.granted else None,
        "verdicts": [verdict_plain(verdict) for verdict in answer.verdicts],
    }
