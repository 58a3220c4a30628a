"""Reservations: places under strict caps, granted one at a time per customer (semantics AC2).

Owns the order in which a place is judged and granted. A grant is a fact, stamped by the hub: it is durable before it is
answered, the fold counts it, and a hub that starts again knows it. Judged on the whole context, so that what a
touchpoint may not see binds it too.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from segue.domain.content import Content
from segue.domain.context import Context
from segue.domain.decision import judge
from segue.domain.fact import ACTION, RESERVATION, Fact, properties_bytes
from segue.domain.grant import Grant
from segue.domain.guardrail import Guardrail
from segue.domain.identifier import Identifier
from segue.domain.projection import Projected
from segue.domain.reservation import GRANTED, RELEASED
from segue.domain.scope import Scope
from segue.domain.verdict import DEFER, Verdict

from .contexts import Contexts
from .failure import Refusal
from .ingest import Ingest
from .plans import Plans


@dataclass(frozen=True, slots=True)
class Asked:
    """A place that somebody asks for.

    Attributes:
        id: 16 bytes, the caller's; the same one again is the same place.
        names: the customer's identifiers.
        action: kind, topic, purpose, channel, advances.
    """

    id: bytes
    names: tuple[Identifier, ...]
    action: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Answer:
    """Granted until an instant (microseconds), or refused; with every verdict."""

    granted: bool
    expires_at: int
    verdicts: Sequence[Verdict]


class Reservations:
    """Grants places.

    Args:
        contexts: what is judged on.
        plans: whose guardrails judge.
        ingest: takes grants in, in order with all facts.
        clock: the hub's time in microseconds.
    """

    def __init__(self, contexts: Contexts, plans: Plans, ingest: Ingest, clock: Callable[[], int]) -> None:
        self._contexts = contexts
        self._plans = plans
        self._ingest = ingest
        self._clock = clock
        self._locks: dict[int, tuple[asyncio.Lock, int]] = {}
        self.counts = {"granted": 0, "refused": 0, "taken_back": 0, "released": 0}

    async def reserve(self, asked: Asked, grant: Grant, pending: Sequence[Fact] = ()) -> Answer:
        """Judges an action and, where nothing holds it back, takes its places.

        Args:
            asked: for what.
            grant: of the touchpoint.
            pending: its own facts about the customer that it has no answer for yet.

        Raises:
            Refusal: NOT_FOUND (nobody is known by any of the identifiers, and no fact names them), OVERLOADED,
                STORE_FULL, STORE_BROKEN.
        """
        if pending:
            await self._ingest.publish(list(pending), grant)
        async with self._alone(asked.names) as customer:
            answer = await self._grant(asked, grant, customer)
        self.counts["granted" if answer.granted else "refused"] += 1
        return answer

    async def _grant(self, asked: Asked, grant: Grant, customer: int) -> Answer:
        # All that was taken in before this is folded: the judgement misses nothing that was acknowledged.
        await self._ingest.decide_again()
        now, plan = self._clock(), self._plans.current
        content = self._contexts.read(customer).content if customer else None
        held = content.reservations.get(asked.id) if content is not None else None
        if held is not None and held.counts(now) and now < held.expires_at:
            return Answer(True, held.expires_at, [])
        verdicts = self._judge(asked, grant, now)
        capped = [g for g in plan.guardrails.values() if self._is_strict(g, asked.action)]
        if any(verdict.binds for verdict in verdicts) or held is not None:
            return Answer(False, 0, verdicts)
        expires_at = now + min((g.cap.hold for g in capped if g.cap is not None), default=0)
        if not capped:
            return Answer(True, expires_at, verdicts)
        slots = [g.cap.slot(g.name, asked.action) for g in capped if g.cap is not None]
        details = {
            "status": GRANTED, "slots": slots, "expires_at": expires_at,
            "frees": all(g.cap.frees for g in capped if g.cap is not None),
            **{name: asked.action.get(name) or "" for name in ("topic", "purpose", "channel")},
        }  # fmt: skip
        result = await self._stamp(asked.id, asked.names, str(asked.action["kind"]), details, grant, now)
        if result:
            return Answer(False, 0, [Verdict(kind=DEFER, guardrail="", reason=result)])
        over = self._over(asked, capped)
        if over:
            # Two customers became one while both were judged: whoever sees that there are too many steps back.
            await self._release(asked.id, asked.names, grant)
            self.counts["taken_back"] += 1
            return Answer(False, 0, over)
        return Answer(True, expires_at, verdicts)

    def _judge(self, asked: Asked, grant: Grant, at: int) -> list[Verdict]:
        """What everybody says whom the identifiers name: not linked yet, they may be several customers."""
        known = dict.fromkeys(found.customer for name in asked.names if (found := self._contexts.find(name)))
        contents = [self._contexts.read(customer).content for customer in known] or [Content()]
        action = {**asked.action, "touchpoint": grant.touchpoint}
        said = [judge(action, Context(Projected(content), self._plans.current, at)) for content in contents]
        return next((verdicts for verdicts in said if any(verdict.binds for verdict in verdicts)), said[0])

    def _is_strict(self, guardrail: Guardrail, action: Mapping[str, Any]) -> bool:
        if guardrail.cap is None or not guardrail.cap.strict or guardrail.mode != "enforce":
            return False
        at = self._clock()
        return guardrail.in_force(at) and guardrail.applies(Scope(Content(), at, self._plans.current, action=action))

    def _over(self, asked: Asked, capped: Sequence[Guardrail]) -> list[Verdict]:
        """The caps that hold more than their limit now that the grant is folded."""
        customer = self._find(asked.names)
        if not customer:
            return []
        content, at = self._contexts.read(customer).content, self._clock()
        over = []
        for guardrail in capped:
            assert guardrail.cap is not None
            scope = Scope(content, at, self._plans.current, action=asked.action)
            slot, zone = guardrail.cap.slot(guardrail.name, asked.action), guardrail.zone(scope)
            taken = guardrail.cap.taken(content, slot, at, zone)
            if len(taken) > guardrail.cap.limit:
                own = content.reservations.get(asked.id)
                others = [place for place in taken if own is None or (place[0], place[2]) != (own.at, own.touchpoint)]
                others = others or taken
                over.append(
                    Verdict(
                        kind=DEFER, guardrail=guardrail.name, until=min(place[1] for place in others),
                        reason=guardrail.reason, owner=guardrail.owner, holder=others[0][2],
                    )
                )  # fmt: skip
        return over

    async def release(self, id_: bytes, names: tuple[Identifier, ...], grant: Grant) -> bool:
        """Gives a place back; returns whether there was one to give.

        Whoever gave up waiting for the answer gives back what it may have been granted: that is waited for here.
        """
        async with self._alone(names):
            await self._ingest.decide_again()
            return await self._release(id_, names, grant)

    async def _release(self, id_: bytes, names: tuple[Identifier, ...], grant: Grant) -> bool:
        customer = self._find(names)
        held = self._contexts.read(customer).content.reservations.get(id_) if customer else None
        if held is None or held.confirmed or held.touchpoint != grant.touchpoint:
            return False
        now = self._clock()
        details = {"status": RELEASED, "reservation": id_.hex()}
        released = not await self._stamp(self._id(id_, b"release"), names, held.kind, details, grant, now)
        self.counts["released"] += released
        return released

    async def confirm(self, asked: Asked, status: str, grant: Grant) -> None:
        """Records the action that a place was reserved for, durably.

        Raises:
            Refusal: the fact is not taken.
        """
        action = asked.action
        properties = {
            "kind": action["kind"], "topic": action.get("topic") or "", "purpose": action.get("purpose") or "",
            "channel": action.get("channel") or "", "status": status, "decision_id": "", "details": {},
            "reservation": asked.id.hex(),
        }  # fmt: skip
        if action.get("advances"):
            properties["advances"] = action["advances"]
        fact = Fact(
            self._id(asked.id, status.encode()), ACTION, str(action["kind"]), self._clock(), 0, asked.names,
            grant.channel, grant.touchpoint, None, properties_bytes(properties),
        )  # fmt: skip
        (result,) = await self._ingest.publish([fact], grant)
        if result.status == "REJECTED":
            raise Refusal(result.code, result.reason)

    async def _stamp(
        self, id_: bytes, names: tuple[Identifier, ...], kind: str, details: Mapping[str, Any], grant: Grant, at: int
    ) -> str:
        """Writes a fact of the hub's own in a touchpoint's name; returns why it is not taken, if so."""
        raw = properties_bytes(dict(details))
        fact = Fact(id_, RESERVATION, kind, at, 0, names, grant.channel, grant.touchpoint, None, raw)
        (result,) = await self._ingest.publish([fact], _stamped(grant))
        return "" if result.status != "REJECTED" else result.reason

    @staticmethod
    def _id(id_: bytes, what: bytes) -> bytes:
        """The id of what follows from a reservation: the same when it is said again, and ordered with it."""
        tail = bytearray(hashlib.sha256(id_ + what).digest()[:10])
        tail[0] = 0x80 | (tail[0] & 0x0F)
        tail[2] = 0x80 | (tail[2] & 0x3F)
        return id_[:6] + bytes(tail)

    def _find(self, names: Sequence[Identifier]) -> int:
        for name in names:
            known = self._contexts.find(name)
            if known is not None:
                return known.customer
        return 0

    @asynccontextmanager
    async def _alone(self, names: Sequence[Identifier]) -> AsyncIterator[int]:
        """One at a time for a customer, whichever she is once it is our turn."""
        while True:
            customer = self._find(names)
            lock, waiting = self._locks.get(customer, (asyncio.Lock(), 0))
            self._locks[customer] = (lock, waiting + 1)
            try:
                async with lock:
                    if self._find(names) == customer:
                        yield customer
                        return
            finally:
                lock, waiting = self._locks[customer]
                if waiting == 1:
                    del self._locks[customer]
                else:
                    self._locks[customer] = (lock, waiting - 1)


def _stamped(grant: Grant) -> Grant:
    """The touchpoint's grant, with which the hub writes what only the hub may write."""
    return Grant(touchpoint=grant.touchpoint, channel=grant.channel, everything=True)
