"""The run of an import: batches in flight, acknowledged in order, resumable at any point.

Owns the progress file beside the input, retries while the hub is away, and the rejects file. Nothing is counted as
done before the hub has acknowledged it.
"""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

import grpc
from segue.domain.fact import Fact
from segue.v1 import event_service_pb2 as pb
from segue.wire import fact_to_wire

from .mapping import Mapper, Reject, Tally
from .reader import BrokenRow, Row

BATCH: Final = 500
IN_FLIGHT: Final = 4
_AWAY: Final = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.DEADLINE_EXCEEDED)


class HubAway(Exception):
    """The hub did not come back in time; the import can be resumed."""


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
        progress_file: remembers how many rows are done, by mapping and file.
        rejects: where rejects are written, a JSON object a line.
        patience: seconds to wait for a hub that is away.
        key: names mapping and file; a progress file of another key is ignored.
    """

    def __init__(
        self, mapper: Mapper, publish: Any, progress_file: Path, rejects: IO[str], patience: float, key: str
    ) -> None:
        self._mapper = mapper
        self._publish = publish
        self._progress_file = progress_file
        self._rejects = rejects
        self._patience = patience
        self._key = key
        self._in_flight: deque[_Sent] = deque()
        self.tally = Tally()
        self.away_s = 0.0

    def done_before(self) -> int:
        """Rows that an earlier run finished."""
        try:
            found = json.loads(self._progress_file.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return 0
        return int(found["rows"]) if found.get("key") == self._key else 0

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
            tally.rows += 1
            outcome = self._mapper.outcome(number, row)
            if outcome.reject is not None:
                self._reject(outcome.reject)
            elif outcome.skipped:
                tally.skipped[outcome.skipped] += 1
            else:
                tally.kept += 1
                tally.facts += len(outcome.facts)
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

    def _reject(self, reject: Reject) -> None:
        self.tally.rejected[reject.reason] += 1
        line = {"row": reject.row, "reason": reject.reason, "cure": reject.cure}
        self._rejects.write(json.dumps(line, ensure_ascii=False) + "\n")

    def _send(self, facts: list[tuple[int, Fact]], rows: int) -> None:
        for start in range(0, max(1, len(facts)), BATCH):
            part = facts[start : start + BATCH]
            request = pb.PublishEventsRequest(facts=[fact_to_wire(fact) for _, fact in part])
            self._in_flight.append(_Sent(part, request, self._publish.future(request, timeout=60), rows))
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
                self.away_s += wait
                wait = min(wait * 2, 2.0)
                sent.call = self._publish.future(sent.request, timeout=60)
        for (row, fact), result in zip(sent.facts, response.results, strict=True):
            status = pb.FactStatus.Name(result.status).removeprefix("FACT_STATUS_")
            self.tally.results[status] += 1
            if status == "REJECTED":
                self._reject(Reject(row, f"{fact.type}: {result.reason}", f"[{result.code}]"))
        self._rejects.flush()
        if not self._in_flight or self._in_flight[0].rows != sent.rows:
            self._remember(sent.rows)

    def _remember(self, rows: int) -> None:
        fresh = self._progress_file.with_name(self._progress_file.name + ".new")
        fresh.write_text(json.dumps({"key": self._key, "rows": rows}), encoding="utf-8")
        fresh.replace(self._progress_file)

    def forget(self) -> None:
        """The import is complete: the progress file goes."""
        self._progress_file.unlink(missing_ok=True)
