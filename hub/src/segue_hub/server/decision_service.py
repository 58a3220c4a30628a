"""DecisionService: decision functions that the hub runs."""

from __future__ import annotations

import json
from typing import Any

import grpc
import orjson
from segue.domain.decision import Decision
from segue.domain.decision_fact import json_text, value_of
from segue.domain.grant import SERVICE
from segue.domain.interaction import InteractionRef
from segue.errors import FactError
from segue.v1 import decision_service_pb2 as pb
from segue.v1 import decision_service_pb2_grpc as rpc
from segue.v1 import fact_pb2
from segue.wire import identifier_from_wire

from ..services.comparison import Make
from ..services.decisions import Asked, Decisions
from ..services.failure import Refusal
from ..services.plans import Plans
from .gate import Gate
from .reservation_service import verdict_to_wire
from .status import refuse


class DecisionService(rpc.DecisionServiceServicer):
    """Serves Decide."""

    def __init__(self, decisions: Decisions, plans: Plans, gate: Gate, compare: Make) -> None:
        self._decisions = decisions
        self._plans = plans
        self._gate = gate
        self._compare = compare

    async def Decide(  # noqa: N802  # the protocol's own name
        self, request: pb.DecideRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.DecideResponse:
        """See the proto."""
        try:
            grant = self._plans.current.grant(self._gate.writer(context))
            decision = await self._decisions.decide(_asked(request), grant)
        except FactError as error:
            await refuse(context, Refusal(error.code, str(error)))
        except Refusal as error:
            await refuse(context, error)
        return _response(decision)

    async def CompareDecisions(  # noqa: N802  # the protocol's own name
        self, request: pb.CompareDecisionsRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.CompareDecisionsResponse:
        """See the proto."""
        if not request.decision:
            await refuse(context, Refusal("INPUT_INVALID", "decision: names no question. Write e.g. chat.route"))
        found = await self._compare(request.decision, request.since).made()
        return pb.CompareDecisionsResponse(document=orjson.dumps(found))


def _asked(request: pb.DecideRequest) -> Asked:
    said = request.interaction
    reference = InteractionRef(said.id, said.direction, said.outcome) if said.id else None
    names = tuple(identifier_from_wire(name) for name in request.identifiers)
    return Asked(request.decision, names, request.purpose or SERVICE, reference, request.deadline_ms)


def _response(decision: Decision) -> pb.DecideResponse:
    action, proposed = decision.action, None
    if action is not None:
        proposed = fact_pb2.Action(
            topic=action.topic, purpose=action.purpose, channel=action.channel, decision_id=decision.id,
            details=json.dumps(json_text(dict(action.properties))).encode(), advances=action.advances,
        )  # fmt: skip
    value = json.dumps(value_of(decision), ensure_ascii=False).encode("utf-8", "replace")
    return pb.DecideResponse(
        id=decision.id, value=value, reason=decision.reason,
        allowed=decision.allowed, action_kind=action.kind if action is not None else "", action=proposed,
        verdicts=[verdict_to_wire(verdict) for verdict in decision.verdicts], freshness=decision.freshness.state,
        version=decision.version, plan=decision.plan, at=decision.at, explain=decision.explain(),
        error=decision.error, partial=decision.partial,
    )  # fmt: skip
