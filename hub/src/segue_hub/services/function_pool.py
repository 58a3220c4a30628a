"""The function pool: teams' functions run beside the event loop, each with a deadline.

Owns a bounded number of threads and the watchdog that names functions which do not come back. A thread cannot be ended:
one that is stuck is counted, and once all are, callers are refused at once instead of waiting. The threads never keep
the process alive.
"""

from __future__ import annotations

import asyncio
import queue
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

import structlog

from .failure import overloaded

log = structlog.get_logger("segue.hub")
T = TypeVar("T")

THREADS: Final = 16
"""Functions that run at once."""
WAITING: Final = 256
"""Calls that wait for a thread."""
LOOKED_EVERY: Final = 1.0
"""Seconds between looks at what is overdue."""
_LIBRARY: Final = str(Path(queue.__file__).parent)
_PLACES: Final = 64
"""Frames looked through for a place outside of this project."""


@dataclass(slots=True, eq=False)
class _Task:
    name: str
    work: Callable[[], Any]
    done: asyncio.Future[Any]
    loop: asyncio.AbstractEventLoop
    due: float
    thread: int = 0
    began: float = 0.0
    told: float = 0.0
    left: bool = field(default=False)


class Overdue(Exception):
    """A function did not answer by its deadline."""


class FunctionPool:
    """Runs functions.

    Args:
        threads: at most so many at once.

    Attributes:
        counts: calls by what became of them: `answered`, `overdue` (no answer in time), `refused` (no thread in time).
    """

    def __init__(self, threads: int = THREADS) -> None:
        self._most = threads
        self._queue: queue.SimpleQueue[_Task | None] = queue.SimpleQueue()
        self._threads = 0
        self._idle = 0
        self._lock = threading.Lock()
        self._running: set[_Task] = set()
        self._waiting = 0
        self._watchdog: asyncio.Task[None] | None = None
        self.counts = {"answered": 0, "overdue": 0, "refused": 0}

    @property
    def overdue(self) -> list[str]:
        """Names of functions that run beyond their deadline now."""
        now = time.monotonic()
        return sorted(task.name for task in list(self._running) if now > task.due)

    async def run(self, name: str, work: Callable[[], T], within: float) -> T:
        """Runs one call; what it raises is raised here.

        Args:
            name: for people.
            work: what is called, on a thread of the pool.
            within: seconds.

        Raises:
            Overdue: it did not answer in time; it may go on, and its answer is thrown away.
            Refusal: OVERLOADED, no thread was free in time.
        """
        if self._waiting >= WAITING or len(self.overdue) >= self._most:
            self.counts["refused"] += 1
            raise overloaded(f"decision: {name} cannot be asked: {self._busy()}", 1000)
        loop = asyncio.get_running_loop()
        task = _Task(name, work, loop.create_future(), loop, time.monotonic() + within)
        self._watch()
        self._give(task)
        try:
            answer: T = await asyncio.wait_for(asyncio.shield(task.done), within)
        except TimeoutError:
            task.left = True
            if task.done.done() and not task.done.cancelled() and task.done.exception() is not None:
                raise  # the function's own
            if not task.began:
                self.counts["refused"] += 1
                raise overloaded(f"decision: {name} cannot be asked: {self._busy()}", 1000) from None
            self.counts["overdue"] += 1
            raise Overdue(f"no answer within {within * 1000:.0f} ms") from None
        except asyncio.CancelledError:
            task.left = True
            raise
        self.counts["answered"] += 1
        return answer

    def _busy(self) -> str:
        stuck = self.overdue
        return f"all {self._most} threads are busy" + (f", overdue: {', '.join(sorted(set(stuck)))}" if stuck else "")

    def _give(self, task: _Task) -> None:
        with self._lock:
            self._waiting += 1
            more = self._idle < self._waiting and self._threads < self._most
            self._threads += more
        if more:
            threading.Thread(target=self._work, name="segue-decision", daemon=True).start()
        self._queue.put(task)

    def _work(self) -> None:
        while True:
            with self._lock:
                self._idle += 1
            task = self._queue.get()
            with self._lock:
                self._idle -= 1
                self._waiting -= task is not None
            if task is None:
                return
            if task.left:
                continue
            task.began, task.thread = time.monotonic(), threading.get_ident()
            self._running.add(task)
            answer, error = None, None
            try:
                answer = task.work()
            except BaseException as raised:  # noqa: BLE001  # the team's own code: carried to whoever asked
                error = raised
            self._running.discard(task)
            with suppress(RuntimeError):  # the loop has ended meanwhile, and with it whoever asked
                task.loop.call_soon_threadsafe(_tell, task, answer, error)

    # -- the watchdog --------------------------------------------------------------------------------------------------

    def _watch(self) -> None:
        if self._watchdog is None or self._watchdog.done():
            self._watchdog = asyncio.create_task(self._look(), name="decisions")

    async def _look(self) -> None:
        while True:
            await asyncio.sleep(LOOKED_EVERY)
            self.look()
            if not self._running and not self._waiting:
                return

    def look(self) -> None:
        """Says which functions are overdue, and where they are: at once, and then less and less often."""
        now = time.monotonic()
        frames = sys._current_frames()
        for task in list(self._running):
            if now > max(task.due, task.told):
                task.told = now + max(LOOKED_EVERY, now - task.began)
                log.warning(
                    "a decision function does not come back", decision=task.name,
                    running_s=round(now - task.began, 1), at=_place(frames.get(task.thread)),
                )  # fmt: skip

    async def close(self) -> None:
        """Lets go of idle threads; a stuck one ends with the process."""
        if self._watchdog is not None:
            self._watchdog.cancel()
            await asyncio.gather(self._watchdog, return_exceptions=True)
        for _ in range(self._threads):
            self._queue.put(None)


def _tell(task: _Task, answer: Any, error: BaseException | None) -> None:
    if task.done.done() or task.left:
        return
    if error is None:
        task.done.set_result(answer)
    elif isinstance(error, Exception):
        task.done.set_exception(error)
    else:
        task.done.set_exception(RuntimeError(f"{type(error).__name__} in the function"))


def _place(frame: Any) -> str:
    """Where a thread is, as file and line: the innermost place outside of Python's own library."""
    for _ in range(_PLACES):
        if frame is None:
            break
        code = frame.f_code
        if not code.co_filename.startswith((_LIBRARY, "<")):
            return f"{code.co_qualname}, {Path(code.co_filename).name}:{frame.f_lineno}"
        frame = frame.f_back
    return ""
