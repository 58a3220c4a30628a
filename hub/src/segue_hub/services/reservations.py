"""Reservations: places under strict caps, granted one at a time per customer (semantics AC2).

Owns the order in which a place is judged and granted. A grant is a fact, stamped by the hub: it is durable before it is
answered, the fold counts it, and a hub that starts again knows it. Judged on the whole context, so that what a
touchpoint may not see binds it too. What was acknowledged is folded already: a refusal costs no writing, a grant one
unit, and those of many customers share it.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from segue.domain.content import Content
from segue.domain.context import Context
from segue.domain.decision import judge
from segue.domain.fact import ACTION, RESERVATION, Fact, properties_bytes
from segue.domain.grant import Grant
from segue.domain.guardrail import Guardrail
from segue.domain.identifier import Identifier
from segue.domain.plan import Plan
from segue.domain.projection import Projected
from segue.domain.reservation import GRANTED, RELEASED, Reservation
from segue.domain.scope import Scope
from segue.domain.verdict import DEFER, Verdict
from segue.errors import FactError

from .admission import Result
from .contexts import Contexts
from .failure import Refusal
from .ingest import Ingest
from .plans import Plans

T = TypeVar("T")
ASKED_KEPT: Final = 16_384
"""Ids asked of late that are remembered; a release of another one takes its id in the log."""


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


@dataclass(slots=True)
class _Turn:
    """Whose turn it is with one customer, and how many hold or await it."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    count: int = 0


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
        self._turns: dict[int | Identifier, _Turn] = {}
        self._asked: OrderedDict[tuple[str, bytes], bool] = OrderedDict()  # of late, and whether given up since
        self.counts = {"granted": 0, "refused": 0, "taken_back": 0, "released": 0}

    async def reserve(self, asked: Asked, grant: Grant, pending: Sequence[Fact] = ()) -> Answer:
        """Judges an action and, where nothing holds it back, takes its places.

        Args:
            asked: for what.
            grant: of the touchpoint.
            pending: its own facts about the customer that it has no answer for yet.

        Raises:
            Refusal: ID_CONFLICT (the id is of another reservation, or of one that is over), OVERLOADED, STORE_FULL,
                STORE_BROKEN.
        """
        self._asked.setdefault((grant.touchpoint, asked.id), False)
        if len(self._asked) > ASKED_KEPT:
            self._asked.popitem(last=False)
        if pending:
            await self._ingest.publish(list(pending), grant)
        answer = await self._alone(asked.names, lambda: self._grant(asked, grant))
        self.counts["granted" if answer.granted else "refused"] += 1
        return answer

    async def _grant(self, asked: Asked, grant: Grant) -> Answer:
        if self._asked.get((grant.touchpoint, asked.id)):
            raise _taken(asked.id, "was given back meanwhile")
        now, plan = self._clock(), self._plans.current
        capped = [g for g in plan.capping if self._is_strict(g, asked.action)]
        slots = [g.cap.slot(g.name, asked.action) for g in capped if g.cap is not None]
        held = self._held(asked.id, asked.names)
        if held is not None:
            # The hub may have died before it saw that there were too many, or two customers became one since. Nobody
            # knows whether the place was used: it stays taken, and nobody hears of it as granted any more.
            again = _again(asked, held, slots, grant, now)
            over = self._over(asked, capped)
            return Answer(False, 0, over) if over else again
        verdicts = self._judge(asked, grant, now)
        if any(verdict.binds for verdict in verdicts):
            return Answer(False, 0, verdicts)
        expires_at = now + min((g.cap.hold for g in capped if g.cap is not None), default=0)
        if not capped:
            return Answer(True, expires_at, verdicts)
        details = {
            "status": GRANTED, "slots": slots, "expires_at": expires_at,
            "frees": all(g.cap.frees for g in capped if g.cap is not None),
            **{name: asked.action.get(name) or "" for name in ("topic", "purpose", "channel")},
        }  # fmt: skip
        result = await self._stamp(asked.id, asked.names, str(asked.action["kind"]), details, grant, now)
        if result.status == "DUPLICATE" or result.code == "ID_CONFLICT":
            raise _taken(asked.id, "was used already, or given back before it was asked for")
        if result.status == "REJECTED":
            return Answer(False, 0, [Verdict(kind=DEFER, guardrail="", reason=result.reason)])
        over = self._over(asked, capped)
        if over:
            # Two customers became one while both were judged: whoever sees that there are too many steps back.
            await self._release(asked.id, asked.names, grant)
            self.counts["taken_back"] += 1
            return Answer(False, 0, over)
        return Answer(True, expires_at, verdicts)

    def _judge(self, asked: Asked, grant: Grant, at: int) -> list[Verdict]:
        """What everybody says whom the identifiers name: not linked yet, they may be several customers."""
        contents = self._contents(asked.names) or [Content()]
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

        Whoever gave up waiting for the answer gives back what it may have been granted, or may be granted yet. Where
        its question is here, it is remembered that nobody waits for the answer. Where it may still be on its way, its
        release takes the id in the log; whatever comes later under that id is refused, also by a hub that was started
        again meanwhile.
        """
        if (grant.touchpoint, id_) in self._asked:
            self._asked[grant.touchpoint, id_] = True
        elif self._held(id_, names) is None:
            details = {"status": RELEASED, "reservation": id_.hex()}
            result = await self._stamp(id_, names[:1], RELEASED, details, grant, self._clock())
            if result.status == "ACCEPTED":
                return False
        # It was granted while we asked, or long ago. What took the id is folded before we hear that it is taken.
        return await self._alone(names, lambda: self._release(id_, names, grant))

    async def _release(self, id_: bytes, names: tuple[Identifier, ...], grant: Grant) -> bool:
        held = self._held(id_, names)
        if held is None or held.confirmed or held.touchpoint != grant.touchpoint:
            return False
        details = {"status": RELEASED, "reservation": id_.hex()}
        result = await self._stamp(self._id(id_, b"release"), names, held.kind, details, grant, self._clock())
        released = result.status != "REJECTED"
        self.counts["released"] += released
        return released

    async def confirm(self, asked: Asked, status: str, grant: Grant) -> None:
        """Records the action that a place was reserved for, durably; saying it again changes nothing.

        Raises:
            Refusal: the fact is not taken.
        """
        action = asked.action
        properties = {
            "kind": action["kind"], "topic": action.get("topic") or "", "purpose": action.get("purpose") or "",
            "channel": action.get("channel") or "", "status": status,
            "decision_id": action.get("decision_id") or "", "details": action.get("details") or {},
            "reservation": asked.id.hex(),
        }  # fmt: skip
        if action.get("advances"):
            properties["advances"] = action["advances"]
        fact = Fact(
            self._id(asked.id, status.encode()), ACTION, str(action["kind"]), self._clock(), 0, asked.names,
            grant.channel, grant.touchpoint, None, properties_bytes(properties),
        )  # fmt: skip
        (result,) = await self._ingest.publish([fact], grant)
        # Its id is made of the reservation and the status: where another fact has it, this was told before.
        if result.status == "REJECTED" and result.code != "ID_CONFLICT":
            raise Refusal(result.code, result.reason)

    async def _stamp(
        self, id_: bytes, names: tuple[Identifier, ...], kind: str, details: Mapping[str, Any], grant: Grant, at: int
    ) -> Result:
        """Writes a fact of the hub's own in a touchpoint's name."""
        raw = properties_bytes(dict(details))
        fact = Fact(id_, RESERVATION, kind, at, 0, names, grant.channel, grant.touchpoint, None, raw)
        (result,) = await self._ingest.publish([fact], _stamped(grant))
        return result

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

    def _contents(self, names: Sequence[Identifier]) -> list[Content]:
        """Of everybody whom the identifiers name."""
        return [self._contexts.read(customer).content for customer in self._known(names)]

    def _known(self, names: Sequence[Identifier]) -> dict[int, None]:
        return dict.fromkeys(found.customer for name in names if (found := self._contexts.find(name)))

    def _held(self, id_: bytes, names: Sequence[Identifier]) -> Reservation | None:
        return next((c.reservations[id_] for c in self._contents(names) if id_ in c.reservations), None)

    async def _alone(self, names: Sequence[Identifier], work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Does something about a customer, whichever she is once it is our turn, and nobody else does meanwhile.

        Whoever goes while waiting leaves the line. Once begun it is done to its end, also where whoever asked has gone:
        the next one must find what was granted.
        """
        taken: list[int | Identifier] = []
        try:
            # By her names first: who is not known yet is somebody else's customer in the middle of their turn.
            for name in sorted(set(names), key=str):
                await self._take_turn(name, taken)
            through = len(taken)
            while True:
                known = self._known(names)
                for customer in sorted(known):
                    await self._take_turn(customer, taken)
                if self._known(names) == known:
                    break
                self._leave(taken[through:])
                del taken[through:]
            task = asyncio.ensure_future(work())
        except BaseException:  # also where whoever waits was cancelled: nobody would leave the line for it
            self._leave(taken)
            raise
        task.add_done_callback(lambda _: self._leave(taken))
        return await asyncio.shield(task)

    async def _take_turn(self, key: int | Identifier, taken: list[int | Identifier]) -> None:
        turn = self._turns.setdefault(key, _Turn())
        turn.count += 1
        try:
            await turn.lock.acquire()
        except BaseException:  # likewise
            self._forget(key, turn)
            raise
        taken.append(key)

    def _leave(self, taken: Sequence[int | Identifier]) -> None:
        for key in taken:
            turn = self._turns[key]
            turn.lock.release()
            self._forget(key, turn)

    def _forget(self, key: int | Identifier, turn: _Turn) -> None:
        turn.count -= 1
        if not turn.count:
            del self._turns[key]


def named(names: Sequence[Identifier], plan: Plan) -> tuple[Identifier, ...]:
    """Whom it is about, in their normal form, strongest first.

    Raises:
        Refusal: FACT_INVALID, nobody is named or a name cannot be one.
    """
    kinds = plan.kinds
    try:
        found = {kinds.normal(name) for name in names}
    except FactError as error:
        raise Refusal(error.code, f"identifiers: {error}") from None
    if not found:
        raise Refusal("FACT_INVALID", "identifiers: nobody is named. Name at least one, e.g. account=A-1009")
    return tuple(sorted(found, key=kinds.strength))


def _again(asked: Asked, held: Reservation, slots: Sequence[str], grant: Grant, at: int) -> Answer:
    """The answer to an id that is known: the same one, as long as it is the same question and the place is held."""
    if (held.touchpoint, held.kind) != (grant.touchpoint, asked.action["kind"]) or not set(slots) <= set(held.slots):
        raise _taken(asked.id, "is of another reservation")
    if held.confirmed:
        raise _taken(asked.id, "was confirmed already: the action was carried out")
    if at >= held.expires_at:
        raise _taken(asked.id, "ran out")
    return Answer(True, held.expires_at, [])


def _taken(id_: bytes, why: str) -> Refusal:
    return Refusal("ID_CONFLICT", f"id: {id_.hex()} {why}. Ask with a new id")


def _stamped(grant: Grant) -> Grant:
    """The touchpoint's grant, with which the hub writes what only the hub may write."""
    return Grant(touchpoint=grant.touchpoint, channel=grant.channel, everything=True)
