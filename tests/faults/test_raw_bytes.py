"""F19: strangers at the ports of a hub. Bytes of every bad kind, slow ones, many at once, and keys that are none.

The hub stays up and serves whoever asks properly meanwhile; its memory and descriptors are bounded; no key but
a real one is let in, whatever it is made of.
"""

from __future__ import annotations

import socket
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import grpc
import pytest
from segue.domain.identifier import parse_identifier
from segue.v1 import context_pb2, event_service_pb2
from segue.wire import identifier_to_wire

from tests.calling import calling, event
from tests.faults import raw_bytes
from tests.faults.trial import Trial
from tests.serving import Serving, free_port
from tests.waiting import eventually

pytestmark = [pytest.mark.fault, pytest.mark.trial, pytest.mark.timeout(0)]

MEMORY = 64_000_000
"""What the strangers may cost a hub, in bytes."""


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Serving]:
    running = Serving(tmp_path, http_port=free_port())
    running.start()
    try:
        running.push()
        yield running
    finally:
        running.stop()


class Neighbour:
    """A client that asks properly, again and again, while strangers are at the port."""

    def __init__(self, hub: Serving) -> None:
        self._hub = hub
        self._key = hub.key("app")
        self._ends = threading.Event()
        self.answers: Counter[str] = Counter()
        self.slowest = 0.0
        self._thread = threading.Thread(target=self._ask)

    def __enter__(self) -> Neighbour:
        self._thread.start()
        eventually(lambda: self.answers, 20)
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.set()
        self._thread.join()

    def _ask(self) -> None:
        with calling(self._hub.address, self._key) as caller:
            while not self._ends.is_set():
                began = time.monotonic()
                try:
                    statuses = caller.statuses(event("transfer.started", "account=N-1", transfer_id="T"))
                    caller.context("account=N-1")
                    with urllib.request.urlopen(f"{self._hub.http}/healthz", timeout=20) as answer:
                        self.answers[f"{statuses[0]} {answer.status}"] += 1
                except (grpc.RpcError, OSError) as error:
                    self.answers[repr(error)[:200]] += 1
                self.slowest = max(self.slowest, time.monotonic() - began)
                self._ends.wait(0.02)  # the pace of a client


def memory(hub: Serving, name: str) -> int:
    """`VmRSS` now, `VmHWM` at the most so far."""
    lines = Path(f"/proc/{hub.pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(name)).split()[1]) * 1024


def descriptors(hub: Serving) -> int:
    return sum(1 for _ in Path(f"/proc/{hub.pid}/fd").iterdir())


@contextmanager
def connected(port: int) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", port), timeout=10) as open_:
        yield open_


@contextmanager
def explained(hub: Serving) -> Iterator[None]:
    """A connection that is refused says how the hub ended, and what it said last."""
    try:
        yield
    except ConnectionRefusedError as error:
        assert hub.process is not None
        said = (hub.folder / f"hub.{hub.starts}.log").read_text()[-5_000:]
        ended = hub.process.poll()
        raise AssertionError(f"refused; the hub's process ended with {ended} and said last: {said}") from error


def say(port: int, words: bytes) -> None:
    """Says it all, hears what comes for a moment, and goes."""
    with connected(port) as line, suppress(OSError):
        line.settimeout(0.3)
        line.sendall(words)
        for _ in range(50):
            if not line.recv(65_536):
                return


def warmed(hub: Serving, neighbour: Neighbour) -> None:
    asked = sum(neighbour.answers.values())
    eventually(lambda: sum(neighbour.answers.values()) >= asked + 30, 60)


def test_f19_whatever_bytes_come_the_hub_stays_up_and_serves(hub: Serving) -> None:
    trial = Trial("F19 raw bytes", small=1, ci=12, long=2_000)
    ports = {"grpc": hub.port, "http": int(hub.http.rpartition(":")[2])}
    costs: Counter[str] = Counter()
    with Neighbour(hub) as neighbour:
        warmed(hub, neighbour)
        before, open_before, most = memory(hub, "VmRSS"), descriptors(hub), memory(hub, "VmHWM")
        sent = 0
        for _ in range(trial.size):
            for kind in raw_bytes.KINDS:
                for port in ports.values():
                    with explained(hub):
                        say(port, kind(trial.chance))
                    sent += 1
                costs[kind.__name__] += (now := memory(hub, "VmHWM")) - most
                most = now
        eventually(lambda: descriptors(hub) <= open_before + 2, 30)
        warmed(hub, neighbour)
    worst = costs.most_common(1)[0]
    trial.report(
        connections=sent, served_meanwhile=sum(neighbour.answers.values()), slowest_ms=round(neighbour.slowest * 1000),
        hub_mb_more_at_most=round((most - before) / 1e6, 1), costliest=f"{worst[0]} {worst[1] / 1e6:.1f} MB",
        descriptors_more=descriptors(hub) - open_before,
    )  # fmt: skip
    assert set(neighbour.answers) == {"ACCEPTED 200"}
    assert most - before < MEMORY, costs


def test_f19_slow_ones_and_many_hold_up_nobody_and_leave_nothing(hub: Serving) -> None:
    trial = Trial("F19 slow strangers", small=50, ci=400, long=4_000)
    with Neighbour(hub) as neighbour:
        warmed(hub, neighbour)
        before, open_before = memory(hub, "VmRSS"), descriptors(hub)
        with ExitStack() as all_:
            lines = []
            for number in range(trial.size):
                port = hub.port if number % 2 else int(hub.http.rpartition(":")[2])
                with explained(hub):
                    line = all_.enter_context(connected(port))
                words = raw_bytes.begun() if number % 2 else b"POST /v1/events HTTP/1.1\r\nHost: hub\r\nX-Slow: "
                lines.append((line, words + b"v" * 64))
            for place in range(40):
                for line, words in lines:
                    with suppress(OSError):
                        line.sendall(words[place : place + 1])
            warmed(hub, neighbour)
            held, most = descriptors(hub) - open_before, memory(hub, "VmRSS")
        eventually(lambda: descriptors(hub) <= open_before + 2, 30)
    trial.report(
        connections=trial.size, held=held, served_meanwhile=sum(neighbour.answers.values()),
        slowest_ms=round(neighbour.slowest * 1000), hub_mb_more=round((most - before) / 1e6, 1),
    )  # fmt: skip
    assert set(neighbour.answers) == {"ACCEPTED 200"}
    assert most - before < MEMORY


def test_f19_no_key_but_a_real_one_is_let_in(hub: Serving) -> None:
    trial = Trial("F19 keys", small=40, ci=1_000, long=100_000)
    real, outcomes = hub.key("app"), Counter[str]()
    question = context_pb2.GetContextRequest(
        identifier=identifier_to_wire(parse_identifier("account=N-1")), purpose="service"
    )

    def damaged() -> bytes:
        whole, chance = bytearray(f"Bearer {real}".encode()), trial.chance
        how = chance.randrange(6)
        if how == 0:
            del whole[chance.randrange(len(whole))]
        elif how == 1:
            place = chance.randrange(len(whole))
            whole[place] = chance.choice([byte for byte in range(33, 127) if byte != whole[place]])
        elif how == 2:
            whole = whole[: chance.randrange(len(whole))]
        elif how == 3:
            whole += bytes(chance.choices(range(33, 127), k=chance.randrange(1, 3_000)))
        elif how == 4:
            whole = bytearray(chance.choices(range(32, 127), k=chance.randrange(200)))
        else:
            whole = bytearray(b"Bearer " + real.encode().swapcase())
        return bytes(whole)

    with calling(hub.address, real) as known:
        assert known.statuses(event("transfer.started", "account=N-1", transfer_id="T")) == ["ACCEPTED"]
    with calling(hub.address) as caller:
        assert caller.contexts.GetContext(question, timeout=20, metadata=(("authorization", f"Bearer {real}"),))
        for _ in range(trial.size):
            words = damaged()
            if words.strip().lower().removeprefix(b"bearer ") == real.encode():
                continue  # the scheme's case is free, and so is what stands around it
            with pytest.raises(grpc.RpcError) as refused:
                caller.contexts.GetContext(question, timeout=20, metadata=(("authorization", words.decode()),))
            outcomes[refused.value.code().name] += 1
            request = urllib.request.Request(f"{hub.http}/v1/events", b"[]", {"Authorization": words.decode()})
            with pytest.raises(urllib.error.HTTPError) as answered:
                urllib.request.urlopen(request, timeout=20)
            outcomes[str(answered.value.code)] += 1
            answered.value.close()
    trial.report(keys=trial.size, outcomes=str(dict(outcomes)))
    assert set(outcomes) == {"UNAUTHENTICATED", "401"}


def test_f19_a_message_that_unpacks_to_far_more_than_one_may_be_is_refused(hub: Serving) -> None:
    key = hub.key("app")
    with calling(hub.address, key) as caller:
        assert caller.statuses(event("transfer.started", "account=N-1", transfer_id="T")) == ["ACCEPTED"]
        before = memory(hub, "VmRSS")
        publish = caller.channel.unary_unary(
            "/segue.v1.EventService/PublishEvents", None, event_service_pb2.PublishEventsResponse.FromString
        )
        codes = []
        for _ in range(3):
            with pytest.raises(grpc.RpcError) as refused:
                publish(bytes(100_000_000), timeout=60, metadata=caller.metadata, compression=grpc.Compression.Gzip)
            codes.append(refused.value.code().name)
        assert codes == ["RESOURCE_EXHAUSTED"] * 3
        assert memory(hub, "VmHWM") - before < MEMORY
        nothing = caller.channel.unary_unary("/segue.v1.EventService/DropEverything", None, None)
        with pytest.raises(grpc.RpcError) as unknown:
            nothing(b"", timeout=20, metadata=caller.metadata)
        assert unknown.value.code() == grpc.StatusCode.UNIMPLEMENTED
        assert caller.statuses(event("transfer.started", "account=N-1", transfer_id="T")) == ["ACCEPTED"]
