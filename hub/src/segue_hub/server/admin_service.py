"""AdminService: what the platform team and journey owners look at."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc
import orjson
from segue.domain.fact import Fact
from segue.v1 import admin_service_pb2 as pb
from segue.v1 import admin_service_pb2_grpc as rpc
from segue.wire import fact_to_wire, identifier_from_wire, identifier_to_wire

from ..services.audiences import Audiences
from ..services.contexts import Contexts
from ..services.failure import Refusal, not_found
from ..services.overview import Overview
from ..services.plans import Plans
from ..services.reports import Reports
from ..services.touchpoints import Touchpoints
from ..storage.ports import Store
from .status import refuse

Context = grpc.aio.ServicerContext[Any, Any]


def _document(plain: Any) -> bytes:
    try:
        return orjson.dumps(plain)
    except TypeError:  # a team's properties: numbers of more than 64 bits, or very deep
        return json.dumps(plain, ensure_ascii=False).encode()


class AdminService(rpc.AdminServiceServicer):
    """Serves the admin's questions."""

    def __init__(
        self, store: Store, contexts: Contexts, plans: Plans, audiences: Audiences, reports: Reports,
        overview: Overview, touchpoints: Touchpoints, decode: Callable[[bytes], Fact],
    ) -> None:  # fmt: skip
        self._store = store
        self._contexts = contexts
        self._plans = plans
        self._audiences = audiences
        self._reports = reports
        self._overview = overview
        self._touchpoints = touchpoints
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
        return pb.RevokeTouchpointResponse(revoked=await self._touchpoints.revoke(request.touchpoint))

    async def ShowCustomer(  # noqa: N802
        self, request: pb.ShowCustomerRequest, context: Context
    ) -> pb.ShowCustomerResponse:
        """See the proto."""
        try:
            plain = self._reports.customer(identifier_from_wire(request.identifier))
        except Refusal as error:
            await refuse(context, error)
        return pb.ShowCustomerResponse(document=_document(plain))

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
            return pb.ReportJourneysResponse(document=_document(await self._reports.journeys(request.map)))
        except Refusal as error:
            await refuse(context, error)

    async def GetStatus(self, request: pb.GetStatusRequest, context: Context) -> pb.GetStatusResponse:  # noqa: N802
        """See the proto."""
        return pb.GetStatusResponse(document=_document(self._overview.plain()))
