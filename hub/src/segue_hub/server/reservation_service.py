"""ReservationService: places under strict caps."""

from __future__ import annotations

from typing import Any

import grpc
import orjson
from segue.domain.expression import NEVER
from segue.domain.fact import ACTION_STATUSES, INCIDENT, RESERVATION, Fact
from segue.domain.grant import Grant
from segue.domain.verdict import Verdict
from segue.errors import FactError
from segue.v1 import reservation_service_pb2 as pb
from segue.v1 import reservation_service_pb2_grpc as rpc
from segue.wire import fact_from_wire, identifier_from_wire

from ..services.failure import Refusal
from ..services.plans import Plans
from ..services.reservations import Asked, Reservations, named
from .gate import Gate
from .status import refuse

PENDING = 256
"""Facts that one request may bring along."""


def verdict_to_wire(verdict: Verdict) -> pb.Verdict:
    """The message of a verdict."""
    return pb.Verdict(
        guardrail=verdict.guardrail, kind=verdict.kind, until=verdict.until if verdict.until < NEVER else 0,
        reason=verdict.reason, owner=verdict.owner, mode=verdict.mode, holder=verdict.holder,
    )  # fmt: skip


def _told(message: Any) -> Fact:
    """A fact that a touchpoint may tell of a customer."""
    fact = fact_from_wire(message)
    if fact.kind in (RESERVATION, INCIDENT):
        raise Refusal("NOT_GRANTED", f"pending: a {fact.kind} is no fact that a touchpoint tells of a customer")
    return fact


def _checked(id_: bytes) -> bytes:
    if len(id_) != 16:
        raise FactError(f"{len(id_)} bytes", field="id", cure="Give 16 bytes, e.g. a UUIDv7")
    return id_


def _details(said: bytes) -> dict[str, Any]:
    try:
        found = orjson.loads(said or b"{}")
    except orjson.JSONDecodeError:
        found = None
    if not isinstance(found, dict):
        raise FactError("is no JSON object", field="action.details", cure='Give e.g. {"price": 12.5}, or nothing')
    return found


class ReservationService(rpc.ReservationServiceServicer):
    """Serves Reserve, Confirm and Release."""

    def __init__(self, reservations: Reservations, plans: Plans, gate: Gate, clock: Any) -> None:
        self._reservations = reservations
        self._plans = plans
        self._gate = gate
        self._clock = clock

    async def Reserve(  # noqa: N802  # the protocol's own name
        self, request: pb.ReserveRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.ReserveResponse:
        """See the proto."""
        try:
            grant = self._plans.current.grant(self._gate.writer(context))
            asked = self._asked(request, grant)
            if len(request.pending) > PENDING:
                raise Refusal("BATCH_TOO_LARGE", f"pending: {len(request.pending)} facts. At most {PENDING}")
            pending = [_told(fact) for fact in request.pending]
            answer = await self._reservations.reserve(asked, grant, pending)
        except FactError as error:
            await refuse(context, Refusal(error.code, str(error)))
        except Refusal as error:
            await refuse(context, error)
        return pb.ReserveResponse(
            granted=answer.granted, expires_at=answer.expires_at,
            verdicts=[verdict_to_wire(verdict) for verdict in answer.verdicts], server_time=self._clock(),
        )  # fmt: skip

    async def Confirm(  # noqa: N802  # the protocol's own name
        self, request: pb.ConfirmRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.ConfirmResponse:
        """See the proto."""
        try:
            grant = self._plans.current.grant(self._gate.writer(context))
            asked = self._asked(request, grant)
            if request.action.status not in ACTION_STATUSES:
                known = ", ".join(ACTION_STATUSES)
                raise Refusal("FACT_INVALID", f"action.status: {request.action.status!r} is not known. One of {known}")
            await self._reservations.confirm(asked, request.action.status, grant)
        except FactError as error:
            await refuse(context, Refusal(error.code, str(error)))
        except Refusal as error:
            await refuse(context, error)
        return pb.ConfirmResponse()

    async def Release(  # noqa: N802  # the protocol's own name
        self, request: pb.ReleaseRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.ReleaseResponse:
        """See the proto."""
        try:
            grant = self._plans.current.grant(self._gate.writer(context))
            id_ = _checked(request.id)
            names = self._names(request.identifiers)
            released = await self._reservations.release(id_, names, grant)
        except FactError as error:
            await refuse(context, Refusal(error.code, str(error)))
        except Refusal as error:
            await refuse(context, error)
        return pb.ReleaseResponse(released=released)

    def _asked(self, request: Any, grant: Grant) -> Asked:
        id_, kind, action = request.id, request.kind, request.action
        if not kind:
            raise FactError("is empty", field="kind", cure="Name the action, e.g. offer.upsell")
        return Asked(
            _checked(id_), self._names(request.identifiers),
            {"kind": kind, "topic": action.topic, "purpose": action.purpose,
             "channel": action.channel or grant.channel, "advances": action.advances,
             "decision_id": action.decision_id.hex(), "details": _details(action.details)},
        )  # fmt: skip

    def _names(self, identifiers: Any) -> tuple[Any, ...]:
        return named([identifier_from_wire(identifier) for identifier in identifiers], self._plans.current)
