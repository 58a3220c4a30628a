"""EventService: facts in."""

from __future__ import annotations

from typing import Any, Final

import grpc
from segue.domain.fact import Fact
from segue.errors import FactError
from segue.v1 import event_service_pb2 as pb
from segue.v1 import event_service_pb2_grpc as rpc
from segue.wire import fact_from_wire

from ..services.admission import Result, rejected
from ..services.failure import Refusal
from ..services.ingest import Ingest
from ..services.plans import Plans
from .gate import Gate
from .status import refuse

MOST: Final = 1000
"""Facts in a batch at most."""
_STATUS: Final = {
    "ACCEPTED": pb.FACT_STATUS_ACCEPTED,
    "DUPLICATE": pb.FACT_STATUS_DUPLICATE,
    "REJECTED": pb.FACT_STATUS_REJECTED,
}


class EventService(rpc.EventServiceServicer):
    """Serves PublishEvents."""

    def __init__(self, ingest: Ingest, plans: Plans, gate: Gate) -> None:
        self._ingest = ingest
        self._plans = plans
        self._gate = gate

    async def PublishEvents(  # noqa: N802  # the protocol's own name
        self, request: pb.PublishEventsRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.PublishEventsResponse:
        """See the proto."""
        try:
            grant = self._plans.current.grant(self._gate.writer(context))
            if len(request.facts) > MOST:
                raise Refusal("BATCH_TOO_LARGE", f"facts: {len(request.facts)} in one batch. Send at most {MOST}")
            facts = [_read(message) for message in request.facts]
            results = await self._ingest.publish(facts, grant, request.sent_at)
        except Refusal as error:
            await refuse(context, error)
        return pb.PublishEventsResponse(
            results=[pb.FactResult(status=_STATUS[r.status], code=r.code, reason=r.reason) for r in results]
        )


def _read(message: Any) -> Fact | Result:
    try:
        return fact_from_wire(message)
    except FactError as error:
        return rejected(error.code, str(error))
