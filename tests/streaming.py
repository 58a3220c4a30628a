"""A bare Sync stream: what is said and what is heard, message by message, without the SDK's machine.

Owns `Stream`: a thread that reads into a `History`, and the messages a client may send.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import grpc
from segue.domain.identifier import parse_identifier
from segue.v1 import sync_pb2
from segue.wire import identifier_to_wire

from tests.calling import Caller
from tests.waiting import eventually
from tests.watch_checks import History


class Stream:
    """One open stream.

    Attributes:
        history: what was heard so far.
        error: how it ended, where it broke.
        ended: set when it did.
    """

    def __init__(self, caller: Caller, *, plan: str = "", reading: bool = True, hello: bool = True) -> None:
        self.history = History()
        self.error: grpc.RpcError | None = None
        self.ended = threading.Event()
        self.reading = threading.Event()
        self._outgoing: queue.SimpleQueue[sync_pb2.SyncRequest | None] = queue.SimpleQueue()
        self._call = caller.sync.Sync(iter(self._outgoing.get, None), metadata=caller.metadata)
        self._seq = 0
        if reading:
            self.reading.set()
        if hello:
            self.say(hello=sync_pb2.Hello(instance="bare", sdk="test", plan=plan))
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def _listen(self) -> None:
        try:
            self.reading.wait()
            for message in self._call:
                self.history.messages.append(message)
                self.reading.wait()
        except grpc.RpcError as error:
            self.error = error
        finally:
            self.ended.set()

    def say(self, **body: Any) -> None:
        """Sends one message: `say(hello=Hello(...))`."""
        self._seq += 1
        self._outgoing.put(sync_pb2.SyncRequest(seq=self._seq, **body))

    def subscribe(
        self, number: int, name: str, purpose: str = "service", held: tuple[int, str, str] = (0, "", ""),
        pending: list[bytes] | None = None,
    ) -> None:  # fmt: skip
        """Asks for a customer."""
        identifier = parse_identifier(name)
        self.history.identifiers[number] = identifier
        if held[0]:
            self.history.held[number] = held
        self.say(
            subscribe=sync_pb2.Subscribe(
                subscription=number,
                identifier=identifier_to_wire(identifier),
                purpose=purpose,
                version=held[0],
                view=held[1],
                customer=held[2],
                pending=pending or [],
            )
        )

    def frames(self, subscription: int) -> list[sync_pb2.ContextUpdate]:
        """What was heard of a subscription."""
        return self.history.frames(subscription)

    def heard(self, kind: str) -> list[Any]:
        """All messages of a kind."""
        return [getattr(m, kind) for m in list(self.history.messages) if m.WhichOneof("body") == kind]

    def frame(
        self, subscription: int, wanted: Callable[[sync_pb2.ContextUpdate], bool] = lambda _: True
    ) -> sync_pb2.ContextUpdate:
        """The first frame of a subscription that is as wanted, waited for."""
        return eventually(lambda: next((f for f in self.frames(subscription) if wanted(f)), None))

    def close(self) -> None:
        self._outgoing.put(None)
        self._call.cancel()
        self.reading.set()
        self._thread.join(5)


@contextmanager
def streaming(caller: Caller, **more: Any) -> Iterator[Stream]:
    """A stream while the block runs."""
    stream = Stream(caller, **more)
    try:
        yield stream
    finally:
        stream.close()
