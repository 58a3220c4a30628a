"""What facts of coordination do to a content: actions, reservations, claims, exposures, choices.

Owns how each is folded. Everything here is replaced, never changed in place: few customers have any of it, and those
who have none share the same empty tables.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from . import claim as claims
from .claim import KEPT as CLAIMS_KEPT
from .content import RECENT_KEPT, Content
from .fact import CHOICE, CLAIM, EXPOSURE, RESERVATION, Fact
from .reservation import GRANTED, KEPT, RELEASED, Reservation
from .scope import Scope

if TYPE_CHECKING:
    from .plan import Plan

SLOTS: Final = 64
"""Slots of caps kept of one customer: with `per: topic` every topic is one."""
CHOICES: Final = 64
"""Choices kept of one customer."""
FOLDED: Final = frozenset((RESERVATION, CLAIM, EXPOSURE, CHOICE))
"""Kinds that `coordinate` folds."""


def act(content: Content, plan: Plan, fact: Fact) -> None:
    """An action: completed ones count under the caps that speak about them, once, also where they were reserved."""
    content.actions.append(fact)
    del content.actions[:-RECENT_KEPT]
    if fact.properties.get("status") != "completed":
        return
    reserved = bytes.fromhex(fact.properties.get("reservation") or "")
    held = content.reservations.get(reserved) if reserved else None
    counted: tuple[str, ...] = ()
    if held is not None:
        _reserve(content, reserved, _confirmed(held))
        counted = held.slots
    elif reserved:
        # Its clock is behind the hub's: the grant sorts after what was done with it. Counted here until it comes.
        content.confirmed = (*content.confirmed[-KEPT + 1 :], (reserved, fact.occurred_at))
    asked = {**fact.properties, "kind": fact.type, "touchpoint": fact.touchpoint}
    asked["channel"] = asked.get("channel") or fact.channel
    for guardrail in plan.capping:
        cap = guardrail.cap
        if cap is None or not guardrail.applies(Scope(content, fact.occurred_at, plan, action=asked)):
            continue
        slot = cap.slot(guardrail.name, asked)
        if slot not in counted:
            instants = content.caps.pop(slot, ())
            content.caps[slot] = (*instants[-cap.limit :], fact.occurred_at)
            _keep_slots(content)


def coordinate(content: Content, fact: Fact) -> None:
    """One fact of a kind in `FOLDED`."""
    if fact.kind == RESERVATION:
        _reservation(content, fact)
    elif fact.kind == CLAIM:
        _claim(content, fact)
    elif fact.kind == EXPOSURE:
        # The earliest wins: facts come in their order (AC4).
        if fact.type not in content.exposures:
            content.exposures = {**content.exposures, fact.type: (str(fact.properties["arm"]), fact.occurred_at)}
    else:
        chosen = {name: choice for name, choice in content.choices.items() if name != fact.type}
        if len(chosen) >= CHOICES:
            del chosen[next(iter(chosen))]
        said = str(fact.properties.get("choice") or "")
        content.choices = {**chosen, fact.type: (said, fact.occurred_at, fact.touchpoint)} if said else chosen


def _reservation(content: Content, fact: Fact) -> None:
    properties = fact.properties
    status = properties.get("status")
    if status == GRANTED:
        done_at = next((instant for id_, instant in content.confirmed if id_ == fact.id), None)
        slots = tuple(properties.get("slots", ()))
        if done_at is not None:
            # A place counts from its grant on, by the hub's clock alone, whatever the clock of who used it says.
            content.confirmed = tuple(told for told in content.confirmed if told[0] != fact.id)
            for slot in slots:
                _uncount(content, slot, done_at)
        _reserve(
            content,
            fact.id,
            Reservation(
                kind=fact.type, slots=slots, at=fact.occurred_at, expires_at=int(properties.get("expires_at", 0)),
                touchpoint=fact.touchpoint, frees=bool(properties.get("frees")), confirmed=done_at is not None,
            ),
        )  # fmt: skip
    elif status == RELEASED:
        id_ = bytes.fromhex(str(properties.get("reservation", "")))
        held = content.reservations.get(id_)
        if held is not None and not held.confirmed:
            content.reservations = {other: found for other, found in content.reservations.items() if other != id_}


def _reserve(content: Content, id_: bytes, reservation: Reservation) -> None:
    others = {other: found for other, found in content.reservations.items() if other != id_}
    if len(others) >= KEPT:
        # The place of the oldest stays taken, though nobody knows any more whose it was.
        oldest = others.pop(next(iter(others)))
        for slot in oldest.slots if oldest.confirmed or not oldest.frees else ():
            content.caps[slot] = tuple(sorted((*content.caps.pop(slot, ()), oldest.at)))[-KEPT:]
            _keep_slots(content)
    content.reservations = {**others, id_: reservation}


def _uncount(content: Content, slot: str, instant: int) -> None:
    instants = list(content.caps.get(slot, ()))
    if instant in instants:
        instants.remove(instant)
        content.caps[slot] = tuple(instants)


def _keep_slots(content: Content) -> None:
    if len(content.caps) > SLOTS:
        del content.caps[next(iter(content.caps))]


def _confirmed(held: Reservation) -> Reservation:
    return Reservation(held.kind, held.slots, held.at, held.expires_at, held.touchpoint, held.frees, confirmed=True)


def _claim(content: Content, fact: Fact) -> None:
    properties, scope = fact.properties, fact.type
    reference = fact.interaction
    said = claims.told(
        content.claims.get(scope), scope, str(properties.get("status")), fact.touchpoint, fact.occurred_at,
        int(properties.get("until", 0)), to=str(properties.get("to", "")),
        interaction=reference.id if reference is not None else "", note=str(properties.get("note", ""))[:500],
    )  # fmt: skip
    others = {name: claim for name, claim in content.claims.items() if name != scope}
    if len(others) >= CLAIMS_KEPT:
        del others[next(iter(others))]
    content.claims = {**others, scope: said} if said is not None else others
