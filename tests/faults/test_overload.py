"""F13: ten times as much as the hub can do, in an open loop: nobody waits for an answer before asking again.

Promises 1 (acknowledged is kept), 2 (once). What the hub can do is measured first; then it is offered ten times that,
or as much as one process can offer (the line says how much it was). The hub refuses what it has no room for at once,
goes on with the rest, and is as before when it is over.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from pathlib import Path

import grpc
import pytest
from segue.v1 import event_service_pb2
from segue.wire import fact_to_wire

from tests.calling import Caller, event, refusal, retry_after
from tests.faults.trial import Trial, within
from tests.faults.watched import log_in, resident
from tests.serving import serving
from tests.waiting import eventually

pytestmark = [pytest.mark.fault, pytest.mark.trial, within(600)]

BATCH, DEADLINE, TIMES = 50, 5.0, 10
_MARK, _NAME = bytes(range(100, 116)), "O-000000"
CUSTOMERS = 20_000


class Offering:
    """Publishes prepared batches without waiting; keeps what became of each."""

    def __init__(self, caller: Caller) -> None:
        fact = event("transfer.started", f"account={_NAME}", transfer_id="T", id_=_MARK)
        self._body = event_service_pb2.PublishEventsRequest(facts=[fact_to_wire(fact)]).SerializeToString()
        self._call = caller.channel.unary_unary(
            "/segue.v1.EventService/PublishEvents", None, event_service_pb2.PublishEventsResponse.FromString
        )
        self._metadata = caller.metadata
        self._numbers = 0
        self._lock = threading.Lock()
        self.acknowledged: set[str] = set()
        self.outcomes: Counter[str] = Counter()
        self.hints: list[float] = []
        self.under_way = 0

    def offer(self) -> grpc.Future:
        """One batch of new facts."""
        ids, parts = [], []
        for _ in range(BATCH):
            self._numbers += 1
            ids.append(self._numbers.to_bytes(8, "big") + b"overload")
            name = f"O-{self._numbers % CUSTOMERS:06}"
            parts.append(self._body.replace(_MARK, ids[-1]).replace(_NAME.encode(), name.encode()))
        body = b"".join(parts)
        with self._lock:
            self.under_way += 1
        future = self._call.future(body, timeout=DEADLINE, metadata=self._metadata)
        future.add_done_callback(lambda done: self._done(done, ids))
        return future

    def _done(self, future: grpc.Future, ids: list[bytes]) -> None:
        error = future.exception()
        with self._lock:
            self.under_way -= 1
            if error is None:
                self.outcomes["acknowledged"] += 1
                statuses = [result.status for result in future.result().results]
                kept = zip(ids, statuses, strict=True)
                self.acknowledged |= {id_.hex() for id_, s in kept if s == event_service_pb2.FACT_STATUS_ACCEPTED}
            else:
                status, code = refusal(error)
                self.outcomes[code or status] += 1
                if code == "OVERLOADED":
                    self.hints.append(retry_after(error))


def closed_loop(offering: Offering, seconds: float, at_once: int) -> float:
    """Batches a second where each of so many waits for its answer."""
    before, ends = offering.outcomes["acknowledged"], time.monotonic() + seconds

    def one() -> None:
        while time.monotonic() < ends:
            offering.offer().exception()

    threads = [threading.Thread(target=one) for _ in range(at_once)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return (offering.outcomes["acknowledged"] - before) / seconds


def test_f13_offered_ten_times_what_it_can_do_the_hub_goes_on_and_loses_nothing(tmp_path: Path) -> None:
    trial = Trial("F13 ten times the load", small=3, ci=20, long=60)
    seconds = trial.size
    with serving(tmp_path) as hub:
        caller = Caller(hub.address, hub.key("app"))
        offering = Offering(caller)
        closed_loop(offering, 0.5, 4)
        peak = closed_loop(offering, seconds, 8)
        before, memory = offering.outcomes["acknowledged"], resident(hub.pid)
        began, offered, most = time.monotonic(), 0, 0
        while (since := time.monotonic() - began) < seconds:
            if offered < since * peak * TIMES and offering.under_way < 20_000:
                offering.offer()
                offered += 1
                if offered % 50 == 0:
                    most = max(most, resident(hub.pid))
            else:
                time.sleep(0.001)  # the pace of an open loop, no wait for anything
        took = time.monotonic() - began
        goodput = (offering.outcomes["acknowledged"] - before) / took
        over = time.monotonic()
        eventually(lambda: offering.under_way == 0, 60)

        def served() -> bool:
            began = time.monotonic()
            return all(offering.offer().exception() is None for _ in range(5)) and time.monotonic() - began < 2.0

        eventually(served, 60)
        normal = time.monotonic() - over
        after = closed_loop(offering, 2.0, 8)
        limits = hub.status()["limits"]
        caller.close()
        assert hub.stop() == 0
        counted = Counter(fact.id.hex() for _, fact in log_in(hub.store))
        lost = sum(not counted[id_] for id_ in offering.acknowledged)
        doubled = sum(count > 1 for count in counted.values())
        trial.report(
            lasted_s=seconds, peak_facts_s=round(peak * BATCH), offered_times=round(offered / took / peak, 1),
            goodput_percent=round(100 * goodput / peak), normal_after_s=round(normal, 1),
            after_percent=round(100 * after / peak), outcomes=str(dict(offering.outcomes)),
            refused=str(limits["refused"]), abandoned=limits["abandoned"],
            hub_growth_mb=round((most - memory) / 1e6, 1),
            acknowledged=len(offering.acknowledged), lost=lost, doubled=doubled,
        )  # fmt: skip
        assert (lost, doubled) == (0, 0)
        # UNAVAILABLE: the connection has more calls than it may, which gRPC refuses before anything is read of them.
        assert set(offering.outcomes) <= {"acknowledged", "OVERLOADED", "DEADLINE_EXCEEDED", "CANCELLED", "UNAVAILABLE"}
        assert goodput > 0
        assert after > 0
        assert all(hint > 0 for hint in offering.hints)
        assert most - memory < 1e9
