"""The history of a run: every operation as it was invoked and as it came out.

Owns `History`, one line of JSON each: `invoked`, then `ok` (it is so), `fail` (it is not so) or `info` (nobody knows).
Judges nothing.
"""

from __future__ import annotations

import itertools
import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import grpc

from tests.calling import refusal, retry_after

OK: Final = "ok"
FAIL: Final = "fail"
INFO: Final = "info"
REFUSALS: Final = frozenset(
    {"RESOURCE_EXHAUSTED", "UNAUTHENTICATED", "PERMISSION_DENIED", "INVALID_ARGUMENT", "FAILED_PRECONDITION",
     "NOT_FOUND", "ALREADY_EXISTS"}
)  # fmt: skip
"""Statuses by which a hub says that it did not do it; after any other nobody knows."""


@dataclass
class Operation:
    """One of them.

    Attributes:
        who, what: of the client, and of its operation.
        said: the arguments; `answer` is what came of it.
        began, ended: by the monotonic clock, seconds; the same of all clients of one machine.
        wall: when it ended, by the machine's clock, microseconds.
        pause: seconds that the hub asked for.
    """

    number: int
    who: str
    what: str
    said: dict[str, Any]
    began: float
    ended: float = 0.0
    wall: int = 0
    outcome: str = ""
    code: str = ""
    pause: float = 0.0
    answer: dict[str, Any] = field(default_factory=dict)


class History:
    """All operations of a run; used by every thread of it.

    Args:
        path: where it is written.
    """

    def __init__(self, path: Path) -> None:
        self.operations: list[Operation] = []
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        self._file = path.open("w", encoding="utf-8")

    def _write(self, **line: Any) -> None:
        with self._lock:
            if not self._file.closed:
                self._file.write(json.dumps(line) + "\n")

    @contextmanager
    def operation(self, who: str, what: str, **said: Any) -> Iterator[Operation]:
        """One operation: ok where the block ends, else what the error says; an error of gRPC is not passed on."""
        done = Operation(next(self._numbers), who, what, said, time.monotonic())
        self._write(number=done.number, at=done.began, invoked=what, who=who, said=said)
        try:
            yield done
            done.outcome = done.outcome or OK
        except grpc.RpcError as error:
            status, reason = refusal(error)
            done.code = reason or status
            done.outcome = FAIL if status in REFUSALS else INFO
            done.pause = retry_after(error)
        finally:
            done.ended, done.wall = time.monotonic(), time.time_ns() // 1000
            done.outcome = done.outcome or INFO
            self._write(number=done.number, at=done.ended, outcome=done.outcome, code=done.code, answer=done.answer)
            with self._lock:
                self.operations.append(done)

    def of(self, what: str, outcome: str = "") -> list[Operation]:
        """Those of a sort, in the order in which they ended."""
        with self._lock:
            return [o for o in self.operations if o.what == what and (not outcome or o.outcome == outcome)]

    def counts(self) -> Counter[str]:
        """How many came out how."""
        with self._lock:
            return Counter(o.outcome for o in self.operations)

    def close(self) -> None:
        """Nothing more is written."""
        with self._lock:
            self._file.close()
