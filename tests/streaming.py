"""A bare Sync stream: what is said and what is heard, message by message, without the SDK's machine.

Owns `Stream`: a thread that reads into a `History`, and the messages a client may send. Every stream is held against
the watch checks when its block ends.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import grpc
from segue.domain.identifier import parse_identifier
from segue.v1 import sync_pb2
from segue.wire import fact_from_bytes, identifier_to_wire
from segue_hub.testing import RunningHub

from tests.calling import Caller
from tests.waiting import eventually
from tests.watch_checks import (
    History,
    Log,
    Whose,
    atomic,
    bookmarked,
    digest,
    ordered,
    reliable,
    resumable,
    unique,
)


class Stream:
    """One open stream.

    Attributes:
        history: what was heard so far.
        error: how it ended, where it broke.
        ended: set when it did.
    """

    def __init__(
        self, caller: Caller, *, plan: str = "", reading: bool = True, hello: bool = True, several: bool = False
    ) -> None:  # fmt: skip
        self.history = History()
        self.error: grpc.RpcError | None = None
        self.ended = threading.Event()
        self.reading = threading.Event()
        self._outgoing: queue.SimpleQueue[sync_pb2.SyncRequest | None] = queue.SimpleQueue()
        self._caller = caller
        self._purposes: dict[int, str] = {}
        self._call = caller.sync.Sync(iter(self._outgoing.get, None), metadata=caller.metadata)
        self._seq = 0
        if reading:
            self.reading.set()
        if hello:
            self.say(hello=sync_pb2.Hello(instance="bare", sdk="test", plan=plan, several=several))
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
        self._purposes[number] = purpose
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

    def truth(self) -> dict[int, tuple[int, str, str]]:
        """What a cold read gives now, by subscription: (version, view, customer)."""
        found = {}
        refused = {error.subscription for error in self.heard("error")}
        for number, identifier in self.history.identifiers.items():
            if number in refused:
                continue
            try:
                context = self._caller.context(identifier, self._purposes[number])
                found[number] = (context.version, context.view, context.customer)
            except grpc.RpcError as error:
                if error.code() is not grpc.StatusCode.NOT_FOUND:
                    raise
                found[number] = (0, "", "")
        return found

    def anomalies(self, log: Log | None = None, whose: Whose | None = None) -> list[str]:
        """What the watch checks find in all that was heard.

        A stream that ended, or was never read, is asked for those that hold at every moment; one that is open, for all.

        Args:
            log: all facts; without it nobody knows whether each context was whole.
            whose: whose facts they are, where people come apart; see `atomic`.
        """
        history = self.history
        if self.ended.is_set() or not self.reading.is_set():
            wrong = ordered(history) + unique(history)
            return wrong + (atomic(history, log, whose) if log is not None else [])
        truth = self.truth()

        def level() -> bool:
            marks = self.heard("bookmark")
            holds = all(history.last(number) == wanted for number, wanted in truth.items())
            holds = holds and all(history.frames(number) for number in history.held)
            return holds and (not marks or marks[-1].digest == digest(history))

        with suppress(AssertionError):
            eventually(level)  # where it never holds, the checks say what is wrong
        wrong = ordered(history) + unique(history) + reliable(history, truth) + resumable(history, truth)
        wrong += atomic(history, log, whose) if log is not None else []
        whole = set(truth) == set(history.identifiers)  # else the hub counts others than the test does
        return wrong + (bookmarked(history) if whole and self.heard("bookmark") else [])


@contextmanager
def streaming(
    caller: Caller, *, hub: RunningHub | None = None, rule: Callable[[Log], Whose] | None = None, checked: bool = True,
    **more: Any,
) -> Iterator[Stream]:  # fmt: skip
    """A stream while the block runs; at its end the watch checks are made on all that it heard.

    Args:
        caller: whose key it has.
        hub: where it is given, contexts are held against its log too.
        rule: made of that log, whose facts are whose where people come apart.
        checked: False where the test itself makes the stream miss something, or its key is revoked.
        more: as of `Stream`.
    """
    stream = Stream(caller, **more)
    try:
        yield stream
        if checked:
            log = log_of(hub) if hub is not None else None
            wrong = stream.anomalies(log, rule(log) if rule is not None and log is not None else None)
            assert not wrong, wrong
    finally:
        stream.close()


def log_of(hub: RunningHub) -> Log:
    """The whole log of a hub in this process."""
    return [(place, fact_from_bytes(body)) for place, body in hub.hub.store.log(0, 10_000_000) if body is not None]
