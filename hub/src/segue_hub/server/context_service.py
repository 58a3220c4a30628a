"""ContextService: cold reads, through the one projection."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any, Final

import grpc
from segue.domain.grant import SERVICE, Grant
from segue.domain.plan import Plan
from segue.domain.projection import project, view_of
from segue.errors import FactError
from segue.v1 import context_pb2 as pb
from segue.v1 import context_pb2_grpc as rpc
from segue.wire import identifier_from_wire, sections_to_wire

from ..services.contexts import Contexts
from ..services.failure import Refusal, not_found
from ..services.head import Head
from ..services.moments import Known, Moments
from ..services.past import AsOf, Past
from ..services.plans import Plans
from ..services.stored_content import dumps
from .gate import Gate
from .status import refuse

NAMES: Final = 20_000
"""Names remembered at most."""
MADE: Final = 1_000
"""Messages kept for others who may see the same."""


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
        plans.listeners.append(self._new_plan)

    def _new_plan(self) -> None:
        self._names.clear()
        self._views.clear()
        self._made.clear()

    def opaque(self, customer: int, since: int = 0) -> str:
        """A customer's name that tells nothing of its identifiers: made of its number in this store alone.

        Args:
            customer: its number.
            since: when an era began, of a customer of the past that is named by the number of its identifier.
        """
        number = f"{customer}:{since}" if since else customer
        return hashlib.sha256(f"{self._incarnation}:{number}".encode()).hexdigest()[:16]

    def name(self, customer: int) -> str:
        """A customer's opaque name; a customer that gets another strongest identifier is another number."""
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

    def message(
        self, customer: int, head: Head, grant: Grant, purpose: str, plan: Plan | None = None
    ) -> tuple[pb.Context, int]:
        """The message, and when a shipped outcome ends (microseconds). Made once for all who may see the same."""
        plan = plan or self._plans.current
        now, version = self._clock(), self._contexts.version(head)
        key = (customer, self.view(grant, purpose, plan))
        made = self._made.get(key)
        if made is not None and made[0].version == version and now < made[1]:
            return made
        sections, renew_at = project(head.content, plan, grant, purpose, now, dumps)
        context = pb.Context(
            customer=self.name(customer),
            version=version,
            view=key[1],
            plan=plan.digest,
            sections=sections_to_wire(sections),
        )
        if len(self._made) >= MADE:
            self._made.clear()
        self._made[key] = (context, renew_at)
        return context, renew_at

    def message_as_of(self, found: AsOf, grant: Grant, purpose: str) -> pb.Context:
        """The message of a customer as she was, advanced to that instant."""
        moment, strongest = found.held.moment, found.held.spans[0]
        sections, _ = project(found.content, moment.plan, grant, purpose, moment.at, dumps)
        return pb.Context(
            customer=self.opaque(strongest.number, strongest.since),
            version=found.position,
            view=view_of(moment.plan, grant, purpose),
            plan=moment.plan.digest,
            sections=sections_to_wire(sections),
        )


class ContextService(rpc.ContextServiceServicer):
    """Serves GetContext."""

    def __init__(
        self, contexts: Contexts, projections: Projections, plans: Plans, past: Past, moments: Moments, gate: Gate,
        clock: Callable[[], int],
    ) -> None:  # fmt: skip
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
            known = self._contexts.known(identifier)
            if known is None:
                raise not_found(f"nobody is known by {identifier}")
        except (Refusal, FactError) as error:
            await refuse(context, error)
        message, _ = self._projections.message(*known, grant, purpose)
        return pb.GetContextResponse(context=message, server_time=self._clock())
