"""The changes of P8: facts at a steady rate in small batches, and when each was told and acknowledged.

Run by `workers.Worker("fan_load")`. Times are CLOCK_MONOTONIC, which all processes of a machine share.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from typing import Any, Final

import grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from segue.v1 import event_service_pb2 as pb
from segue.v1 import event_service_pb2_grpc as rpc

from .load import fact
from .workers import serve

TICK: Final = 0.01
"""Seconds between two batches."""


def _asked_to_wait(refused: Any) -> float:
    """Seconds, as the refusal says (RetryInfo)."""
    status, retry = rpc_status.from_call(refused), error_details_pb2.RetryInfo()
    found = [retry.retry_delay for detail in (status.details if status else ()) if detail.Unpack(retry)]
    return found[0].seconds + found[0].nanos / 1e9 if found else 0.1


class FanLoad:
    """One connection, and the facts told so far."""

    def __init__(self) -> None:
        self._stub: Any = None
        self._metadata: Any = None
        self._seq = 0
        self._told: dict[int, int] = {}
        self._refused = 0

    def connect(self, address: str, key: str) -> str:
        """Opens the channel."""
        channel = grpc.insecure_channel(address, options=[("grpc.use_local_subchannel_pool", 1)])
        grpc.channel_ready_future(channel).result(20)
        self._stub, self._metadata = rpc.EventServiceStub(channel), (("authorization", f"Bearer {key}"),)
        return "connected"

    def _batch(self, chance: random.Random, customers: list[int]) -> tuple[pb.PublishEventsRequest, list[Any]]:
        facts, told, now = [], [], time.time_ns() // 1000
        for number, customer in enumerate(customers):
            self._seq += 1
            self._told[customer] = self._told.get(customer, 0) + 1
            facts.append(fact(chance, customer, self._seq, now + number))
            told.append((customer, self._told[customer]))
        return pb.PublishEventsRequest(facts=facts), told

    def _check(self, response: pb.PublishEventsResponse) -> None:
        for result in response.results:
            if result.status != pb.FACT_STATUS_ACCEPTED:
                raise RuntimeError(f"not accepted: {result.code} {result.reason}")

    def seed(self, customers: int, each: int) -> int:
        """Makes customers known: so many facts each."""
        chance = random.Random(8)
        for _ in range(each):
            for start in range(1, customers + 1, 500):
                request, _ = self._batch(chance, list(range(start, min(start + 500, customers + 1))))
                self._check(self._stub.PublishEvents(request, timeout=60, metadata=self._metadata))
        return sum(self._told.values())

    def run(self, customers: int, rate: float, seconds: float, seed: int) -> dict[str, Any]:
        """Tells at a rate: customers at random. Each fact as (customer, which of hers, told at, acknowledged at)."""
        chance, self._refused = random.Random(seed), 0
        done: list[tuple[int, int, float, float]] = []
        wrong: list[BaseException] = []
        room = threading.Semaphore(64)
        began, sent, late = time.monotonic(), 0, 0.0
        while sent < rate * seconds:
            due = began + (sent / rate // TICK + 1) * TICK
            time.sleep(max(0.0, due - time.monotonic()))
            late = max(late, time.monotonic() - due)
            count = min(500, int(rate * (time.monotonic() - began)) - sent, int(rate * seconds) - sent)
            if count <= 0:
                continue
            request, told = self._batch(chance, [chance.randrange(1, customers + 1) for _ in range(count)])
            room.acquire()
            self._send(request, self._noted(told, time.monotonic(), done, wrong, room))
            sent += count
        for _ in range(64):
            room.acquire()
        if wrong:
            raise RuntimeError(str(wrong[0]))
        return {"facts": done, "seconds": time.monotonic() - began, "late": late, "refused": self._refused}

    def _send(self, request: pb.PublishEventsRequest, noted: Callable[[Any], None]) -> None:
        """Publishes, again and again while the hub is overloaded, when it says so; timed from the first time on."""

        def answered(call: Any) -> None:
            if call.code() is not grpc.StatusCode.RESOURCE_EXHAUSTED:
                noted(call)
                return
            self._refused += 1
            again = threading.Timer(_asked_to_wait(call), self._send, (request, noted))
            again.daemon = True
            again.start()

        self._stub.PublishEvents.future(request, timeout=60, metadata=self._metadata).add_done_callback(answered)

    def _noted(self, told: Any, at: float, done: Any, wrong: Any, room: threading.Semaphore) -> Any:
        def finished(call: Any) -> None:
            now = time.monotonic()
            try:
                self._check(call.result())
                done.extend((customer, which, at, now) for customer, which in told)
            except (grpc.RpcError, RuntimeError) as error:
                wrong.append(error)
            finally:
                room.release()

        return finished

    def told(self) -> dict[str, int]:
        """How many facts of each customer were told."""
        return {str(customer): count for customer, count in self._told.items()}


if __name__ == "__main__":
    load = FanLoad()
    serve({"connect": load.connect, "seed": load.seed, "run": load.run, "told": load.told})
