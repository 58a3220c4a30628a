"""A crowd: thousands of bare streams of one process, each of one customer, on one loop.

Owns `Crowd`: where `Stream` has two threads of its own, which a process bears by the hundred, these have none. What
each heard is kept whole and is held against the same watch checks.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from typing import Any, Final

import grpc
from segue.domain.identifier import parse_identifier
from segue.v1 import sync_pb2, sync_pb2_grpc
from segue.wire import identifier_to_wire

from tests.waiting import eventually
from tests.watch_checks import History

ON_A_CHANNEL: Final = 50
Held = tuple[int, str, str]


class Crowd:
    """Streams that were opened at once.

    Args:
        address: of the hub.
        key: of a touchpoint.
        names: of the customer whom each subscribes to.
        held: what each says that it holds.

    Attributes:
        histories: what each heard.
        ended: how many streams ended.
        errors: of those that broke, the last thing they were told.
    """

    def __init__(self, address: str, key: str, names: Sequence[str], held: Sequence[Held]) -> None:
        self.histories = [History() for _ in names]
        self.ended = 0
        self.errors: list[str] = []
        self._loop = asyncio.new_event_loop()
        self._stopping = asyncio.Event()
        self._thread = threading.Thread(
            target=self._loop.run_until_complete, args=(self._run(address, key, names, held),)
        )
        self._thread.start()

    async def _run(self, address: str, key: str, names: Sequence[str], held: Sequence[Held]) -> None:
        channels = [
            grpc.aio.insecure_channel(address, [("grpc.use_local_subchannel_pool", 1)])
            for n in range(0, len(names), ON_A_CHANNEL)
        ]
        metadata = (("authorization", f"Bearer {key}"),)
        tasks = []
        for number, (name, one) in enumerate(zip(names, held, strict=True)):
            stub = sync_pb2_grpc.SyncServiceStub(channels[number // ON_A_CHANNEL])  # type: ignore[no-untyped-call]
            tasks.append(
                asyncio.create_task(
                    self._listen(stub.Sync(metadata=metadata, wait_for_ready=True), self.histories[number], name, one)
                )
            )
        await self._stopping.wait()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.gather(*(channel.close() for channel in channels))

    async def _listen(self, call: Any, history: History, name: str, held: Held) -> None:
        identifier = parse_identifier(name)
        history.identifiers[1] = identifier
        if held[0]:
            history.held[1] = held
        try:
            await call.write(sync_pb2.SyncRequest(seq=1, hello=sync_pb2.Hello(instance="bare", sdk="test")))
            subscribe = sync_pb2.Subscribe(
                subscription=1, identifier=identifier_to_wire(identifier), purpose="service",
                version=held[0], view=held[1], customer=held[2],
            )  # fmt: skip
            await call.write(sync_pb2.SyncRequest(seq=2, subscribe=subscribe))
            async for message in call:
                history.messages.append(message)
        except grpc.aio.AioRpcError as error:
            self.errors.append(f"{error.code().name}: {error.details()}")
        except asyncio.InvalidStateError:  # it ended between two messages to it
            self.errors.append(f"{(await call.code()).name}: {await call.details()}")
        finally:
            self.ended += 1

    def answered(self, timeout: float) -> None:
        """Waits until each was told of its customer, or ended."""
        eventually(
            lambda: sum(bool(each.frames(1)) for each in self.histories) + self.ended >= len(self.histories), timeout
        )

    def close(self) -> None:
        """Ends all of them."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stopping.set)
            self._thread.join()
            self._loop.close()
