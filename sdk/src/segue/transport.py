"""The transport: one lazily opened channel to the hub, on the synchronous gRPC stack.

Owns channel, credentials and stubs, and is alone in knowing gRPC, which is imported when something connects. Knows
bytes and messages, not what they mean.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from .config import Config
from .domain.fact import Fact
from .domain.identifier import Identifier
from .domain.tally import Tally
from .domain.verdict import Verdict as GuardrailVerdict
from .own_thread import room
from .retry_hint import DETAILS, asked_pause

if TYPE_CHECKING:
    import grpc

    from .v1 import replay_service_pb2, sync_pb2

LAST_HEARD: Final = 0.5
"""Seconds that what a host heard gets at the end to reach the hub."""
_OPTIONS: Final = [
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 8_000),
    ("grpc.http2.ping_timeout_ms", 8_000),  # of all other pings; a minute where it is not said
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
THREADS: Final = 16
"""That gRPC may want for a channel. Where it can have none it does not fail, it ends the whole process."""
UNDELIVERABLE: Final = -1
"""In place of a backoff: the hub cannot read this batch, now or later."""

Verdict = tuple[str, str, str]
"""(status, code, reason) of one published fact."""


class StreamBroken(Exception):
    """A stream ended otherwise than by its end; the text says how, with the hub's own words.

    Attributes:
        retry_ms: the hub asks not to be called for so long; 0 where it said nothing.
    """

    def __init__(self, told: str, retry_ms: int = 0) -> None:
        super().__init__(told)
        self.retry_ms = retry_ms


class Transport:
    """What crosses the network.

    Args:
        config: where the hub is.
        channel: one to the hub that is there already; a new one where not given.

    Raises:
        StreamBroken: gRPC would find no threads here.
    """

    def __init__(self, config: Config, channel: grpc.Channel | None = None) -> None:
        import grpc

        from .v1 import event_service_pb2_grpc, reservation_service_pb2_grpc, sync_pb2_grpc

        if channel is None and not room(THREADS):
            raise StreamBroken(
                "this process may have no more threads: gRPC needs some of its own, or it ends the process"
            )
        if channel is not None:
            self._channel = channel
        elif config.plaintext:
            self._channel = grpc.insecure_channel(config.hub, options=_OPTIONS)
        else:
            roots = Path(config.ca).read_bytes() if config.ca else None
            self._channel = grpc.secure_channel(config.hub, grpc.ssl_channel_credentials(roots), options=_OPTIONS)
        self._metadata = (("authorization", f"Bearer {config.key}"),) if config.key else ()
        self._events = event_service_pb2_grpc.EventServiceStub(self._channel)
        self._sync = sync_pb2_grpc.SyncServiceStub(self._channel)
        self._under_way: set[Any] = set()
        self._reservations = reservation_service_pb2_grpc.ReservationServiceStub(self._channel)

    def publish(
        self, bodies: Sequence[bytes], tallies: Sequence[Tally], done: Callable[[list[Verdict] | None, str, int], None]
    ) -> None:
        """Sends a batch, and what is said of ordinals.

        `done(verdicts, error, backoff_ms)` is called from gRPC's thread, verdicts None on failure; the backoff is what
        the hub asks for, 0 where it says nothing.
        """
        from .v1 import event_service_pb2, fact_pb2

        request = event_service_pb2.PublishEventsRequest(
            facts=[fact_pb2.Fact.FromString(body) for body in bodies],
            tallies=[
                event_service_pb2.Tally(
                    producer=tally.producer,
                    carried=[event_service_pb2.OrdinalRange(first=first, last=last) for first, last in tally.carried],
                    settled=tally.settled,
                    lost=[event_service_pb2.LostRange(first=a, last=b, reason=reason) for a, b, reason in tally.lost],
                    handed_out=tally.handed_out,
                    at_most=tally.at_most,
                    ended=tally.ended,
                )
                for tally in tallies
            ],
        )
        future = self._events.PublishEvents.future(request, timeout=PUBLISH_DEADLINE, metadata=self._metadata)

        def finished(call: Any) -> None:
            try:
                response = call.result()
            except Exception as error:  # noqa: BLE001  # whatever it was, somebody waits for the answer
                done(None, describe(error), UNDELIVERABLE if _unreadable(error) else retry_hint(error))
                return
            names = event_service_pb2.FactStatus.Name
            verdicts = [(names(r.status).removeprefix("FACT_STATUS_"), r.code, r.reason) for r in response.results]
            done(verdicts, "", response.backoff_ms)

        future.add_done_callback(finished)

    def reserve(
        self, id_: bytes, names: Sequence[Identifier], action: Mapping[str, Any], pending: Sequence[Fact],
        deadline: float,
    ) -> tuple[bool, int, list[GuardrailVerdict]]:  # fmt: skip
        """Asks for a place; returns (granted, expires_at, verdicts), or raises where no answer comes in time."""
        from .v1 import fact_pb2, reservation_service_pb2
        from .wire import fact_to_wire, identifier_to_wire, verdict_from_wire

        request = reservation_service_pb2.ReserveRequest(
            id=id_, identifiers=[identifier_to_wire(name) for name in names], kind=action["kind"],
            action=fact_pb2.Action(
                topic=action["topic"], purpose=action["purpose"], channel=action["channel"],
                advances=action["advances"],
            ),
            pending=[fact_to_wire(fact) for fact in pending],
        )  # fmt: skip
        try:
            response = self._reservations.Reserve(request, timeout=deadline, metadata=self._metadata)
        except Exception as error:  # noqa: BLE001  # whatever it was, there is no answer
            raise StreamBroken(describe(error)) from None
        return response.granted, response.expires_at, [verdict_from_wire(verdict) for verdict in response.verdicts]

    def release(self, id_: bytes, names: Sequence[Identifier]) -> None:
        """Gives a place back, without waiting; where that fails, it expires."""
        from .v1 import reservation_service_pb2
        from .wire import identifier_to_wire

        request = reservation_service_pb2.ReleaseRequest(
            id=id_, identifiers=[identifier_to_wire(name) for name in names]
        )
        call = self._reservations.Release.future(request, timeout=PUBLISH_DEADLINE, metadata=self._metadata)
        # A call that nobody holds is cancelled when it is collected.
        self._under_way.add(call)
        call.add_done_callback(self._under_way.discard)

    def open_sync(self) -> SyncCall:
        """Opens a stream."""
        return SyncCall(self._sync, self._metadata)

    def replay(self, request: replay_service_pb2.ReplayRequest) -> Iterator[replay_service_pb2.ReplayResponse]:
        """Moments of the past, in batches; raises `StreamBroken`."""
        import grpc

        from .v1 import replay_service_pb2_grpc

        stub = replay_service_pb2_grpc.ReplayServiceStub(self._channel)
        try:
            yield from stub.Replay(request, metadata=self._metadata)
        except grpc.RpcError as error:
            raise StreamBroken(describe(error)) from None

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
        """The hub's messages; raises `StreamBroken`."""
        import grpc

        try:
            yield from self._call
        except grpc.RpcError as error:
            raise StreamBroken(describe(error), retry_hint(error)) from None

    def end(self, *, drained: bool = False) -> None:
        """Ends it from our side; where it is to be drained, what is queued gets a moment to go out."""
        self._queue.put(None)
        ended = threading.Event()
        if drained and self._call.add_callback(ended.set):
            ended.wait(LAST_HEARD)
        self._call.cancel()


def _unreadable(error: Exception) -> bool:
    """Whether a batch was refused as such: too large for a message, or no message at all; not for want of room."""
    import grpc

    if not isinstance(error, grpc.Call):
        return False
    code = error.code()
    if code is grpc.StatusCode.RESOURCE_EXHAUSTED:
        # The hub's own refusals say why in details; gRPC's, of messages that are too large, do not.
        return not any(name == DETAILS for name, _ in error.trailing_metadata() or ())
    return code is grpc.StatusCode.INVALID_ARGUMENT


def retry_hint(error: Exception) -> int:
    """For how many milliseconds the hub asks not to be called (`google.rpc.RetryInfo`); 0 where it says nothing."""
    import grpc

    if not isinstance(error, grpc.Call):
        return 0
    return next((asked_pause(value) for name, value in error.trailing_metadata() or () if name == DETAILS), 0)


def describe(error: Exception) -> str:
    """An RPC error in one line, with the hub's own words."""
    import grpc

    if isinstance(error, grpc.Call):
        code = error.code()
        return f"{code.name if code else 'UNKNOWN'}: {error.details()}"
    return type(error).__name__
