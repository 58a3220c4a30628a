"""Facts: what happened, and nothing else (law 1; semantics FA1 to FA6).

Owns the kinds of facts, their order within a customer, and their lazily read properties. A fact names identifiers,
never a customer; decisions and actions are facts too.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from typing import Any, Final

from ..errors import FactError
from .choice import is_about, says
from .identifier import Identifier
from .interaction import DIRECTIONS, OUTCOMES, InteractionRef

EVENT: Final = "event"
LINK: Final = "link"
TRAIT: Final = "trait"
CONSENT: Final = "consent"
SUBSCRIPTION: Final = "subscription"
DECISION: Final = "decision"
ACTION: Final = "action"
RETRACTION: Final = "retraction"
ENDING: Final = "ending"
SEPARATION: Final = "separation"
RESERVATION: Final = "reservation"
LONGEST_CLAIM: Final = 86_400_000_000
"""Microseconds that a claim may outlive the fact that told it."""
CLAIM: Final = "claim"
EXPOSURE: Final = "exposure"
CHOICE: Final = "choice"
STATEMENTS: Final = (RETRACTION, ENDING, SEPARATION)
"""Facts about links: they select which hold, and are not folded (ID2)."""
KINDS: Final = (
    EVENT,
    LINK,
    TRAIT,
    CONSENT,
    SUBSCRIPTION,
    DECISION,
    ACTION,
    RESERVATION,
    CLAIM,
    EXPOSURE,
    CHOICE,
    *STATEMENTS,
)
INCIDENT: Final = "incident"
WORKSPACE_KINDS: Final = (INCIDENT,)
"""Kinds of workspace facts: they belong to no customer and name no identifiers (FA5)."""

CONSENT_STATES: Final = ("granted", "denied", "withdrawn")
SUBSCRIPTION_STATES: Final = ("opted_in", "opted_out")
ACTION_STATUSES: Final = ("completed", "failed", "skipped")
MAX_PROPERTIES: Final = 64 * 1024
"""Bytes of a fact's properties; larger ones are refused."""
MAX_DEPTH: Final = 16
"""Lists and objects in one another, of a trait's value."""
MAX_NESTED: Final = 64
"""The same, of an event's properties."""
MAX_NAME: Final = 512
"""Characters of a type, channel, touchpoint or interaction; they stand in every context of their customer."""
_SCAN: Final = json.JSONDecoder().scan_once  # type: ignore[attr-defined]  # there since Python 3.0, not in the stubs
_ID_TEXT: Final = re.compile(r"[0-9a-fA-F]{32}").fullmatch
_AS_IT_IS: Final = frozenset((str, int, float, bool, type(None)))
"""Types whose values come back from JSON as they were."""
_ENCODE: Final = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode

FARTHEST: Final = 1 << 62
"""No instant is that far from 1970, in microseconds."""

Order = tuple[int, int, bytes]
"""(occurred_at, seq, id): the order of facts within a customer."""


class Fact:
    """One thing that happened. Proto: `segue.v1.Fact`.

    Attributes:
        id: 16 bytes, time-ordered; the same id twice is one fact.
        kind: one of `KINDS`.
        type: the event type, trait name, purpose, topic, decision name or action kind, by `kind`.
        occurred_at: microseconds since 1970, fixed once.
        seq: the producer's own ordinal.
        identifiers: whom it is about; at least one.
        channel: where it happened.
        touchpoint: who says so.
        interaction: the call, chat, visit or mail it belongs to, if any.
        raw: the properties as JSON bytes, exactly as the producer wrote them.
    """

    __slots__ = (
        "_properties", "channel", "id", "identifiers", "interaction", "kind", "occurred_at", "raw", "seq",
        "touchpoint", "type",
    )  # fmt: skip

    def __init__(
        self,
        id: bytes,
        kind: str,
        type: str,
        occurred_at: int,
        seq: int,
        identifiers: tuple[Identifier, ...],
        channel: str = "",
        touchpoint: str = "",
        interaction: InteractionRef | None = None,
        raw: bytes = b"{}",
    ) -> None:
        self.id = id
        self.kind = kind
        self.type = type
        self.occurred_at = occurred_at
        self.seq = seq
        self.identifiers = identifiers
        self.channel = channel
        self.touchpoint = touchpoint
        self.interaction = interaction
        self.raw = raw
        self._properties: dict[str, Any] | None = None

    @property
    def order(self) -> Order:
        """Where the fact stands among its customer's."""
        return (self.occurred_at, self.seq, self.id)

    @property
    def properties(self) -> dict[str, Any]:
        """The details, decoded on first use. Do not change them."""
        found = self._properties
        if found is None:
            found = self._properties = _parsed(self.raw.decode("utf-8", "surrogatepass"), self.raw)
        return found

    def written_from(self, properties: dict[str, Any]) -> None:
        """Takes the details from whoever wrote `raw`, where decoding it gives the same: it need not be decoded."""
        self._properties = decoded(properties)

    def forget(self) -> None:
        """Lets go of the decoded details; what is asked for again is decoded again."""
        self._properties = None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Fact) and self.content() == other.content()

    def __hash__(self) -> int:
        return hash(self.id)

    def __repr__(self) -> str:
        return f"Fact({self.kind} {self.type} at {self.occurred_at} seq {self.seq} id {self.id.hex()})"

    def content(self) -> tuple[object, ...]:
        """All that makes two facts of one id the same fact."""
        return (
            self.id, self.kind, self.type, self.occurred_at, self.seq, self.identifiers, self.channel,
            self.touchpoint, self.interaction, self.raw,
        )  # fmt: skip


def _parsed(text: str, raw: bytes) -> Any:
    """As `json.loads(raw)`; the common form, one object without spaces around it, is read directly from its text."""
    if text[:1] == "{" and text[1:2] != "\0":
        try:
            value, end = _SCAN(text, 0)
        except StopIteration:
            return json.loads(raw)
        if end == len(text):
            return value
    return json.loads(raw) if raw else {}


def properties_bytes(properties: dict[str, Any]) -> bytes:
    """Properties as JSON bytes: compact, keys sorted, UTF-8."""
    return _ENCODE(properties).encode()


def decoded(properties: dict[str, Any]) -> dict[str, Any] | None:
    """What `properties_bytes` makes of properties, decoded again; None where only decoding tells. They may be taken as
    they are, and are not to be changed any more.
    """
    for name, value in properties.items():
        if type(name) is not str or type(value) not in _AS_IT_IS:
            return None
    return dict(sorted(properties.items())) if len(properties) > 1 else properties


def derived_id(occurred_at: int, source: str, native: str) -> bytes:
    """The id of a fact from a file or foreign system: UUIDv8 of its time and a SHA-256 of source and native id.

    Time-ordered, and the same for the same input, so that importing twice adds nothing (FA1).
    """
    millis = max(0, occurred_at // 1000) & ((1 << 48) - 1)
    digest = hashlib.sha256(f"{source}\0{native}".encode()).digest()
    tail = bytearray(digest[:10])
    tail[0] = 0x80 | (tail[0] & 0x0F)
    tail[2] = 0x80 | (tail[2] & 0x3F)
    return millis.to_bytes(6, "big") + bytes(tail)


def check(fact: Fact) -> None:
    """Checks what does not depend on a plan.

    Raises:
        FactError: names the field and the cure.
    """
    if not fact.type:
        raise FactError("is empty", field="type", cure="Name the event, e.g. transfer.failed")
    for field, name in (("type", fact.type), ("channel", fact.channel), ("touchpoint", fact.touchpoint)):
        _checked_name(name, field)
    if not fact.identifiers:
        raise FactError("names nobody", field="identifiers", cure="Name at least one, e.g. account=A-1009")
    if len(fact.identifiers) > 16:
        raise FactError(f"{len(fact.identifiers)} identifiers in one fact", field="identifiers", cure="At most 16")
    properties = check_event(fact)
    if fact.kind == TRAIT:
        if "value" not in properties:
            raise FactError("a trait without a value", field="properties.value")
        _checked_value(properties["value"], MAX_DEPTH)
    if fact.kind == CONSENT:
        _one_of(properties.get("state"), CONSENT_STATES, "consent.state")
    elif fact.kind == SUBSCRIPTION:
        _one_of(properties.get("state"), SUBSCRIPTION_STATES, "subscription.state")
    elif fact.kind == ACTION:
        _one_of(properties.get("status"), ACTION_STATUSES, "action.status")
    elif fact.kind in STATEMENTS:
        check_statement(fact)
    elif fact.kind in (RESERVATION, CLAIM, EXPOSURE, CHOICE):
        _checked_coordination(fact, properties)
    elif fact.kind == LINK:
        _checked_reason(fact)


def _checked_coordination(fact: Fact, properties: dict[str, Any]) -> None:
    if fact.kind == RESERVATION:
        _one_of(properties.get("status"), ("granted", "released"), "reservation.status")
    elif fact.kind == CLAIM:
        _one_of(properties.get("status"), ("held", "offered", "accepted", "declined", "released"), "claim.status")
        until = properties.get("until", 0)
        if type(until) is not int or not 0 <= until < FARTHEST:
            raise FactError(f"{until!r} is no instant", field="claim.until", cure="Microseconds since 1970")
        if until > fact.occurred_at + LONGEST_CLAIM:
            raise FactError(
                "is more than a day away", field="claim.until", cure="Claim for less, and renew while she is there"
            )
        if properties.get("status") == "offered" and not properties.get("to"):
            raise FactError("is offered to nobody", field="claim.to", cure="Name the touchpoint")
    elif fact.kind == EXPOSURE:
        _one_of(properties.get("arm"), ("held_out", "treated"), "exposure.arm")
    else:
        _checked_choice(fact.type, properties.get("choice"))


def _checked_choice(about: str, choice: object) -> None:
    """A choice that nobody would honour is refused, so that whoever tells it hears of it."""
    if not isinstance(choice, str):
        raise FactError("is no text", field="choice", cure='Say what she chose, e.g. "no"; an empty text takes it back')
    if not is_about(about):
        raise FactError(
            f"nobody chooses about {about!r:.80}", field="choice.about",
            cure="One of channel:NAME, topic:NAME, purpose:NAME, journey:MAP, or channel for the one she prefers",
        )  # fmt: skip
    if not says(about, choice):
        raise FactError(
            f"{choice!r:.80} says nothing about {about!r:.80}", field="choice",
            cure='Say "no" or "left"; an empty text takes it back',
        )  # fmt: skip


def check_statement(fact: Fact) -> None:
    """A retraction, ending or separation speaks of two identifiers.

    Raises:
        FactError: it does not.
    """
    if len(set(fact.identifiers)) != 2:
        raise FactError(
            f"a {fact.kind} of {len(set(fact.identifiers))} identifiers", field="identifiers",
            cure="Name the two that it is about",
        )  # fmt: skip
    target = fact.properties.get("fact", "")
    if not isinstance(target, str) or (target and not _ID_TEXT(target)):
        raise FactError(f"{target!r} is no id of a fact", field="retraction.fact", cure="Give 16 bytes, or none")
    _checked_reason(fact)


def _checked_reason(fact: Fact) -> None:
    """Why, for people: of links and what is said about them."""
    reason = fact.properties.get("reason", "")
    if not isinstance(reason, str) or len(reason) > MAX_NAME:
        said = f"{len(reason)} characters" if isinstance(reason, str) else "no text"
        raise FactError(said, field=f"{fact.kind}.reason", cure=f"A text of at most {MAX_NAME} characters")


def _checked_name(name: str, field: str) -> None:
    if len(name) > MAX_NAME:
        raise FactError(f"{len(name)} characters", field=field, cure=f"At most {MAX_NAME}")


def check_event(fact: Fact) -> dict[str, Any]:
    """Checks of an event what its type, channel, touchpoint and identifiers do not say: those repeat, this is new.

    Returns:
        The properties.

    Raises:
        FactError: as `check`.
    """
    if len(fact.id) != 16:
        raise FactError(f"{len(fact.id)} bytes", field="id", cure="Give 16 bytes, e.g. a UUIDv7")
    if not 0 < fact.occurred_at < FARTHEST:
        raise FactError(f"{fact.occurred_at} is no instant", field="occurred_at", cure="Microseconds since 1970")
    reference = fact.interaction
    if reference is not None:
        _checked_name(reference.id, "interaction.id")
        _one_of(reference.direction, ("", *DIRECTIONS), "interaction.direction")
        _one_of(reference.outcome, ("", *OUTCOMES), "interaction.outcome")
    if len(fact.raw) > MAX_PROPERTIES:
        raise FactError(f"{len(fact.raw)} bytes", field="properties", cure=f"At most {MAX_PROPERTIES} bytes")
    try:
        text = fact.raw.decode()
        properties = fact._properties
        if properties is None:
            properties = fact._properties = _parsed(text, fact.raw)
        # What Python reads and nobody can write again: lone surrogates and numbers that JSON does not have.
        if "\\u" in text or "NaN" in text or "Infinity" in text:
            json.dumps(properties, ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, RecursionError) as error:
        raise FactError(f"no JSON: {error}", field="properties", cure="Send a JSON object in UTF-8") from None
    if not isinstance(properties, dict):
        raise FactError("no JSON object", field="properties", cure='Send an object, e.g. {"amount": 12.5}')
    if len(text) > 2 * MAX_NESTED and text.count("[") + text.count("{") > MAX_NESTED:
        _checked_nesting(properties, MAX_NESTED)
    return properties


def _checked_nesting(value: object, depth: int) -> None:
    if depth < 0:
        raise FactError(f"more than {MAX_NESTED} lists and objects in one another", field="properties")
    for part in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        _checked_nesting(part, depth - 1)


def _checked_value(value: object, depth: int) -> None:
    """A trait's value stands in every context of its customer, so every part of it must be writable everywhere."""
    if depth < 0:
        raise FactError(f"more than {MAX_DEPTH} lists and objects in one another", field="properties.value")
    if isinstance(value, int) and not -(1 << 63) <= value < 1 << 63:
        raise FactError("a whole number of more than 64 bits", field="properties.value", cure="Send it as a text")
    if isinstance(value, float) and value - value != 0.0:
        raise FactError("a number beyond JSON's", field="properties.value", cure="Send it as a text")
    for part in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        _checked_value(part, depth - 1)


def _one_of(value: object, allowed: Sequence[str], field: str) -> None:
    if value not in allowed:
        raise FactError(f"{value!r} is not known", field=field, cure="One of " + ", ".join(a for a in allowed if a))
