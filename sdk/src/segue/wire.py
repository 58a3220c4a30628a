"""Between the domain and the wire: facts, identifiers, sections, both ways, nothing else.

Owns the only place that knows both `domain` and `v1`. A fact's properties stay the bytes that its producer wrote.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from sys import intern
from typing import Any

from .domain.fact import (
    ACTION,
    CONSENT,
    DECISION,
    EVENT,
    LINK,
    SUBSCRIPTION,
    TRAIT,
    Fact,
    properties_bytes,
)
from .domain.identifier import Identifier
from .domain.interaction import InteractionRef
from .domain.section import Section
from .errors import FactError
from .v1 import context_pb2, fact_pb2


def fact_to_wire(fact: Fact) -> fact_pb2.Fact:
    """The message of a fact."""
    # Field by field: half of what the constructor with keywords costs, and every fact passes here.
    message = fact_pb2.Fact()
    message.id = fact.id
    message.type = fact.type
    message.occurred_at = fact.occurred_at
    message.seq = fact.seq
    message.channel = fact.channel
    message.touchpoint = fact.touchpoint
    for name, value in fact.identifiers:
        message.identifiers.add(kind=name, value=value)
    reference = fact.interaction
    if reference is not None:
        message.interaction.id = reference.id
        message.interaction.direction = reference.direction
        message.interaction.outcome = reference.outcome
    kind = fact.kind
    if kind == EVENT:
        message.event.properties = fact.raw
    elif kind == LINK:
        message.link.SetInParent()
    elif kind == DECISION:
        message.decision.details = fact.raw
    else:
        _body_to_wire(message, kind, fact.properties)
    return message


def _body_to_wire(message: fact_pb2.Fact, kind: str, properties: dict[str, Any]) -> None:
    if kind == TRAIT:
        message.trait.value = json.dumps(properties["value"], separators=(",", ":"), ensure_ascii=False).encode()
        message.trait.source = properties.get("source", "")
    elif kind == CONSENT:
        message.consent.state = properties["state"]
    elif kind == SUBSCRIPTION:
        message.subscription.state = properties["state"]
    elif kind == ACTION:
        action = message.action
        action.topic = properties.get("topic", "")
        action.purpose = properties.get("purpose", "")
        action.channel = properties.get("channel", "")
        action.status = properties["status"]
        action.decision_id = bytes.fromhex(properties.get("decision_id", ""))
        action.details = properties_bytes(properties.get("details") or {})


def fact_from_wire(message: fact_pb2.Fact) -> Fact:
    """The fact of a message; not yet checked. Names that all facts share are kept once in memory.

    Raises:
        FactError: the message has no body, or one that is no JSON.
    """
    kind = message.WhichOneof("body")
    if kind is None:
        raise FactError("has no body", field="body", cure="Set one of event, link, trait, consent, subscription ...")
    reference = None
    if message.HasField("interaction"):
        found = message.interaction
        reference = InteractionRef(found.id, found.direction, found.outcome)
    if kind == EVENT:
        raw = message.event.properties or b"{}"
    elif kind == DECISION:
        raw = message.decision.details or b"{}"
    elif kind == LINK:
        raw = b"{}"
    else:
        raw = properties_bytes(_properties(message, kind))
    return Fact(
        message.id, kind, intern(message.type), message.occurred_at, message.seq,
        tuple([Identifier(intern(i.kind), i.value) for i in message.identifiers]),
        intern(message.channel), intern(message.touchpoint), reference, raw,
    )  # fmt: skip


def _properties(message: fact_pb2.Fact, kind: str) -> dict[str, Any]:
    if kind == TRAIT:
        try:
            value = json.loads(message.trait.value)
        except ValueError as error:
            raise FactError(f"no JSON: {error}", field="trait.value", cure='Send JSON, e.g. "high"') from None
        return {"value": value, "source": message.trait.source}
    if kind == CONSENT:
        return {"state": message.consent.state}
    if kind == SUBSCRIPTION:
        return {"state": message.subscription.state}
    action = message.action
    try:
        details = json.loads(action.details or b"{}")
    except ValueError as error:
        raise FactError(f"no JSON: {error}", field="action.details", cure="Send a JSON object") from None
    return {
        "kind": message.type, "topic": action.topic, "purpose": action.purpose, "channel": action.channel,
        "status": action.status, "decision_id": action.decision_id.hex(), "details": details,
    }  # fmt: skip


def fact_to_bytes(fact: Fact) -> bytes:
    """A fact as a store keeps it."""
    return fact_to_wire(fact).SerializeToString()  # deterministic: a fact has no maps


def fact_from_bytes(data: bytes) -> Fact:
    """The fact of `fact_to_bytes`."""
    return fact_from_wire(fact_pb2.Fact.FromString(data))


def identifier_to_wire(identifier: Identifier) -> fact_pb2.Identifier:
    """The message of an identifier."""
    return fact_pb2.Identifier(kind=identifier.kind, value=identifier.value)


def identifier_from_wire(message: fact_pb2.Identifier) -> Identifier:
    """The identifier of a message."""
    return Identifier(message.kind, message.value)


def sections_to_wire(sections: Iterable[Section]) -> list[context_pb2.Section]:
    """The messages of sections."""
    return [context_pb2.Section(name=section.name, data=section.data) for section in sections]


def sections_from_wire(messages: Iterable[context_pb2.Section]) -> list[Section]:
    """The sections of messages."""
    return [Section(message.name, message.data) for message in messages]


def action_properties(kind: str, asked: dict[str, Any], status: str, decision_id: bytes) -> dict[str, Any]:
    """The properties of an action fact, as they come back from the wire."""
    return {
        "kind": kind, "topic": asked["topic"], "purpose": asked["purpose"], "channel": asked["channel"],
        "status": status, "decision_id": decision_id.hex(), "details": asked.get("details", {}),
    }  # fmt: skip
