"""EventService: facts in."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final

import grpc
from segue.domain.fact import RESERVATION, WORKSPACE_KINDS, Fact
from segue.domain.grant import Grant, everything
from segue.domain.tally import Tally
from segue.errors import FactError
from segue.v1 import event_service_pb2 as pb
from segue.v1 import event_service_pb2_grpc as rpc
from segue.wire import fact_from_wire

from ..services.admission import ACCEPTED, Result, misfit, rejected
from ..services.failure import Refusal
from ..services.ingest import Ingest
from ..services.plans import Plans
from ..services.sequences import checked
from ..services.touchpoints import ADMIN
from ..services.workspace import WorkspaceLog
from .gate import Gate
from .status import refuse

_USUAL: Final = 1000
"""Answers to batches of up to so many facts are kept."""
_STATUS: Final = {
    "ACCEPTED": pb.FACT_STATUS_ACCEPTED,
    "DUPLICATE": pb.FACT_STATUS_DUPLICATE,
    "REJECTED": pb.FACT_STATUS_REJECTED,
}


class EventService(rpc.EventServiceServicer):
    """Serves PublishEvents."""

    def __init__(self, ingest: Ingest, workspace: WorkspaceLog, plans: Plans, gate: Gate, most: int) -> None:
        self._ingest = ingest
        self._workspace = workspace
        self._plans = plans
        self._gate = gate
        self._most = most

    async def PublishEvents(  # noqa: N802  # the protocol's own name
        self, request: pb.PublishEventsRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.PublishEventsResponse:
        """See the proto."""
        try:
            if len(request.facts) > self._most:
                raise Refusal("BATCH_TOO_LARGE", f"facts: {len(request.facts)} in one batch. Send at most {self._most}")
            messages = list(request.facts)  # walked through more than once, and each walk would make them anew
            facts = [_read(message) for message in messages]
            tallies = checked([_tally(message) for message in request.tallies])
            about = [fact for fact in facts if isinstance(fact, Fact) and fact.kind in WORKSPACE_KINDS]
            grant = self._grant(context, everybodys=bool(facts) and len(about) == len(facts))
            if about:
                told = iter(await self._workspace.publish(about, grant, request.sent_at))
                own = set(map(id, about))
                facts = [next(told) if id(fact) in own else fact for fact in facts]
            results = await self._ingest.publish(facts, grant, request.sent_at, tallies, messages)
        except Refusal as error:
            await refuse(context, error)
        if results.count(ACCEPTED) == len(results):
            return _all_accepted(len(results))
        return pb.PublishEventsResponse(
            results=[pb.FactResult(status=_STATUS[r.status], code=r.code, reason=r.reason) for r in results]
        )

    def _grant(self, context: grpc.aio.ServicerContext[Any, Any], *, everybodys: bool) -> Grant:
        """Of whom the call writes as; the admin tells in its own name what belongs to no customer."""
        if everybodys and self._gate.speaks_for_itself(context):
            return everything(ADMIN)
        return self._plans.current.grant(self._gate.writer(context))


@lru_cache(maxsize=_USUAL + 1)
def _all_accepted(count: int) -> pb.PublishEventsResponse:
    """The answer to nearly every batch; it is only ever serialised."""
    return pb.PublishEventsResponse(results=[pb.FactResult(status=pb.FACT_STATUS_ACCEPTED)] * count)


def _tally(message: pb.Tally) -> Tally:
    return Tally(
        message.producer, tuple((run.first, run.last) for run in message.carried), message.settled,
        tuple((run.first, run.last, run.reason) for run in message.lost), message.handed_out, message.at_most,
        message.ended,
    )  # fmt: skip


def _read(message: Any) -> Fact | Result:
    try:
        fact = fact_from_wire(message)
    except FactError as error:
        return misfit(error)
    if fact.kind == RESERVATION:
        return rejected("NOT_GRANTED", "reservation: only the hub grants one. Ask by Reserve", "reservation")
    return fact
