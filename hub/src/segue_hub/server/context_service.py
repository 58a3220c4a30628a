"""ContextService: cold reads, through the one projection."""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any, Final

import grpc
import structlog
from segue.domain.grant import SERVICE, Grant
from segue.domain.identifier import Identifier
from segue.domain.instant import NEVER
from segue.domain.plan import Plan
from segue.domain.projection import Sight, project, view_of
from segue.domain.section import Section
from segue.errors import FactError
from segue.v1 import context_pb2 as pb
from segue.v1 import context_pb2_grpc as rpc
from segue.v1 import fact_pb2
from segue.wire import add_sections, identifier_from_wire

from ..limits import Limits
from ..services.contexts import Contexts
from ..services.failure import Refusal, not_found
from ..services.head import Head
from ..services.moments import Known, Moments
from ..services.past import AsOf, Past
from ..services.plans import Plans
from ..services.stored_content import Stored, dumps
from .gate import Gate
from .status import refuse

log = structlog.get_logger("segue.hub")

SLICE: Final = 8
"""Contexts of one call that are made before others get their turn."""
NAMES: Final = 20_000
"""Names remembered at most."""
ANSWER_BYTES: Final = 128
"""What an answer takes that says only that there is no room, and at most beside a context."""
SIGHTS: Final = 10_000
"""Sights kept: one for each touchpoint and purpose that asked."""
MADE: Final = 128
"""Messages kept for others who may see the same, some 10 KB each: who asks for one and the same asks within moments."""
ENCODED_BYTES: Final = 2_000_000
"""What encoded contexts take together that are kept for others who watch: those are told within moments."""


class _Encoded(OrderedDict[tuple[int, str], tuple[int, bytes, int]]):
    """Contexts in bytes with their version and when they end, by customer and view; who came longest ago goes."""

    _bytes = 0

    def put(self, key: tuple[int, str], found: tuple[int, bytes, int]) -> None:
        """Keeps one, in place of what was kept of the same."""
        before = self.pop(key, None)
        self[key] = found
        self._bytes += len(found[1]) - (len(before[1]) if before else 0)
        while self._bytes > ENCODED_BYTES:
            _, (_, gone, _) = self.popitem(last=False)
            self._bytes -= len(gone)

    def clear(self) -> None:
        super().clear()
        self._bytes = 0


class Projections:
    """Contexts as messages: what a touchpoint may see of a customer now."""

    def __init__(self, contexts: Contexts, plans: Plans, clock: Callable[[], int], incarnation: str) -> None:
        self._incarnation = incarnation
        self._contexts = contexts
        self._plans = plans
        self._clock = clock
        self._names: dict[int, str] = {}
        self._views: dict[tuple[str, str, str], str] = {}
        self._made: dict[tuple[int, str], tuple[pb.Context, int]] = {}
        self._encoded = _Encoded()
        self._sights: dict[str, Sight] = {}
        plans.listeners.append(self._new_plan)

    def _new_plan(self) -> None:
        self._names.clear()
        self._views.clear()
        self._made.clear()
        self._encoded.clear()
        self._sights.clear()

    def opaque(self, customer: int, since: int = 0) -> str:
        """A customer's name that tells nothing of its identifiers: made of its number in this store alone.

        Args:
            customer: its number.
            since: when an era began, of a customer of the past that is named by the number of its identifier.
        """
        number = f"{customer}:{since}" if since else customer
        return hashlib.sha256(f"{self._incarnation}:{number}".encode()).hexdigest()[:16]

    def name(self, customer: int, head: Head | Stored | None = None) -> str:
        """A customer's opaque name; a customer that gets another strongest identifier is another number.

        Args:
            customer: its number.
            head: what was read of it, if it was; who is stored has a name.
        """
        if isinstance(head, Stored):
            return self.opaque(customer)
        found = self._names.get(customer)
        if found is None:
            if not self._contexts.identifiers(customer):
                return ""
            if len(self._names) >= NAMES:
                self._names.clear()
            found = self._names[customer] = self.opaque(customer)
        return found

    def view(self, grant: Grant, purpose: str, plan: Plan | None = None) -> str:
        """The digest of what decides a projection, now; by the plan in force where none is given."""
        plan = plan or self._plans.current
        key = (grant.touchpoint, purpose, plan.digest)
        found = self._views.get(key)
        if found is None:
            if len(self._views) >= NAMES:
                self._views.clear()
            found = self._views[key] = view_of(plan, grant, purpose)
        return found

    def _sight(self, view: str, grant: Grant, purpose: str, plan: Plan) -> Sight:
        """What decides a projection, worked out once; a plan may be on another workspace and of the same view."""
        found = self._sights.get(view)
        if found is None or found.plan is not plan:
            if len(self._sights) >= SIGHTS:
                self._sights.clear()
            found = self._sights[view] = Sight(plan, grant, purpose)
        return found

    def known(self, identifier: Identifier, grant: Grant, purpose: str) -> tuple[int, Head | Stored] | None:
        """Who is known by an identifier, with what a message of her is made of."""
        if self._sees_whole(grant, purpose):
            return self._contexts.known_as_stored(identifier)
        return self._contexts.known(identifier)

    def _sees_whole(self, grant: Grant, purpose: str) -> bool:
        plan = self._plans.current
        return self._sight(self.view(grant, purpose, plan), grant, purpose, plan).whole

    def read(self, customer: int, grant: Grant, purpose: str) -> Head | Stored:
        """What a message is made of, by the plan in force: as stored where nobody needs more of it, else the head."""
        stored = self._contexts.stored(customer) if self._sees_whole(grant, purpose) else None
        return stored or self._contexts.read(customer)

    def message(
        self, customer: int, head: Head | Stored, grant: Grant, purpose: str, plan: Plan | None = None
    ) -> tuple[pb.Context, int]:
        """The message, and when a shipped outcome ends (microseconds). Made once for all who may see the same."""
        plan, now = plan or self._plans.current, self._clock()
        version, view = self._contexts.version(head), self.view(grant, purpose, plan)
        if isinstance(head, Stored):  # of many, each asked for once: not kept
            return self._worked_out(customer, head, version, view, self._sight(view, grant, purpose, plan), now)
        made = self._made.get((customer, view))
        if made is not None and made[0].version == version and now < made[1]:
            return made
        if len(self._made) >= MADE and (customer, view) not in self._made:
            del self._made[next(iter(self._made))]
        found = self._worked_out(customer, head, version, view, self._sight(view, grant, purpose, plan), now)
        self._made[customer, view] = found
        return found

    def encoded(
        self, customer: int, head: Head | Stored, grant: Grant, purpose: str, plan: Plan
    ) -> tuple[bytes, int]:  # fmt: skip
        """As `message`, in bytes: encoded once for all who watch."""
        version, view, now = self._contexts.version(head), self.view(grant, purpose, plan), self._clock()
        found = self._encoded.get((customer, view))
        if found is not None and found[0] == version and now < found[2]:
            return found[1], found[2]
        message, renew_at = self._worked_out(
            customer, head, version, view, self._sight(view, grant, purpose, plan), now
        )
        data = message.SerializeToString()
        self._encoded.put((customer, view), (version, data, renew_at))
        return data, renew_at

    def _worked_out(
        self, customer: int, head: Head | Stored, version: int, view: str, sight: Sight, now: int
    ) -> tuple[pb.Context, int]:  # fmt: skip
        if isinstance(head, Stored):
            sections, renew_at = sight.splice(head.sections, dumps), NEVER
        else:
            sections, renew_at = sight.project(head.content, now, dumps)
        return self._message(self.name(customer, head), version, view, sight.plan, sections), renew_at

    def _message(self, customer: str, version: int, view: str, plan: Plan, sections: Sequence[Section]) -> pb.Context:
        made = pb.Context(customer=customer, version=version, view=view, plan=plan.digest)
        add_sections(sections, made.sections.add)
        return made

    def message_as_of(self, found: AsOf, grant: Grant, purpose: str) -> pb.Context:
        """The message of a customer as she was, advanced to that instant."""
        moment, strongest = found.held.moment, found.held.spans[0]
        sections, _ = project(found.content, moment.plan, grant, purpose, moment.at, dumps)
        customer, view = self.opaque(strongest.number, strongest.since), view_of(moment.plan, grant, purpose)
        return self._message(customer, found.position, view, moment.plan, sections)


class ContextService(rpc.ContextServiceServicer):
    """Serves GetContext and GetContexts."""

    def __init__(
        self, contexts: Contexts, projections: Projections, plans: Plans, past: Past, moments: Moments, gate: Gate,
        clock: Callable[[], int], limits: Limits,
    ) -> None:  # fmt: skip
        self._limits = limits
        self._contexts = contexts
        self._projections = projections
        self._plans = plans
        self._past = past
        self._moments = moments
        self._gate = gate
        self._clock = clock

    async def GetContext(  # noqa: N802  # the protocol's own name
        self, request: pb.GetContextRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.GetContextResponse:
        """See the proto."""
        identifier, purpose = identifier_from_wire(request.identifier), request.purpose or SERVICE
        try:
            grant = self._plans.current.grant(self._gate.caller(context))
            if request.as_of or request.known_at:
                known_then = Known(at=request.known_at) if request.known_at else None
                moment = self._moments.by_the_plan_in_force(request.as_of, known_then)
                found = self._past.as_of(identifier, moment, hers_now=True)
                message = self._projections.message_as_of(found, grant, purpose)
                return pb.GetContextResponse(context=message, server_time=self._clock(), as_of=moment.at)
            known = self._projections.known(identifier, grant, purpose)
            if known is None:
                raise not_found(f"nobody is known by {identifier}")
        except (Refusal, FactError) as error:
            await refuse(context, error)
        message, _ = self._projections.message(*known, grant, purpose)
        return pb.GetContextResponse(context=message, server_time=self._clock())

    async def GetContexts(  # noqa: N802  # the protocol's own name
        self, request: pb.GetContextsRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.GetContextsResponse:
        """See the proto."""
        limits, asked = self._limits, request.identifiers
        if len(asked) > limits.lookups:
            told = f"identifiers: {len(asked)} in one call. Ask for at most {limits.lookups}"
            await refuse(context, Refusal("BATCH_TOO_LARGE", told))
        try:
            caller, purpose = self._gate.caller(context), request.purpose or SERVICE
        except Refusal as error:
            await refuse(context, error)
        response, room = pb.GetContextsResponse(), limits.message_bytes - ANSWER_BYTES * len(asked)
        for start in range(0, len(asked), SLICE):
            if start:
                await asyncio.sleep(0)
            room = self._answers(asked[start : start + SLICE], caller, purpose, response, room)
        response.server_time = self._clock()
        return response

    def _answers(
        self,
        asked: Sequence[fact_pb2.Identifier],
        caller: str,
        purpose: str,
        response: pb.GetContextsResponse,
        room: int,
    ) -> int:
        """Adds the answers of a slice; returns how many bytes there is room for after it."""
        with self._contexts.snapshot():
            for name in asked:
                answer = self._answer(identifier_from_wire(name), caller, purpose) if room > 0 else _FULL
                size = answer.ByteSize()
                if size > room and response.answers:  # the first is told whatever its size: it would be no smaller
                    answer, size = _FULL, room
                room -= size
                response.answers.append(answer)
        return room

    def _answer(self, identifier: Identifier, caller: str, purpose: str) -> pb.ContextAnswer:
        """One of several; what is wrong with it is no matter of the others."""
        grant = self._plans.current.grant(caller)  # by the plan in force now: others had their turn meanwhile
        try:
            known = self._projections.known(identifier, grant, purpose)
            if known is None:
                return pb.ContextAnswer(code="NOT_FOUND", message=f"nobody is known by {identifier}")
            return pb.ContextAnswer(context=self._projections.message(*known, grant, purpose)[0])
        except FactError as error:
            return pb.ContextAnswer(code=error.code, message=str(error))
        except Exception:  # one customer that cannot be shown may not take the answers of all others
            log.exception("a context cannot be shown", purpose=purpose)
            told = "this context cannot be shown; the hub's log says why"
            return pb.ContextAnswer(code="CONTEXT_BROKEN", message=told)


_FULL: Final = pb.ContextAnswer(code="ANSWER_FULL", message="the answer is full: ask for this one again, with fewer")
