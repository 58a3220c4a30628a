"""The load generator of P3 and P4: batches made beforehand, several in flight, over the raw stub.

Run by `workers.Worker("load")`. Making the requests is not part of what is timed: a producer's own work is its own.
"""

from __future__ import annotations

import os
import random
import threading
import time
from typing import Any, Final

import grpc
from segue.v1 import event_service_pb2 as pb
from segue.v1 import event_service_pb2_grpc as rpc
from segue.v1 import fact_pb2

from .measure import percentile
from .workers import serve

BATCH: Final = 256
# What a customer does, by its frequency: most of it touches windows, a third journeys.
_TYPES: Final = (
    ("plan.searched", "web", 20), ("help.viewed", "web", 20), ("call.started", "ivr", 12), ("chat.opened", "chat", 10),
    ("transfer.started", "app", 10), ("transfer.details_entered", "app", 8), ("transfer.failed", "app", 6),
    ("transfer.confirmed", "app", 6), ("transfer.completed", "app", 4), ("complaint.opened", "web", 2),
    ("complaint.resolved", "chat", 1), ("device.bought", "web", 1),
)  # fmt: skip


def _id(millis: int, ordinal: int) -> bytes:
    """A UUIDv7 whose chance part is unique by construction and random enough for an index."""
    tail = bytearray(os.urandom(8))
    tail[0] = 0x80 | (tail[0] & 0x3F)
    return millis.to_bytes(6, "big") + (0x7000 | ordinal & 0xFFF).to_bytes(2, "big") + bytes(tail)


def fact(chance: random.Random, customer: int, ordinal: int, at: int) -> fact_pb2.Fact:
    """One event of a customer, at `at` microseconds."""
    (type_, channel, _), journey = chance.choices(_TYPES, weights=[weight for *_, weight in _TYPES])[0], customer % 7
    if type_.startswith("transfer."):
        properties = b'{"amount":%d.5,"transfer_id":"t%d-%d"}' % (ordinal % 900, customer, journey)
    elif type_.startswith("device."):
        properties = b'{"device_id":"d%d"}' % customer
    else:
        properties = b'{"article":"how-to-%d","page":%d}' % (ordinal % 50, ordinal % 9)
    return fact_pb2.Fact(
        id=_id(at // 1000, ordinal), type=type_, occurred_at=at, seq=ordinal, channel=channel,
        identifiers=[fact_pb2.Identifier(kind="account", value=f"A-{customer:07d}")],
        event=fact_pb2.Event(properties=properties),
    )  # fmt: skip


class Load:
    """Batches, and the calls that carry them."""

    def __init__(self) -> None:
        self._requests: list[bytes] = []
        self._seq = 0
        self._counts: dict[int, int] = {}
        self._stub: Any = None
        self._metadata: Any = None

    def connect(self, address: str, key: str) -> str:
        """Opens the channel."""
        channel = grpc.insecure_channel(address, options=[("grpc.use_local_subchannel_pool", 1)])
        grpc.channel_ready_future(channel).result(20)
        self._stub = channel.unary_unary(
            "/segue.v1.EventService/PublishEvents", request_serializer=lambda data: data,
            response_deserializer=pb.PublishEventsResponse.FromString,
        )  # fmt: skip
        assert rpc.EventServiceStub, "the path above is the stub's own"
        self._metadata = (("authorization", f"Bearer {key}"),)
        return "connected"

    def prepare(self, facts: int, customers: int, first: int, seed: int, batch: int = BATCH) -> int:
        """Makes the requests; customers at random out of `customers`, or each once where `first` says so."""
        chance = random.Random(seed)
        self._requests = []
        now, together = time.time_ns() // 1000, []
        for number in range(facts):
            self._seq += 1
            customer = first + number if first else chance.randrange(1, customers + 1)
            together.append(fact(chance, customer, self._seq, now + number))
            self._counts[customer] = self._counts.get(customer, 0) + 1
            if len(together) == batch:
                self._requests.append(pb.PublishEventsRequest(facts=together).SerializeToString())
                together = []
        if together:
            self._requests.append(pb.PublishEventsRequest(facts=together).SerializeToString())
        return len(self._requests)

    def run(self, in_flight: int) -> dict[str, float]:
        """Sends all of it; returns facts per second, acknowledged, and the acknowledgements' percentiles."""
        room, took, wrong = threading.Semaphore(in_flight), [], []
        count = 0
        began = time.perf_counter()
        for request in self._requests:
            room.acquire()
            future = self._stub.future(request, metadata=self._metadata, timeout=60)
            future.add_done_callback(_finished(time.perf_counter(), room, took, wrong))
        for _ in range(in_flight):
            room.acquire()
        seconds = time.perf_counter() - began
        if wrong:
            raise RuntimeError(f"{len(wrong)} batches or facts were not accepted, the first: {wrong[0]}")
        count = sum(accepted for _, accepted in took)
        times = [at for at, _ in took]
        return {
            "facts": count, "per_second": count / seconds, "p50_ms": percentile(times, 0.5) * 1000,
            "p99_ms": percentile(times, 0.99) * 1000, "seconds": seconds,
        }  # fmt: skip

    def one_by_one(self, pause: float) -> list[tuple[float, float, int]]:
        """Sends all of it, a batch at a time with a pause behind it: when each was sent and heard, and accepted."""
        found = []
        for request in self._requests:
            sent = time.time()
            results = self._stub(request, metadata=self._metadata, timeout=60).results
            found.append((sent, time.time(), sum(result.status == pb.FACT_STATUS_ACCEPTED for result in results)))
            time.sleep(pause)
        return found

    def told(self, customer: int) -> int:
        """How many facts of a customer were made so far."""
        return self._counts.get(customer, 0)


def _finished(sent: float, room: threading.Semaphore, took: list[tuple[float, int]], wrong: list[str]) -> Any:
    def done(call: Any) -> None:
        at = time.perf_counter() - sent
        try:
            results = call.result().results
            refused = [result for result in results if result.status != pb.FACT_STATUS_ACCEPTED]
            wrong.extend(f"{result.code}: {result.reason}" for result in refused)
            took.append((at, len(results) - len(refused)))
        except grpc.RpcError as error:
            wrong.append(str(error))
        finally:
            room.release()

    return done


if __name__ == "__main__":
    load = Load()
    serve({"connect": load.connect, "prepare": load.prepare, "run": load.run, "one_by_one": load.one_by_one,
           "told": load.told})  # fmt: skip
