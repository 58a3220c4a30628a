"""AdminService: what the platform team and journey owners look at."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc
from segue.domain.fact import Fact
from segue.domain.instant import NEVER
from segue.errors import FactError
from segue.v1 import admin_service_pb2 as pb
from segue.v1 import admin_service_pb2_grpc as rpc
from segue.wire import fact_to_wire, identifier_from_wire, identifier_to_wire

from ..services.audiences import Audiences
from ..services.contexts import Contexts
from ..services.failure import Refusal, not_found
from ..services.moments import Known, Moments
from ..services.overview import Overview
from ..services.past import Past
from ..services.plans import Plans
from ..services.reports import Reports
from ..services.touchpoints import Touchpoints
from ..storage.ports import Store
from .document import document
from .status import refuse

Context = grpc.aio.ServicerContext[Any, Any]


def _known(message: pb.Known) -> Known | None:
    bound = message.WhichOneof("bound")
    return Known(**{bound: getattr(message, bound)}) if bound is not None else None


class AdminService(rpc.AdminServiceServicer):
    """Serves the admin's questions."""

    def __init__(
        self, store: Store, contexts: Contexts, plans: Plans, audiences: Audiences, reports: Reports,
        overview: Overview, touchpoints: Touchpoints, past: Past, moments: Moments, decode: Callable[[bytes], Fact],
    ) -> None:  # fmt: skip
        self._store = store
        self._contexts = contexts
        self._plans = plans
        self._audiences = audiences
        self._reports = reports
        self._overview = overview
        self._touchpoints = touchpoints
        self._past = past
        self._moments = moments
        self._decode = decode

    async def AddTouchpoint(  # noqa: N802
        self, request: pb.AddTouchpointRequest, context: Context
    ) -> pb.AddTouchpointResponse:
        """See the proto."""
        try:
            return pb.AddTouchpointResponse(key=await self._touchpoints.issue(request.touchpoint))
        except Refusal as error:
            await refuse(context, error)

    async def RevokeTouchpoint(  # noqa: N802
        self, request: pb.RevokeTouchpointRequest, context: Context
    ) -> pb.RevokeTouchpointResponse:
        """See the proto."""
        try:
            return pb.RevokeTouchpointResponse(revoked=await self._touchpoints.revoke(request.touchpoint))
        except Refusal as error:
            await refuse(context, error)

    async def ShowCustomer(  # noqa: N802
        self, request: pb.ShowCustomerRequest, context: Context
    ) -> pb.ShowCustomerResponse:
        """See the proto."""
        identifier, known = identifier_from_wire(request.identifier), _known(request.known)
        try:
            if request.as_of or known is not None or request.plan:
                moment = self._moments.moment(request.as_of, known, request.plan)
                plain = self._past.as_of(identifier, moment).plain
            else:
                plain = self._reports.customer(identifier)
        except (Refusal, FactError) as error:
            await refuse(context, error)
        return pb.ShowCustomerResponse(document=document(plain))

    async def DiffCustomer(  # noqa: N802
        self, request: pb.DiffCustomerRequest, context: Context
    ) -> pb.DiffCustomerResponse:
        """See the proto."""
        known = _known(request.known)
        try:
            if not request.since:
                raise Refusal("INPUT_INVALID", "since: is missing. Give the earlier instant")
            earlier, later = (self._moments.moment(at, known, request.plan) for at in (request.since, request.until))
            if later.at < earlier.at:
                raise Refusal("INPUT_INVALID", "until: is before since. Give the earlier instant first")
            plain = self._past.diff(identifier_from_wire(request.identifier), earlier, later)
        except (Refusal, FactError) as error:
            await refuse(context, error)
        return pb.DiffCustomerResponse(document=document(plain))

    async def ListFacts(self, request: pb.ListFactsRequest, context: Context) -> pb.ListFactsResponse:  # noqa: N802
        """See the proto."""
        identifier = identifier_from_wire(request.identifier)
        try:
            known = self._contexts.find(identifier)
            if known is None:
                raise not_found(f"nobody is known by {identifier}")
            start = int(request.page_token) if request.page_token else 0
        except ValueError:
            await refuse(context, Refusal("INPUT_INVALID", "page_token: is not one that this hub gave"))
        except Refusal as error:
            await refuse(context, error)
        size = min(request.page_size or 100, 1000)
        facts = [f for f in reversed(self._contexts.facts(known.customer)) if request.kind in ("", f.kind)]
        more = str(start + size) if start + size < len(facts) else ""
        page = [fact_to_wire(fact) for fact in facts[start : start + size]]
        return pb.ListFactsResponse(facts=page, next_page_token=more)

    async def TailFacts(  # noqa: N802
        self, request: pb.TailFactsRequest, context: Context
    ) -> AsyncIterator[pb.TailFactsResponse]:
        """See the proto."""
        after = max(0, request.after) if request.after else self._contexts.position
        wanted = {(i.kind, i.value) for i in request.identifiers}
        while True:
            limit = min(500, self._contexts.position - after)
            for position, body in self._store.log(after, limit) if limit > 0 else ():
                after = position
                response = pb.TailFactsResponse(position=position)
                if body is not None:
                    fact = self._decode(body)
                    if wanted and not wanted.intersection(fact.identifiers):
                        continue
                    response.fact.CopyFrom(fact_to_wire(fact))
                yield response
            if limit <= 0:
                await asyncio.sleep(0.1)

    async def ListAudiences(  # noqa: N802
        self, request: pb.ListAudiencesRequest, context: Context
    ) -> pb.ListAudiencesResponse:
        """See the proto."""
        audiences = self._plans.current.audiences
        counts = dict.fromkeys(audiences, 0)
        async for _, name in self._audiences.members(list(audiences)):
            counts[name] += 1
        return pb.ListAudiencesResponse(
            audiences=[
                pb.AudienceSummary(
                    name=audience.name,
                    title=audience.title,
                    owner=audience.owner,
                    members=counts[audience.name],
                    expression=audience.source,
                )
                for audience in audiences.values()
            ]
        )

    async def ListMembers(  # noqa: N802
        self, request: pb.ListMembersRequest, context: Context
    ) -> AsyncIterator[pb.ListMembersResponse]:
        """See the proto."""
        try:
            self._audiences.require(request.audience)
        except Refusal as error:
            await refuse(context, error)
        async for customer, _ in self._audiences.members([request.audience]):
            names = [identifier_to_wire(name) for name in self._contexts.identifiers(customer)]
            yield pb.ListMembersResponse(customer=names[0], identifiers=names)

    async def ReportJourneys(  # noqa: N802
        self, request: pb.ReportJourneysRequest, context: Context
    ) -> pb.ReportJourneysResponse:
        """See the proto."""
        try:
            return pb.ReportJourneysResponse(document=document(await self._reports.journeys(request.map)))
        except Refusal as error:
            await refuse(context, error)

    async def ListIncidents(  # noqa: N802
        self, request: pb.ListIncidentsRequest, context: Context
    ) -> pb.ListIncidentsResponse:
        """See the proto."""
        now = self._overview.now()
        found = []
        for name, incident in sorted(self._plans.current.workspace.incidents.items()):
            state, turn = incident.at(now), incident.open_until(now)[1]
            words = state if state.since else incident.states[0]  # what is only announced is called something too
            summary = pb.IncidentSummary(
                incident=name, open=state.open, title=words.title, workaround=words.workaround,
                opened_at=state.opened_at, fixed_at=state.fixed_at, turns_at=turn if turn < NEVER else 0,
            )  # fmt: skip
            found.append(summary)
        return pb.ListIncidentsResponse(incidents=sorted(found, key=lambda incident: not incident.open))

    async def GetStatus(self, request: pb.GetStatusRequest, context: Context) -> pb.GetStatusResponse:  # noqa: N802
        """See the proto."""
        return pb.GetStatusResponse(document=document(self._overview.plain()))
