"""F12: streams that do not read are ended, and nobody else notices.

Promises 3 (ordered) and 7 (never in the way). The size is how many streams there are, one in a hundred
of them (at least two) stalled. Each stream that goes on is checked with the six watch checks. What ends a stalled one
is told to it once it reads again; until then its place is held, its memory is not.
"""

from __future__ import annotations

import statistics
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import grpc
import pytest

from tests.calling import Caller, event, refusal, retry_after
from tests.faults.trial import Trial
from tests.faults.watched import anomalies, caught_up, log_in, resident
from tests.serving import serving
from tests.streaming import Stream
from tests.waiting import eventually

pytestmark = [pytest.mark.fault, pytest.mark.trial]

_NARROW = (("grpc.http2.lookahead_bytes", 65536), ("grpc.http2.bdp_probe", 0))
"""A client that takes in little ahead of what it reads, so that what it does not read is noticed soon."""
CUSTOMERS = 20
BIG = "x" * 2_000


def names(number: int) -> list[str]:
    return [f"account=SR-{(number + step) % CUSTOMERS}" for step in range(3)]


def test_f12_stalled_streams_are_ended_and_the_others_go_on(tmp_path: Path) -> None:
    trial = Trial("F12 slow readers", small=40, ci=300, long=1_000)
    count = trial.size
    stalled_count = max(2, count // 100)
    with serving(tmp_path) as hub, ExitStack() as stack:
        key, app_key = hub.key("chat"), hub.key("app")

        shared: list[Caller] = []

        def opened(number: int, *, alone: bool = False, **more: Any) -> Stream:
            if alone or number % 50 == 0:  # a stalled stream holds up its own connection, whose others would stall too
                shared.append(Caller(hub.address, key, options=_NARROW))
                stack.callback(shared[-1].close)
            caller = shared[-1]
            stream = Stream(caller, **more)
            stack.callback(stream.close)
            return stream

        app = Caller(hub.address, app_key)
        stack.callback(app.close)
        for number in range(CUSTOMERS):
            app.send(event("transfer.started", f"account=SR-{number}", transfer_id=BIG))
        reading = [opened(number) for number in range(count - stalled_count)]
        for number, stream in enumerate(reading):
            for place, name in enumerate(names(number), 1):
                stream.subscribe(place, name)
        for stream in reading:
            eventually(lambda stream=stream: {frame.subscription for frame in stream.frames(0)} == {1, 2, 3}, 60)
        calm = [delay(app, reading[0]) for _ in range(20)]
        before = resident(hub.pid)
        stalled = [opened(number, alone=True, reading=False) for number in range(stalled_count)]
        for stream in stalled:
            for number in range(CUSTOMERS):
                stream.subscribe(number + 1, f"account=SR-{number}")
        eventually(lambda: len(hub.status()["instances"]) == count, 60)
        began, under_fire, ended_after = time.monotonic(), [], 0.0
        while not ended_after and time.monotonic() - began < 60:
            for number in range(CUSTOMERS):
                app.send(event("transfer.started", f"account=SR-{number}", transfer_id=BIG))
            under_fire.append(delay(app, reading[0]))
            if hub.status()["limits"]["slow_readers"] >= stalled_count:
                ended_after = time.monotonic() - began
        assert ended_after
        assert len(hub.status()["instances"]) == len(reading)  # what they subscribed to is let go
        assert not [stream for stream in reading if stream.ended.is_set()]
        growth = resident(hub.pid) - before
        truths = [caught_up(stream, hub.address, key) for stream in reading]
        for stream in stalled:
            stream.reading.set()
            assert stream.ended.wait(30)
            assert isinstance(stream.error, grpc.RpcError)
            assert refusal(stream.error) == ("RESOURCE_EXHAUSTED", "SLOW_READER")
            assert retry_after(stream.error) == 1.0
        app.close()
        assert hub.stop() == 0
        log = log_in(hub.store)
        wrong = [
            w for stream, truth in zip(reading, truths, strict=True) for w in anomalies(stream.history, truth, log)
        ]
        trial.report(
            streams=count, stalled=stalled_count, ended_within_s=round(ended_after, 1),
            calm_ms=round(statistics.median(calm) * 1000, 1), under_fire_ms=round(max(under_fire) * 1000, 1),
            hub_growth_mb=round(growth / 1e6, 1), anomalies=len(wrong),
        )  # fmt: skip
        assert wrong == []
        assert growth < 200e6


def delay(app: Caller, stream: Stream) -> float:
    """Seconds from a fact to the frame that has it."""
    fact = event("transfer.started", names(0)[0], transfer_id="T")
    had = len(stream.frames(1))
    began = time.monotonic()
    app.send(fact)
    eventually(lambda: len(stream.frames(1)) > had, 30)
    return time.monotonic() - began
