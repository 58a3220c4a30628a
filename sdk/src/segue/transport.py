"""The transport: one lazily opened channel to the hub, on the synchronous gRPC stack.

Owns channel, credentials and stubs. Knows bytes and messages, not what they mean.
"""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import grpc

from .config import Config
from .v1 import (
    event_service_pb2,
    event_service_pb2_grpc,
    fact_pb2,
    sync_pb2,
    sync_pb2_grpc,
)

_OPTIONS: Final = [
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.max_receive_message_length", 16 * 1024 * 1024),
    ("grpc.initial_reconnect_backoff_ms", 250),
    ("grpc.max_reconnect_backoff_ms", 2_000),
    ("grpc.enable_retries", 0),
    # Channels to one address share connections process-wide by default; a channel that is given up must really end.
    ("grpc.use_local_subchannel_pool", 1),
]
PUBLISH_DEADLINE: Final = 10.0
UNDELIVERABLE: Final = -1
"""In place of a backoff: the hub cannot read this batch, now or later."""

Verdict = tuple[str, str, str]
"""(status, code, reason) of one published fact."""


class Transport:
    """What crosses the network."""

    def __init__(self, config: Config) -> None:
        if config.plaintext:
            self._channel = grpc.insecure_channel(config.hub, options=_OPTIONS)
        else:
            roots = Path(config.ca).read_bytes() if config.ca else None
            self._channel = grpc.secure_channel(config.hub, grpc.ssl_channel_credentials(roots), options=_OPTIONS)
        self._metadata = (("authorization", f"Bearer {config.key}"),) if config.key else ()
        self._events = event_service_pb2_grpc.EventServiceStub(self._channel)
        self._sync = sync_pb2_grpc.SyncServiceStub(self._channel)

    def publish(self, bodies: Sequence[bytes], done: Callable[[list[Verdict] | None, str, int], None]) -> None:
        """Sends a batch; `done(verdicts, error, backoff_ms)` is called from gRPC's thread, verdicts None on failure."""
        request = event_service_pb2.PublishEventsRequest(facts=[fact_pb2.Fact.FromString(body) for body in bodies])
        future = self._events.PublishEvents.future(request, timeout=PUBLISH_DEADLINE, metadata=self._metadata)

        def finished(call: Any) -> None:
            try:
                response = call.result()
            except Exception as error:  # noqa: BLE001  # whatever it was, somebody waits for the answer
                done(None, describe(error), UNDELIVERABLE if _unreadable(error) else 0)
                return
            names = event_service_pb2.FactStatus.Name
            verdicts = [(names(r.status).removeprefix("FACT_STATUS_"), r.code, r.reason) for r in response.results]
            done(verdicts, "", response.backoff_ms)

        future.add_done_callback(finished)

    def open_sync(self) -> SyncCall:
        """Opens a stream."""
        return SyncCall(self._sync, self._metadata)

    def close(self) -> None:
        """Ends everything that is under way."""
        self._channel.close()


class SyncCall:
    """One stream: messages go in through `send`, come out by iteration."""

    def __init__(self, stub: Any, metadata: Any) -> None:
        self._queue: queue.SimpleQueue[sync_pb2.SyncRequest | None] = queue.SimpleQueue()
        self._call = stub.Sync(iter(self._queue.get, None), metadata=metadata)

    def send(self, request: sync_pb2.SyncRequest) -> None:
        """Queues a message."""
        self._queue.put(request)

    def __iter__(self) -> Iterator[sync_pb2.SyncResponse]:
        """The hub's messages; raises `grpc.RpcError` when the stream breaks."""
        return iter(self._call)

    def end(self) -> None:
        """Ends it from our side."""
        self._queue.put(None)
        self._call.cancel()


def _unreadable(error: Exception) -> bool:
    """Whether a batch was refused as such: too large for a message, or no message at all; not for want of room."""
    if not isinstance(error, grpc.Call):
        return False
    code = error.code()
    if code is grpc.StatusCode.RESOURCE_EXHAUSTED:
        # The hub's own refusals say why in details; gRPC's, of messages that are too large, do not.
        return not any(name == "grpc-status-details-bin" for name, _ in error.trailing_metadata() or ())
    return code is grpc.StatusCode.INVALID_ARGUMENT


def describe(error: Exception) -> str:
    """An RPC error in one line, with the hub's own words."""
    if isinstance(error, grpc.Call):
        code = error.code()
        return f"{code.name if code else 'UNKNOWN'}: {error.details()}"
    return type(error).__name__
