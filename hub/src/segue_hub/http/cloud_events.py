"""CloudEvents in: one JSON event or a batch of them, as facts.

Owns the mapping from CloudEvents 1.0 (structured JSON) to facts: `type` and `time` are the fact's, `data` its
properties, `subject` one identifier (`account=A-1009`) or several with `&`, `source` and `id` make the fact's id, so
that sending twice adds nothing (FA1). Extension attributes: `channel`, `interaction`, `kind` (default `event`).
"""

from __future__ import annotations

from typing import Any

from segue.domain.fact import EVENT, KINDS, Fact, derived_id, properties_bytes
from segue.domain.identifier import Identifier, parse_identifier
from segue.domain.instant import parse_instant
from segue.domain.interaction import InteractionRef
from segue.errors import FactError


def fact_of(event: Any, now: int) -> Fact:
    """The fact of one CloudEvent.

    Args:
        event: decoded JSON.
        now: for events without a time, in microseconds.

    Raises:
        FactError: names the attribute and the cure.
    """
    if not isinstance(event, dict):
        raise FactError("no JSON object", field="event", cure="Send a CloudEvent: id, source, type, subject, data")
    type_, subject, source, id_ = (str(event.get(name) or "") for name in ("type", "subject", "source", "id"))
    if not type_:
        raise FactError("is missing", field="type", cure='Write "type": "transfer.failed"')
    if not subject:
        raise FactError("is missing", field="subject", cure='Write "subject": "account=A-1009"')
    if not id_:
        raise FactError("is missing", field="id", cure="Give each event its own id, so that sending it twice is safe")
    occurred_at = now
    if event.get("time"):
        try:
            occurred_at = parse_instant(str(event["time"]))
        except ValueError as error:
            raise FactError(str(error), field="time", cure='Write e.g. "2026-05-04T10:42:00Z"') from None
    data = event.get("data") or {}
    if not isinstance(data, dict):
        raise FactError("no JSON object", field="data", cure='Write "data": {"amount": 12.5}')
    kind = str(event.get("kind") or EVENT)
    if kind not in KINDS:
        raise FactError(f"{kind!r} is not known", field="kind", cure="One of " + ", ".join(KINDS))
    interaction = event.get("interaction")
    return Fact(
        derived_id(occurred_at if event.get("time") else 0, source, id_), kind, type_, occurred_at, 0,
        identifiers_of(subject), str(event.get("channel") or ""), "",
        InteractionRef(str(interaction)) if interaction else None, properties_bytes(data),
    )  # fmt: skip


def identifiers_of(subject: str) -> tuple[Identifier, ...]:
    """`account=A-1009&email=ann@example.com` as identifiers."""
    return tuple(parse_identifier(part) for part in subject.split("&"))
