"""ContextService: cold reads, through the one projection."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any, Final

import grpc
from segue.domain.grant import SERVICE, Grant
from segue.domain.projection import project, view_of
from segue.v1 import context_pb2 as pb
from segue.v1 import context_pb2_grpc as rpc
from segue.wire import identifier_from_wire, sections_to_wire

from ..services.contexts import Contexts, dumps
from ..services.failure import Refusal, not_found
from ..services.head import Head
from ..services.plans import Plans
from .gate import Gate
from .status import refuse

NAMES: Final = 100_000
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
        self._views: dict[tuple[str, str], str] = {}
        self._made: dict[tuple[int, str], tuple[pb.Context, int]] = {}
        plans.listeners.append(self._new_plan)

    def _new_plan(self) -> None:
        self._names.clear()
        self._views.clear()
        self._made.clear()

    def opaque(self, customer: int) -> str:
        """A customer's name that tells nothing of its identifiers: made of its number in this store alone."""
        return hashlib.sha256(f"{self._incarnation}:{customer}".encode()).hexdigest()[:16]

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

    def view(self, grant: Grant, purpose: str) -> str:
        """The digest of what decides a projection, now."""
        found = self._views.get((grant.touchpoint, purpose))
        if found is None:
            if len(self._views) >= NAMES:
                self._views.clear()
            found = self._views[grant.touchpoint, purpose] = view_of(self._plans.current, grant, purpose)
        return found

    def message(self, customer: int, head: Head, grant: Grant, purpose: str) -> tuple[pb.Context, int]:
        """The message, and when a shipped outcome ends (microseconds). Made once for all who may see the same."""
        plan, now, version = self._plans.current, self._clock(), self._contexts.version(head)
        key = (customer, self.view(grant, purpose))
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


class ContextService(rpc.ContextServiceServicer):
    """Serves GetContext."""

    def __init__(
        self, contexts: Contexts, projections: Projections, plans: Plans, gate: Gate, clock: Callable[[], int]
    ) -> None:
        self._contexts = contexts
        self._projections = projections
        self._plans = plans
        self._gate = gate
        self._clock = clock

    async def GetContext(  # noqa: N802  # the protocol's own name
        self, request: pb.GetContextRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.GetContextResponse:
        """See the proto."""
        grant = self._plans.current.grant(self._gate.caller(context))
        identifier = identifier_from_wire(request.identifier)
        try:
            known = self._contexts.find(identifier)
            if known is None:
                raise not_found(f"nobody is known by {identifier}")
        except Refusal as error:
            await refuse(context, error)
        head = self._contexts.read(known.customer)
        message, _ = self._projections.message(known.customer, head, grant, request.purpose or SERVICE)
        return pb.GetContextResponse(context=message, server_time=self._clock())
