"""`POST /v1/decide`: one question about one customer, JSON in and JSON out, for whatever speaks HTTP.

Owns the reading of the question and the writing of the answer, field by field. What is asked for is the service's.
"""

from __future__ import annotations

from typing import Any, Final

from segue.domain.decision import Decision
from segue.domain.decision_fact import json_text, value_of
from segue.domain.expression import NEVER
from segue.domain.grant import SERVICE
from segue.domain.identifier import Identifier, parse_identifier
from segue.domain.instant import instant_text
from segue.domain.interaction import InteractionRef
from segue.domain.verdict import Verdict
from segue.errors import FactError

from ..services.decisions import Asked
from ..services.failure import Refusal

STATUS: Final = {
    "KEY_INVALID": 401, "NOT_GRANTED": 403, "NAME_UNKNOWN": 404, "ID_CONFLICT": 409, "OVERLOADED": 429,
    "STORE_BROKEN": 503, "STORE_MISSING": 503, "DEADLINE_EXCEEDED": 504, "STORE_FULL": 507,
}  # fmt: skip
"""By code, the HTTP status of a refusal; 400 for all others."""
_FIELDS: Final = ("decision", "identifiers", "purpose", "interaction", "deadline_ms")


def asked_of(body: Any) -> Asked:
    """The question that a body asks.

    Raises:
        Refusal: INPUT_INVALID or FACT_INVALID; names the field and the cure.
    """
    example = '{"decision": "chat.route", "identifiers": {"account": "A-1009"}}'
    if not isinstance(body, dict):
        raise Refusal("INPUT_INVALID", f"body: no JSON object. Send {example}")
    for name in body:
        if name not in _FIELDS:
            raise Refusal("INPUT_INVALID", f"{name}: is not known. One of {', '.join(_FIELDS)}")
    decision, purpose, deadline = body.get("decision"), body.get("purpose", SERVICE), body.get("deadline_ms", 0)
    if not isinstance(decision, str) or not decision:
        raise Refusal("INPUT_INVALID", f"decision: names no question. Send {example}")
    if not isinstance(purpose, str):
        raise Refusal("INPUT_INVALID", 'purpose: is no text. Write e.g. "service"')
    if type(deadline) is not int:
        raise Refusal("INPUT_INVALID", "deadline_ms: is no whole number. Write e.g. 200")
    return Asked(
        decision, names_of(body.get("identifiers")), purpose or SERVICE, _interaction(body.get("interaction")), deadline
    )


def names_of(said: Any) -> tuple[Identifier, ...]:
    """`{"account": "A-1009"}`, or `["account=A-1009"]`."""
    cure = 'Write {"account": "A-1009"} or ["account=A-1009"]'
    if not isinstance(said, dict | list) or not said:
        raise Refusal("FACT_INVALID", f"identifiers: nobody is named. {cure}")
    pairs = said.items() if isinstance(said, dict) else ((name, None) for name in said)
    found = []
    for kind, value in pairs:
        if not isinstance(kind, str) or (isinstance(said, dict) and not isinstance(value, str)):
            raise Refusal("FACT_INVALID", f"identifiers: {kind!r} is no text. {cure}")
        try:
            found.append(parse_identifier(kind) if value is None else Identifier(kind, value))
        except FactError as error:
            raise Refusal(error.code, f"identifiers: {error}") from None
    return tuple(found)


def _interaction(said: Any) -> InteractionRef | None:
    """`"chat-17"`, or `{"id": "chat-17", "direction": "inbound"}`."""
    if said is None:
        return None
    if isinstance(said, str) and said:
        return InteractionRef(said)
    if isinstance(said, dict) and isinstance(said.get("id"), str) and said["id"]:
        return InteractionRef(said["id"], str(said.get("direction", "")))
    raise Refusal("INPUT_INVALID", 'interaction: names none. Write {"id": "chat-17", "direction": "inbound"}')


def verdict_plain(v: Verdict) -> dict[str, Any]:
    """A verdict as JSON carries it."""
    return {
        "guardrail": v.guardrail, "kind": v.kind, "reason": v.reason, "owner": v.owner, "mode": v.mode,
        "holder": v.holder, "until": instant_text(v.until) if 0 < v.until < NEVER else None,
    }  # fmt: skip


def answer_plain(decision: Decision) -> dict[str, Any]:
    """The answer as JSON carries it."""
    action = decision.action
    return {
        "id": decision.id.hex() or None,
        "decision": decision.name,
        "value": value_of(decision),
        "reason": decision.reason,
        "allowed": decision.allowed,
        "action": None if action is None else {
            "kind": action.kind, "topic": action.topic, "purpose": action.purpose, "channel": action.channel,
            "advances": action.advances, "properties": json_text(dict(action.properties)),
        },
        "verdicts": [verdict_plain(verdict) for verdict in decision.verdicts],
        "freshness": decision.freshness.state,
        "version": decision.version,
        "plan": decision.plan,
        "at": instant_text(decision.at),
        "explain": decision.explain(),
        "error": decision.error,
        "partial": decision.partial,
    }  # fmt: skip
