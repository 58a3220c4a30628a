"""Between the session machine and the wire: Sync messages, both ways, nothing else."""

from __future__ import annotations

import json
from collections.abc import Callable
from sys import intern
from typing import Any, Final

from .domain.instant import to_datetime
from .domain.telling import Telling
from .sync import Incoming, Outgoing, unreadable
from .v1 import sync_pb2
from .wire import identifier_from_wire, identifier_to_wire, sections_from_wire


def outgoing_to_wire(message: Outgoing, seq: int) -> sync_pb2.SyncRequest:
    """The request of an outgoing message."""
    request = sync_pb2.SyncRequest(seq=seq)
    fields = dict(message.fields)
    if "identifier" in fields:
        fields["identifier"] = identifier_to_wire(fields["identifier"])
    body = getattr(request, message.kind)
    body.SetInParent()
    body.MergeFrom(type(body)(**fields))
    return request


def incoming_from_wire(response: sync_pb2.SyncResponse) -> Incoming:
    """The incoming message of a response; one of a kind that this SDK does not know counts, and says nothing.

    One that cannot be read is an error of its subscription.
    """
    kind = response.WhichOneof("body")
    if kind is None:
        return Incoming("", {}, response.seq)
    body = getattr(response, kind)
    if kind == "contexts":
        return Incoming(kind, {"parts": [_read("context", update, None) for update in body.updates]}, response.seq)
    return _read(kind, body, response.seq)


def _read(kind: str, body: Any, seq: int | None) -> Incoming:
    try:
        return Incoming(kind, _FIELDS[kind](body), seq)
    except Exception as error:  # noqa: BLE001  # whatever it is made of, the stream goes on
        return unreadable(seq, getattr(body, "subscription", 0), error)


def _context(body: sync_pb2.ContextUpdate) -> dict[str, Any]:
    context = body.context
    return {
        "subscription": body.subscription, "unchanged": body.unchanged, "gone": body.gone,
        "included": list(body.included), "unknown": list(body.unknown), "version": context.version,
        "view": intern(context.view), "customer": context.customer, "plan": intern(context.plan),
        "sections": sections_from_wire(context.sections),
    }  # fmt: skip


def _audience(body: sync_pb2.AudienceChange) -> dict[str, Any]:
    members = [(m.customer, [identifier_from_wire(i) for i in m.identifiers], m.left) for m in body.members]
    tellings = [(m.number, _telling(m, body.audience)) for m in body.members] if body.through else []
    return {"subscription": body.subscription, "audience": body.audience, "reset": body.reset, "members": members,
            "tellings": tellings, "through": body.through}  # fmt: skip


def _telling(member: sync_pb2.AudienceMember, audience: str) -> Telling:
    return Telling(
        id=member.id, audience=audience, customer=member.customer,
        identifiers=tuple(identifier_from_wire(name) for name in member.identifiers), left=member.left,
        at=to_datetime(member.at), reason=member.reason,
    )  # fmt: skip


_FIELDS: Final[dict[str, Callable[[Any], dict[str, Any]]]] = {
    "welcome": lambda body: {
        "incarnation": body.incarnation, "server_time": body.server_time, "touchpoint": body.touchpoint,
        "several": body.several,
    },
    "plan": lambda body: {"digest": body.digest, "document": json.loads(body.document)},
    "workspace": lambda body: {"digest": body.digest, "document": json.loads(body.document)},
    "context": _context,
    "bookmark": lambda body: {
        "server_time": body.server_time, "subscriptions": body.subscriptions, "digest": body.digest
    },
    "goodbye": lambda body: {"reason": body.reason, "reconnect_after_ms": body.reconnect_after_ms},
    "audience": _audience,
    "error": lambda body: {"subscription": body.subscription, "code": body.code, "message": body.message},
}  # fmt: skip
