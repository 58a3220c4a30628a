"""A hub whose disk fails on purpose, and what is heard of it meanwhile.

Owns the command lines that put `strace` between a hub and its disk (`-D`: the hub stays the test's own child), `Asking`
(a client that goes on telling facts, and notes each answer with its time) and `Health` (a watch on the hub's health).
Knows neither which fault is tried nor what has to come of it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from segue.domain.fact import Fact
from segue.wire import fact_from_bytes
from segue_hub.storage.sqlite import SqliteStore

from tests.calling import calling, event, refusal
from tests.faults.trace import strace
from tests.serving import Serving

_SYNCS = "fsync,fdatasync"


def injected(fault: str) -> list[str]:
    """What stands before a command: all its syncs fail, or take long, as `strace` injects it."""
    return [
        strace(), "-D", "-f", "-qqq", "-o", "/dev/null", "-e", f"trace={_SYNCS}", "-e", "signal=none",
        "-e", f"inject={_SYNCS}:{fault}",
    ]  # fmt: skip


def failing_syncs(path: Path, fault: str) -> list[str]:
    """The same, of one file."""
    command = injected(fault)
    return [*command[:4], "-P", str(path), *command[4:]]


class Asking(threading.Thread):
    """Tells facts in small batches until stopped, or until nobody answers.

    Attributes:
        acked: ids of facts that were ACCEPTED, with when they were sent.
        refused: (status, reason) of each refusal, with when it came.
    """

    def __init__(self, address: str, key: str, customer: str, batch: int = 5, size: int = 10) -> None:
        super().__init__(daemon=True)
        self.address, self.key, self.customer = address, key, customer
        self.batch, self.text = batch, "x" * size
        self.acked: list[tuple[str, float]] = []
        self.refused: list[tuple[tuple[str, str], float]] = []
        self.slowest_refusal = 0.0
        self.stopping = threading.Event()

    def facts(self) -> list[Fact]:
        return [event("transfer.started", f"account={self.customer}", transfer_id="T", error=self.text)
                for _ in range(self.batch)]  # fmt: skip

    def run(self) -> None:
        with calling(self.address, self.key) as app:
            while not self.stopping.is_set():
                facts, sent = self.facts(), time.monotonic()
                try:
                    statuses = app.statuses(*facts)
                except grpc.RpcError as error:
                    self.refused.append((refusal(error), time.monotonic()))
                    self.slowest_refusal = max(self.slowest_refusal, time.monotonic() - sent)
                    if error.code() == grpc.StatusCode.UNAVAILABLE:
                        return
                    self.stopping.wait(0.02)
                    continue
                self.acked += [(f.id.hex(), sent) for f, s in zip(facts, statuses, strict=True) if s == "ACCEPTED"]

    def end(self) -> None:
        self.stopping.set()
        self.join(30)
        assert not self.is_alive()


class Health(threading.Thread):
    """What a watch on a hub's health hears.

    Attributes:
        heard: (serving, when), in order.
    """

    def __init__(self, address: str) -> None:
        super().__init__(daemon=True)
        self.heard: list[tuple[bool, float]] = []
        self._channel = grpc.insecure_channel(address, options=[("grpc.use_local_subchannel_pool", 1)])
        self._watch = health_pb2_grpc.HealthStub(self._channel).Watch(health_pb2.HealthCheckRequest())

    @property
    def serving(self) -> bool:
        """As heard last."""
        return bool(self.heard) and self.heard[-1][0]

    def run(self) -> None:
        with suppress(grpc.RpcError):
            for answer in self._watch:
                self.heard.append((answer.status == health_pb2.HealthCheckResponse.SERVING, time.monotonic()))

    def end(self) -> None:
        self._watch.cancel()
        self.join(10)
        self._channel.close()


@contextmanager
def watched(address: str) -> Iterator[Health]:
    """A watch while the block runs."""
    health = Health(address)
    health.start()
    try:
        yield health
    finally:
        health.end()


def prepared(folder: Path) -> tuple[Serving, str]:
    """A hub that served before, with the example plan and a key of the app's; it is stopped."""
    hub = Serving(folder)
    hub.start()
    hub.push()
    key = hub.key("app")
    assert hub.stop() == 0
    return hub, key


def in_store(path: Path) -> tuple[list[str], list[str]]:
    """(ids of all facts, what is unsound)."""
    store = SqliteStore(path)
    try:
        return [fact_from_bytes(b).id.hex() for _, b in store.log(0, 10_000_000) if b is not None], list(store.check())
    finally:
        store.close()
