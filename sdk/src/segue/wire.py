"""Between the domain and the wire: facts, identifiers, sections, both ways, nothing else.

Owns the only place that knows both `domain` and `v1`. A fact's properties stay the bytes that its producer wrote.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from sys import intern
from typing import Any, Final

from .domain.expression import NEVER
from .domain.fact import (
    ACTION,
    CHOICE,
    CLAIM,
    CONSENT,
    DECISION,
    ENDING,
    EVENT,
    EXPOSURE,
    INCIDENT,
    LINK,
    RESERVATION,
    RETRACTION,
    SEPARATION,
    STATEMENTS,
    SUBSCRIPTION,
    TRAIT,
    Fact,
    properties_bytes,
)
from .domain.identifier import Identifier
from .domain.interaction import InteractionRef
from .domain.section import Section
from .domain.verdict import Verdict
from .errors import FactError
from .v1 import context_pb2, fact_pb2, reservation_service_pb2

_BESIDES: Final = 2048
"""Bytes that a stored fact takes at most, besides its properties, unless its known fields take more."""
_identifier = partial(tuple.__new__, Identifier)  # twice as fast as `Identifier(...)`, and every fact passes here


_DETAILS: Final = frozenset((DECISION, RESERVATION, CLAIM))
"""Kinds whose properties travel as the JSON bytes that they are."""


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
        if fact.raw != b"{}":
            message.link.reason = fact.properties.get("reason", "")
    elif kind in _DETAILS:
        getattr(message, kind).details = fact.raw
    else:
        _body_to_wire(message, kind, fact.properties)
    return message


def _body_to_wire(message: fact_pb2.Fact, kind: str, properties: dict[str, Any]) -> None:
    if kind == TRAIT:
        message.trait.value = json.dumps(properties["value"], separators=(",", ":"), ensure_ascii=False).encode()
        message.trait.source = properties.get("source", "")
    elif kind == CONSENT:
        message.consent.state = properties["state"]
    elif kind == RETRACTION:
        message.retraction.SetInParent()
        message.retraction.fact = bytes.fromhex(properties.get("fact", ""))
        message.retraction.reason = properties.get("reason", "")
    elif kind == ENDING:
        message.ending.SetInParent()
        message.ending.reason = properties.get("reason", "")
    elif kind == SEPARATION:
        message.separation.SetInParent()
        message.separation.reason = properties.get("reason", "")
    elif kind == SUBSCRIPTION:
        message.subscription.state = properties["state"]
    elif kind == INCIDENT:
        message.incident.state = properties["state"]
        message.incident.title = properties.get("title", "")
        message.incident.workaround = properties.get("workaround", "")
    elif kind == ACTION:
        action = message.action
        action.topic = properties.get("topic", "")
        action.purpose = properties.get("purpose", "")
        action.channel = properties.get("channel", "")
        action.status = properties["status"]
        action.decision_id = bytes.fromhex(properties.get("decision_id", ""))
        action.details = properties_bytes(properties.get("details") or {})
        action.reservation_id = bytes.fromhex(properties.get("reservation") or "")
        action.advances = properties.get("advances") or ""
    elif kind == EXPOSURE:
        message.exposure.arm = properties["arm"]
    elif kind == CHOICE:
        message.choice.SetInParent()
        message.choice.choice = properties["choice"]


def fact_from_wire(message: fact_pb2.Fact) -> Fact:
    """The fact of a message; not yet checked. Names that all facts share are kept once in memory.

    Raises:
        FactError: the message has no body, or one that is no JSON.
    """
    kind = EVENT if message.HasField("event") else message.WhichOneof("body")
    if kind is EVENT:
        raw = message.event.properties or b"{}"
    elif kind in _DETAILS:
        raw = getattr(message, kind).details or b"{}"
    elif kind == LINK:
        reason = message.link.reason
        raw = properties_bytes({"reason": reason}) if reason else b"{}"
    elif kind is None:
        raise FactError("has no body", field="body", cure="Set one of event, link, trait, consent, subscription ...")
    else:
        raw = properties_bytes(_properties(message, kind))
    reference = _reference(message.interaction) if message.HasField("interaction") else None
    names = message.identifiers
    if len(names) == 1:  # nearly always: to walk through a message's list costs twice as much
        name = names[0]
        identifiers: tuple[Identifier, ...] = (_identifier((intern(name.kind), name.value)),)
    else:
        identifiers = tuple([_identifier((intern(name.kind), name.value)) for name in names])
    return Fact(
        message.id, intern(kind), intern(message.type), message.occurred_at, message.seq, identifiers,
        intern(message.channel), intern(message.touchpoint), reference, raw,
    )  # fmt: skip


def stamped(message: fact_pb2.Fact, fact: Fact) -> bytes:
    """What `fact_to_bytes` gives, for a fact that was read from a message and got another type, channel, touchpoint or
    time since, but no other identifiers: they are put into the message, and the rest of it is not made anew.
    """
    message.type = fact.type
    message.occurred_at = fact.occurred_at
    message.channel = fact.channel
    message.touchpoint = fact.touchpoint
    data = message.SerializeToString()
    # Fields that nobody here knows stay in the log, as long as they are few.
    return data if len(data) <= len(fact.raw) + _BESIDES else fact_to_bytes(fact)


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
    if kind in STATEMENTS:
        said = getattr(message, kind)
        told = {"reason": said.reason} if said.reason else {}
        return told | {"fact": said.fact.hex()} if kind == RETRACTION and said.fact else told
    if kind == INCIDENT:
        incident = message.incident
        return {"state": incident.state, "title": incident.title, "workaround": incident.workaround}
    if kind == EXPOSURE:
        return {"arm": message.exposure.arm}
    if kind == CHOICE:
        return {"choice": message.choice.choice}
    action = message.action
    try:
        details = json.loads(action.details or b"{}")
    except ValueError as error:
        raise FactError(f"no JSON: {error}", field="action.details", cure="Send a JSON object") from None
    told = {
        "kind": message.type, "topic": action.topic, "purpose": action.purpose, "channel": action.channel,
        "status": action.status, "decision_id": action.decision_id.hex(), "details": details,
    }  # fmt: skip
    if action.reservation_id:
        told["reservation"] = action.reservation_id.hex()
    if action.advances:
        told["advances"] = action.advances
    return told


def fact_to_bytes(fact: Fact) -> bytes:
    """A fact as a store keeps it."""
    return fact_to_wire(fact).SerializeToString()  # deterministic: a fact has no maps


def fact_from_bytes(data: bytes) -> Fact:
    """The fact of `fact_to_bytes`."""
    return fact_from_wire(fact_pb2.Fact.FromString(data))


def facts_from_bytes(bodies: Iterable[bytes], only: Identifier | None = None) -> Iterator[Fact]:
    """The facts of `fact_to_bytes`, each when its turn comes; quicker for the many of one customer than one by one.

    What nearly all of them are, an event of one identifier, is read here, and identifiers that come again are shared.

    Args:
        bodies: of facts.
        only: the one identifier that those of one identifier can have, where there is no other.
    """
    alone: tuple[Identifier, ...] = (only,) if only is not None else ()
    parse, known = fact_pb2.Fact.FromString, dict[str, tuple[Identifier, ...]]()
    for body in bodies:
        message = parse(body)
        raw, names = message.event.properties, message.identifiers
        if not raw or len(names) != 1:
            yield fact_from_wire(message)
            continue
        if alone:
            identifiers = alone
        else:
            name = names[0]
            value, kind = name.value, name.kind
            found = known.get(value)
            if found is None or found[0].kind != kind:
                found = known[value] = (_identifier((intern(kind), value)),)
            identifiers = found
        reference = _reference(message.interaction) if message.HasField("interaction") else None
        yield Fact(
            message.id, EVENT, intern(message.type), message.occurred_at, message.seq, identifiers,
            intern(message.channel), intern(message.touchpoint), reference, raw,
        )  # fmt: skip


def _reference(message: fact_pb2.Interaction) -> InteractionRef:
    return InteractionRef(message.id, message.direction, message.outcome)


def identifier_to_wire(identifier: Identifier) -> fact_pb2.Identifier:
    """The message of an identifier."""
    return fact_pb2.Identifier(kind=identifier.kind, value=identifier.value)


def identifier_from_wire(message: fact_pb2.Identifier) -> Identifier:
    """The identifier of a message."""
    return Identifier(message.kind, message.value)


def add_sections(sections: Iterable[Section], add: Callable[..., context_pb2.Section]) -> None:
    """Makes the messages of sections where they stay (`add` of the field): a third of making and then copying them."""
    for name, data in sections:
        add(name=name, data=data)


def sections_from_wire(messages: Iterable[context_pb2.Section]) -> list[Section]:
    """The sections of messages."""
    return [Section(message.name, message.data) for message in messages]


def verdict_from_wire(message: reservation_service_pb2.Verdict) -> Verdict:
    """The verdict of a message."""
    return Verdict(
        kind=message.kind, guardrail=message.guardrail, until=message.until or NEVER, reason=message.reason,
        owner=message.owner, mode=message.mode, holder=message.holder,
    )  # fmt: skip
