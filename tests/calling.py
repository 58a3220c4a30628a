"""A bare client of the wire contract: what tests say to a hub without the SDK in between.

Owns `Caller`: stubs with a key, and publishing domain facts. Nothing is retried and nothing hidden.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from segue.domain.fact import EVENT, Fact, derived_id, properties_bytes
from segue.domain.identifier import Identifier, parse_identifier
from segue.v1 import (
    admin_service_pb2_grpc,
    context_pb2,
    context_pb2_grpc,
    event_service_pb2,
    event_service_pb2_grpc,
    identity_service_pb2_grpc,
    plan_service_pb2_grpc,
    sync_pb2_grpc,
)
from segue.wire import fact_to_wire, identifier_to_wire

SECOND = 1_000_000
_numbers = itertools.count(1)


def now() -> int:
    """The machine's clock, in microseconds."""
    return time.time_ns() // 1000


def event(
    type: str, *names: str, at: int = 0, kind: str = EVENT, id_: bytes = b"", channel: str = "", seq: int = 0,
    **properties: Any,
) -> Fact:  # fmt: skip
    """A fact of now; each call makes another one unless `id_` says which."""
    at = at or now()
    return Fact(
        id_ or derived_id(at, "calling", f"{next(_numbers)}-{time.monotonic_ns()}"), kind, type, at, seq,
        tuple(parse_identifier(name) for name in names), channel, "", None, properties_bytes(properties),
    )  # fmt: skip


class _Waits(grpc.UnaryUnaryClientInterceptor):
    """Says how long every call waits, where the test does not."""

    def intercept_unary_unary(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        if client_call_details.timeout is None:
            client_call_details = client_call_details._replace(timeout=30.0)
        return continuation(client_call_details, request)


class Caller:
    """Stubs of one hub, all with the same key.

    Args:
        deadlines: whether calls say how long they wait, where the test does not say itself.
    """

    def __init__(self, address: str, key: str = "", *, deadlines: bool = True, options: Sequence[Any] = ()) -> None:
        self.channel = grpc.insecure_channel(address, options=[("grpc.use_local_subchannel_pool", 1), *options])
        if deadlines:
            self.channel = grpc.intercept_channel(self.channel, _Waits())
        self.metadata = (("authorization", f"Bearer {key}"),) if key else ()
        self.events = event_service_pb2_grpc.EventServiceStub(self.channel)
        self.contexts = context_pb2_grpc.ContextServiceStub(self.channel)
        self.sync = sync_pb2_grpc.SyncServiceStub(self.channel)
        self.plans = plan_service_pb2_grpc.PlanServiceStub(self.channel)
        self.admin = admin_service_pb2_grpc.AdminServiceStub(self.channel)
        self.identities = identity_service_pb2_grpc.IdentityServiceStub(self.channel)

    def send(self, *facts: Fact, sent_at: int = 0) -> list[tuple[str, str, str]]:
        """Publishes one batch: (status, code, reason) of each fact."""
        request = event_service_pb2.PublishEventsRequest(facts=[fact_to_wire(fact) for fact in facts], sent_at=sent_at)
        response = self.events.PublishEvents(request, timeout=20, metadata=self.metadata)
        names = event_service_pb2.FactStatus.Name
        return [(names(r.status).removeprefix("FACT_STATUS_"), r.code, r.reason) for r in response.results]

    def statuses(self, *facts: Fact, sent_at: int = 0) -> list[str]:
        """Publishes one batch: the status of each fact."""
        return [result[0] for result in self.send(*facts, sent_at=sent_at)]

    def context(self, name: str | Identifier, purpose: str = "service") -> context_pb2.Context:
        """A cold read."""
        identifier = parse_identifier(name) if not isinstance(name, Identifier) else name
        request = context_pb2.GetContextRequest(identifier=identifier_to_wire(identifier), purpose=purpose)
        return self.contexts.GetContext(request, timeout=20, metadata=self.metadata).context

    def close(self) -> None:
        self.channel.close()


@contextmanager
def calling(address: str, key: str = "", **more: Any) -> Iterator[Caller]:
    """A client while the block runs."""
    caller = Caller(address, key, **more)
    try:
        yield caller
    finally:
        caller.close()


def retry_after(error: grpc.RpcError) -> float:
    """Seconds until a refused call may come back (RetryInfo); 0 where it was not said."""
    status = rpc_status.from_call(error)
    retry = error_details_pb2.RetryInfo()
    found = [retry.retry_delay for detail in (status.details if status is not None else ()) if detail.Unpack(retry)]
    return found[0].seconds + found[0].nanos / 1e9 if found else 0.0


def refusal(error: grpc.RpcError) -> tuple[str, str]:
    """The status and the stable reason (ErrorInfo) of a refused call."""
    status = rpc_status.from_call(error)
    info = error_details_pb2.ErrorInfo()
    reasons = [info.reason for detail in (status.details if status is not None else ()) if detail.Unpack(info)]
    return error.code().name, reasons[0] if reasons else ""
