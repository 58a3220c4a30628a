"""The run of an import: batches in flight, acknowledged in order, resumable at any point.

Owns what is in flight, retries while the hub is away, and what is written of rejects. Nothing is counted as
done before the hub has acknowledged it.
"""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from queue import SimpleQueue
from typing import IO, Any, Final

import grpc
from segue.domain.fact import Fact
from segue.v1 import event_service_pb2 as pb
from segue.v1 import sync_pb2
from segue.wire import fact_to_wire

from .mapping import Mapper, Reject, Tally
from .progress import Progress
from .reader import BrokenRow, Row

BATCH: Final = 500
"""Facts per request, and up to those of one row more."""
IN_FLIGHT: Final = 4
_AWAY: Final = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.DEADLINE_EXCEEDED)


class HubAway(Exception):
    """The hub did not come back in time; the import can be resumed."""


class StoreReplaced(Exception):
    """The hub has another store than when the import began: what that one took is not in this one."""


def incarnation_of(sync: Any, patience: float) -> str:
    """Which store a hub has, as its welcome says to everybody with a key.

    Args:
        sync: the stub's Sync.
        patience: seconds to wait for a hub that is away.

    Raises:
        HubAway: it did not come in time.
    """
    began, wait = time.monotonic(), 0.1
    while True:
        said: SimpleQueue[Any] = SimpleQueue()
        said.put(sync_pb2.SyncRequest(seq=1, hello=sync_pb2.Hello(instance="import", sdk="segue-hub import")))
        call = sync(iter(said.get, None), timeout=60)
        try:
            return str(next(iter(call)).welcome.incarnation)
        except StopIteration:
            why = "it ended the conversation"
        except grpc.RpcError as error:
            if error.code() not in _AWAY:
                raise
            why = f"{error.code().name}: {error.details()}"
        finally:
            said.put(None)
            call.cancel()
        if time.monotonic() - began > patience:
            raise HubAway(why)
        time.sleep(wait)
        wait = min(wait * 2, 2.0)


@dataclass(slots=True)
class _Sent:
    facts: list[tuple[int, Fact]]
    request: Any
    call: Any
    rows: int


class Import:
    """One import.

    Args:
        mapper: rows to facts.
        publish: the stub's PublishEvents.
        progress: remembers how many rows are done.
        rejects: where rejects are written, a JSON object a line.
        patience: seconds to wait for a hub that is away.
    """

    def __init__(self, mapper: Mapper, publish: Any, progress: Progress, rejects: IO[str], patience: float) -> None:
        self._mapper = mapper
        self._publish = publish
        self._progress = progress
        self._rejects = rejects
        self._patience = patience
        self._in_flight: deque[_Sent] = deque()
        self._last_refused = 0
        self.tally = Tally()

    def run(self, rows: Iterator[tuple[int, Row | BrokenRow]], skip: int, told: Callable[[Tally], None]) -> Tally:
        """Imports all rows after the first `skip`.

        Raises:
            HubAway: the hub did not come back; progress is kept.
        """
        tally, waiting = self.tally, []
        last = skip
        for number, row in rows:
            if number <= skip:
                continue
            last = number
            outcome = self._mapper.outcome(number, row)
            tally.count(outcome)
            if outcome.reject is not None:
                self._write(outcome.reject)
            waiting += [(number, fact) for fact in outcome.facts]
            if len(waiting) >= BATCH:
                self._send(waiting, number)
                waiting = []
                told(tally)
        self._send(waiting, last)
        while self._in_flight:
            self._settle()
        told(tally)
        return tally

    def _write(self, reject: Reject) -> None:
        line = {"row": reject.row, "reason": reject.reason, "cure": reject.cure}
        self._rejects.write(json.dumps(line, ensure_ascii=False) + "\n")

    def _send(self, facts: list[tuple[int, Fact]], rows: int) -> None:
        request = pb.PublishEventsRequest(facts=[fact_to_wire(fact) for _, fact in facts])
        self._in_flight.append(_Sent(facts, request, self._publish.future(request, timeout=60), rows))
        while len(self._in_flight) >= IN_FLIGHT:
            self._settle()

    def _settle(self) -> None:
        """Waits for the oldest batch; sends it again while the hub is away."""
        sent = self._in_flight.popleft()
        began, wait = time.monotonic(), 0.1
        while True:
            try:
                response = sent.call.result()
                break
            except grpc.RpcError as error:
                if error.code() not in _AWAY:
                    raise
                if time.monotonic() - began > self._patience:
                    raise HubAway(f"{error.code().name}: {error.details()}") from None
                time.sleep(wait)
                wait = min(wait * 2, 2.0)
                sent.call = self._publish.future(sent.request, timeout=60)
        for (row, fact), result in zip(sent.facts, response.results, strict=True):
            status = pb.FactStatus.Name(result.status).removeprefix("FACT_STATUS_")
            self.tally.results[status] += 1
            if status == "REJECTED":
                self._refused(Reject(row, f"{fact.type}: {result.reason}", f"[{result.code}]"))
        self._rejects.flush()
        self._progress.remember(sent.rows)

    def _refused(self, reject: Reject) -> None:
        """A fact that the hub did not take: its row is not kept but rejected, once, by the first reason."""
        self._write(reject)
        if reject.row != self._last_refused:  # rows are settled in their order
            self._last_refused = reject.row
            self.tally.kept -= 1
            self.tally.reject(reject)
