"""The streams of P8: many in one process, over the raw wire; frames are noted as they come and read afterwards.

Run by `workers.Worker("fan_ears")`. Times are CLOCK_MONOTONIC, which all processes of a machine share.
"""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import AsyncIterator, Sequence
from typing import Any, Final

import grpc
from segue.v1 import sync_pb2

from .load import fact
from .workers import serve

PER_CONNECTION: Final = 25


class Ears:
    """Streams, each with its customers."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._heard: list[list[tuple[float, bytes]]] = []
        self._tasks: list[Any] = []
        self._names: list[Sequence[int]] = []
        self._newest: list[dict[int, tuple[int, int]]] = []
        threading.Thread(target=self._loop.run_forever, daemon=True).start()

    def open(self, address: str, key: str, customers: Sequence[Sequence[int]]) -> int:
        """One stream for each list of customers; answered when all contexts have come."""
        return asyncio.run_coroutine_threadsafe(self._open(address, key, customers), self._loop).result(120)

    async def _open(self, address: str, key: str, customers: Sequence[Sequence[int]]) -> int:
        channels = [
            grpc.aio.insecure_channel(address, options=[("grpc.use_local_subchannel_pool", 1)])
            for _ in range(-(-len(customers) // PER_CONNECTION))
        ]
        self._names = customers
        self._heard = [[] for _ in customers]
        self._newest = [{} for _ in customers]
        for number, names in enumerate(customers):
            stream = channels[number % len(channels)].stream_stream(
                "/segue.v1.SyncService/Sync", request_serializer=sync_pb2.SyncRequest.SerializeToString
            )
            call = stream(self._asked(number, names), metadata=(("authorization", f"Bearer {key}"),))
            self._tasks.append(asyncio.create_task(self._listen(number, call)))
        came, looked = 0, [0] * len(customers)
        while came < sum(map(len, customers)):
            for task in self._tasks:
                if task.done():
                    task.result()
            await asyncio.sleep(0.05)
            for stream, messages in enumerate(self._heard):
                came += sum(len(_updates(data)) for _, data in messages[looked[stream] :])
                looked[stream] = len(messages)
        return came

    async def _asked(self, stream: int, names: Sequence[int]) -> AsyncIterator[sync_pb2.SyncRequest]:
        yield sync_pb2.SyncRequest(seq=1, hello=sync_pb2.Hello(instance=f"ears-{stream}", sdk="bench", several=True))
        for number, customer in enumerate(names):
            identifier = fact_of(customer)
            yield sync_pb2.SyncRequest(
                seq=number + 2, subscribe=sync_pb2.Subscribe(subscription=number + 1, identifier=identifier)
            )
        await asyncio.Event().wait()

    async def _listen(self, number: int, call: Any) -> None:
        while True:
            message = await call.read()
            if message is grpc.aio.EOF:
                raise RuntimeError(f"stream {number} ended: {await call.code()}")
            self._heard[number].append((time.monotonic(), message))

    def heard(self) -> list[tuple[int, int, float, int]]:
        """Contexts since the last time: (stream, customer, when, facts in it), in the order in which they came.

        Raises:
            RuntimeError: a version or a count of facts went back, or a message is missing.
        """
        for task in self._tasks:
            if task.done():
                task.result()
        found = []
        for stream, names in enumerate(self._names):
            messages, self._heard[stream] = self._heard[stream], []
            for at, data in messages:
                for update in _updates(data):
                    customer = names[update.subscription - 1]
                    (envelope,) = [json.loads(s.data) for s in update.context.sections if s.name == "envelope"]
                    facts, version = envelope[2], update.context.version
                    if (version, facts) < self._newest[stream].get(customer, (0, 0)):
                        raise RuntimeError(f"customer {customer} went back on stream {stream}")
                    self._newest[stream][customer] = version, facts
                    found.append((stream, customer, at, facts))
        return found

    def newest(self) -> list[dict[str, int]]:
        """By stream and customer, the facts of the newest context."""
        return [{str(name): facts for name, (_, facts) in newest.items()} for newest in self._newest]


def _updates(data: bytes) -> Sequence[Any]:
    response = sync_pb2.SyncResponse.FromString(data)
    return [response.context] if response.HasField("context") else response.contexts.updates


def fact_of(customer: int) -> Any:
    """The identifier of a customer, as the load names it."""
    import random

    return fact(random.Random(customer), customer, 0, 1).identifiers[0]


if __name__ == "__main__":
    ears = Ears()
    serve({"open": ears.open, "heard": ears.heard, "newest": ears.newest})
