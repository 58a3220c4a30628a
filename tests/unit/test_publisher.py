"""The publisher and its outbox when things go wrong: nothing stops for ever, and kept + delivered + lost = offered."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from segue import outbox as outbox_module
from segue import publisher as publisher_module
from segue.config import Config
from segue.outbox import ANALYTICS, MUST, Offered, Outbox
from segue.publisher import Publisher
from segue.transport import UNDELIVERABLE, Transport, Verdict
from segue.wire import fact_to_bytes
from segue_hub.services import ingest
from segue_hub.testing import RunningHub, run_hub

from tests.calling import event

Done = Callable[[list[Verdict] | None, str, int], None]


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tried again without waiting."""
    monkeypatch.setattr(publisher_module, "jitter", lambda failures: 0.0)


class Taking:
    """A stub of the transport: takes everything, but cannot read a batch with one of these bodies in it."""

    def __init__(self, *unreadable: bytes) -> None:
        self.unreadable = set(unreadable)
        self.taken: list[bytes] = []
        self.batches: list[int] = []

    def publish(self, bodies: Sequence[bytes], done: Done) -> None:
        self.batches.append(len(bodies))
        if self.unreadable.intersection(bodies):
            done(None, "RESOURCE_EXHAUSTED", UNDELIVERABLE)
            return
        self.taken += bodies
        done([("ACCEPTED", "", "")] * len(bodies), "", 0)


class Silent:
    """A stub of the transport that answers when it is told to."""

    def __init__(self) -> None:
        self.under_way: list[tuple[int, Done]] = []

    def publish(self, bodies: Sequence[bytes], done: Done) -> None:
        self.under_way.append((len(bodies), done))

    def answer(self, status: str = "ACCEPTED") -> None:
        count, done = self.under_way.pop()
        done([(status, "CODE" if status == "REJECTED" else "", "")] * count, "", 0)


def offered(number: int, lane: int = MUST) -> Offered:
    return Offered(number.to_bytes(16, "big"), b"body %d" % number, lane)


def open_outbox(folder: Path, count: int = 0, rows: int = 1_000_000) -> Outbox:
    outbox = Outbox(folder, "app", rows, 10**9)
    outbox.open()
    for number in range(count):
        outbox.offer(offered(number))
    outbox.journal()
    return outbox


def publisher(outbox: Outbox, transport: Any) -> Publisher:
    return Publisher(outbox, lambda: transport, lambda: None)


def told(publisher: Publisher, times: int = 200) -> list[bytes]:
    """Publishes and settles, as the worker does, until nothing is under way any more."""
    gone = []
    for _ in range(times):
        publisher.publish()
        if not publisher.under_way:
            return gone
        gone += publisher.settle()
    raise AssertionError("it never ends")


def balance(outbox: Outbox) -> int:
    """Kept + delivered + lost; must be what was offered. Refused ones are in the dead table and counted as lost."""
    return outbox.waiting + outbox.unjournalled + outbox.delivered + sum(outbox.losses.values())


# Connecting.


def test_an_exception_on_connecting_does_not_stop_publishing_for_ever(tmp_path: Path) -> None:
    outbox, transport, tries = open_outbox(tmp_path, 3), Taking(), []

    def connected() -> Any:
        tries.append(1)
        if len(tries) < 3:
            raise OSError("the CA's file is not there yet")
        return transport

    publishing = Publisher(outbox, connected, lambda: None)
    publishing.publish()
    assert publishing.settle() == []
    assert publishing.last_error == "OSError: the CA's file is not there yet"
    assert not publishing.under_way
    told(publishing)
    assert (len(tries), outbox.delivered, outbox.waiting, publishing.last_error) == (3, 3, 0, "")
    outbox.close()


def test_a_row_that_the_transport_cannot_even_send_does_not_stop_publishing_for_ever(tmp_path: Path) -> None:
    class Raising(Taking):
        def publish(self, bodies: Sequence[bytes], done: Done) -> None:
            if not self.batches:
                self.batches.append(0)
                raise ValueError("no message")
            super().publish(bodies, done)

    outbox = open_outbox(tmp_path, 2)
    told(publisher(outbox, Raising()))
    assert (outbox.delivered, outbox.waiting) == (2, 0)
    outbox.close()


# Batches that the hub cannot read.


@pytest.mark.parametrize("culprits", [[0], [99], [37], [10, 11, 60]])
def test_a_batch_that_cannot_be_read_is_halved_until_the_culprit_is_alone_and_the_rest_is_delivered(
    tmp_path: Path, culprits: list[int]
) -> None:
    outbox = open_outbox(tmp_path, 100)
    transport = Taking(*(offered(number).body for number in culprits))
    gone = told(publisher(outbox, transport))
    ids = [offered(number).id for number in culprits]
    assert gone == ids
    assert [(id_, code) for id_, code, _ in outbox.dead()] == [(id_, "UNDELIVERABLE") for id_ in ids]
    assert sorted(transport.taken) == sorted(offered(n).body for n in range(100) if n not in culprits)
    assert outbox.losses == {"rejected:UNDELIVERABLE": len(culprits)}
    assert (outbox.waiting, balance(outbox)) == (0, outbox.offered)
    assert transport.batches[0] == 100
    assert len(transport.batches) < 60
    outbox.close()


@pytest.fixture(scope="module")
def hub() -> Iterator[RunningHub]:
    with run_hub() as running:
        yield running


def answer_of(hub: RunningHub, bodies: Sequence[bytes]) -> tuple[list[Verdict] | None, str, int]:
    """What a real hub makes of a batch."""
    answers: list[tuple[list[Verdict] | None, str, int]] = []
    answered = threading.Event()

    def done(verdicts: list[Verdict] | None, error: str, backoff_ms: int) -> None:
        answers.append((verdicts, error, backoff_ms))
        answered.set()

    transport = Transport(Config(touchpoint="app", hub=hub.address, key=hub.key("app")))
    try:
        transport.publish(bodies, done)
        assert answered.wait(10)
    finally:
        transport.close()
    return answers[0]


def test_a_message_too_large_for_the_hub_is_undeliverable(hub: RunningHub) -> None:
    large = [fact_to_bytes(event("a", "account=P-1", text="x" * 60_000)) for _ in range(80)]
    verdicts, error, backoff_ms = answer_of(hub, large)
    assert verdicts is None
    assert backoff_ms == UNDELIVERABLE
    assert error.startswith("RESOURCE_EXHAUSTED")


def test_a_hub_that_has_no_room_now_is_asked_again_later(hub: RunningHub, monkeypatch: pytest.MonkeyPatch) -> None:
    body = fact_to_bytes(event("a", "account=P-2"))
    with monkeypatch.context() as full:
        full.setattr(ingest, "QUEUE_BYTES", -1)
        verdicts, error, backoff_ms = answer_of(hub, [body])
    assert verdicts is None
    assert backoff_ms != UNDELIVERABLE
    assert error
    assert answer_of(hub, [body])[0] == [("ACCEPTED", "", "")]


# An outbox that cannot be written.


def unwritable(folder: Path) -> Path:
    folder.write_text("a file where the folder should be")
    return folder


def test_an_outbox_that_cannot_be_written_publishes_from_memory_and_reopens(tmp_path: Path) -> None:
    folder = unwritable(tmp_path / "state")
    outbox, transport = open_outbox(folder, 3), Taking()
    assert outbox.trouble
    publishing = publisher(outbox, transport)
    told(publishing)
    assert (outbox.delivered, outbox.unjournalled, balance(outbox)) == (3, 0, 3)
    outbox.offer(offered(3))
    outbox.journal()
    folder.unlink()
    outbox.reopen()
    outbox.journal()
    assert outbox.trouble == ""
    assert (outbox.waiting, outbox.unjournalled) == (1, 0)
    told(publishing)
    assert transport.taken == [offered(number).body for number in range(4)]
    assert (outbox.delivered, outbox.waiting, balance(outbox)) == (4, 0, outbox.offered)
    outbox.close()


def test_an_outbox_that_reopens_while_a_batch_from_memory_is_under_way_counts_each_fact_once(tmp_path: Path) -> None:
    folder = unwritable(tmp_path / "state")
    outbox, transport = open_outbox(folder, 3), Silent()
    publishing = publisher(outbox, transport)
    publishing.publish()
    folder.unlink()
    outbox.reopen()
    outbox.journal()
    assert outbox.waiting == 3
    transport.answer()
    publishing.settle()
    assert (outbox.delivered, outbox.waiting, balance(outbox)) == (3, 0, 3)
    assert outbox.take(10, 10**6) == []
    outbox.close()


def test_what_an_outbox_without_a_disk_drops_when_it_closes_is_counted(tmp_path: Path) -> None:
    outbox = open_outbox(unwritable(tmp_path / "state"), 5)
    outbox.close()
    assert outbox.losses == {"disk": 5}
    assert (outbox.unjournalled, balance(outbox)) == (0, 5)
    outbox.reopen()
    assert outbox._connection is None


# A full outbox.


@pytest.mark.parametrize("status", ["ACCEPTED", "DUPLICATE", "REJECTED"])
def test_a_full_outbox_with_a_batch_under_way_loses_no_count(tmp_path: Path, status: str) -> None:
    outbox, transport = Outbox(tmp_path, "app", 10, 10**9), Silent()
    outbox.open()
    for number in range(10):
        outbox.offer(offered(number, ANALYTICS))
    outbox.journal()
    publishing = publisher(outbox, transport)
    publishing.publish()
    for number in range(10, 28):
        outbox.offer(offered(number, ANALYTICS))
        outbox.journal()
        assert balance(outbox) == outbox.offered
    transport.answer(status)
    publishing.settle()
    assert balance(outbox) == outbox.offered == 28
    assert outbox.waiting == len(outbox.take(100, 10**6))
    outbox.close()


def test_a_full_memory_with_a_batch_under_way_loses_no_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox_module, "MEMORY_ROWS", 10)
    outbox, transport = open_outbox(unwritable(tmp_path / "state"), 10), Silent()
    publishing = publisher(outbox, transport)
    publishing.publish()
    for number in range(10, 16):
        outbox.offer(offered(number))
    outbox.journal()
    transport.answer()
    publishing.settle()
    assert balance(outbox) == outbox.offered == 16
    outbox.close()
