"""IdentityService: why identifiers are one customer, what if, and taking mistakes back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import grpc
from segue.domain.fact import Fact
from segue.errors import FactError
from segue.v1 import event_service_pb2, fact_pb2
from segue.v1 import identity_service_pb2 as pb
from segue.v1 import identity_service_pb2_grpc as rpc
from segue.wire import fact_from_wire, identifier_from_wire

from ..services.affected import Affected
from ..services.explanations import Explanations
from ..services.failure import Refusal
from ..services.statements import Statements
from .document import document
from .status import refuse

Context = grpc.aio.ServicerContext[Any, Any]

LISTED: Final = 100
LISTED_MOST: Final = 1000


class IdentityService(rpc.IdentityServiceServicer):
    """Serves who is who."""

    def __init__(self, explanations: Explanations, statements: Statements, affected: Affected) -> None:
        self._explanations = explanations
        self._statements = statements
        self._affected = affected

    async def ExplainIdentity(  # noqa: N802
        self, request: pb.ExplainIdentityRequest, context: Context
    ) -> pb.ExplainIdentityResponse:
        """See the proto."""
        try:
            plain = self._explanations.explain(identifier_from_wire(request.identifier))
        except (Refusal, FactError) as error:
            await refuse(context, error)
        return pb.ExplainIdentityResponse(document=document(plain))

    async def PreviewIdentity(  # noqa: N802
        self, request: pb.PreviewIdentityRequest, context: Context
    ) -> pb.PreviewIdentityResponse:
        """See the proto."""
        try:
            plain = self._statements.preview(_facts(request.facts))
        except (Refusal, FactError) as error:
            await refuse(context, error)
        return pb.PreviewIdentityResponse(document=document(plain))

    async def ChangeIdentity(  # noqa: N802
        self, request: pb.ChangeIdentityRequest, context: Context
    ) -> pb.ChangeIdentityResponse:
        """See the proto."""
        try:
            results, plain = await self._statements.change(_facts(request.facts))
        except (Refusal, FactError) as error:
            await refuse(context, error)
        status = event_service_pb2.FactStatus.Value
        return pb.ChangeIdentityResponse(
            results=[
                event_service_pb2.FactResult(status=status(f"FACT_STATUS_{r.status}"), code=r.code, reason=r.reason)
                for r in results
            ],
            document=document(plain),
        )

    async def ListAffected(  # noqa: N802
        self, request: pb.ListAffectedRequest, context: Context
    ) -> pb.ListAffectedResponse:
        """See the proto."""
        limit = min(max(0, request.limit) or LISTED, LISTED_MOST)
        try:
            plain = await self._affected.of(identifier_from_wire(request.identifier), limit)
        except (Refusal, FactError) as error:
            await refuse(context, error)
        return pb.ListAffectedResponse(document=document(plain))


def _facts(messages: Sequence[fact_pb2.Fact]) -> list[Fact]:
    return [fact_from_wire(message) for message in messages]
