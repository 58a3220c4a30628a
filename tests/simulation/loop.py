"""Virtual time: an event loop whose clock jumps to what is due next, and processes in it that can crash.

Owns `VirtualLoop` and `Process`. Nothing waits and nothing asks the machine: what happens in which order is decided by
the scheduled instants alone. A process that crashed does nothing any more, at whichever await it stood; what it left
half done is cleared away once the simulation is over and checked (`bury`).
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine
from contextvars import Context, ContextVar, copy_context
from typing import Any, Final

_PROCESS: ContextVar[Process | None] = ContextVar("process", default=None)
OUTSIDE = Context()
"""Where what belongs to no process is scheduled: the network, the faults."""


class Crashed(BaseException):
    """The process ended in the middle of this."""


class StandsStill(Exception):
    """Nothing is scheduled and somebody waits: a deadlock."""


class Process:
    """Something that runs until it ends or crashes."""

    def __init__(self, loop: VirtualLoop, name: str) -> None:
        self.loop = loop
        self.name = name
        self.alive = True
        self.tasks: list[asyncio.Task[Any]] = []
        self._parked: list[tuple[Callable[..., object], tuple[Any, ...], Context]] = []
        self._context = copy_context()
        self._context.run(_PROCESS.set, self)

    def run(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Calls something as this process; not from within it."""
        return self._context.copy().run(function, *arguments)

    def start(self, coroutine: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Starts something as this process."""
        return self.loop.create_task(coroutine, context=self._context.copy())

    def guarded(self, callback: Callable[..., object]) -> Callable[..., object]:
        """Does nothing once the process crashed."""

        def run(*arguments: Any) -> None:
            if self.alive:
                callback(*arguments)
            else:
                self._parked.append((callback, arguments, copy_context()))

        return run

    def crash(self) -> None:
        """Ends, here and now: nothing of it runs again."""
        self.alive = False

    async def bury(self) -> None:
        """After all is checked: has what it left half done end in an orderly way, so that nothing is left over."""
        self.alive = True
        tasks = [task for task in self.tasks if not task.done()]
        for task in tasks:
            task.cancel()
        parked, self._parked = self._parked, []
        for callback, arguments, context in parked:
            asyncio.BaseEventLoop.call_soon(self.loop, callback, *arguments, context=context)
        if tasks:
            await asyncio.wait(tasks, timeout=60)
        for task in tasks:
            if task.done() and not task.cancelled():
                task.exception()  # looked at: nobody else will
        self.alive = False


SPINS: Final = 100_000
"""Rounds of the loop in one instant at most."""


class VirtualLoop(asyncio.BaseEventLoop):
    """An event loop in virtual time. What is run in an executor takes its time there, one after the other."""

    def __init__(self, chance: random.Random) -> None:
        super().__init__()
        self._ticks = 0.0
        self._rounds = 0
        self._chance = chance
        self._selector = self
        self._busy_until: dict[int, float] = {}
        self.faults: list[str] = []
        self.set_task_factory(self._task)
        self.set_exception_handler(lambda _, context: self.faults.append(str(context)))

    def time(self) -> float:
        """Seconds since the simulation began."""
        return self._ticks

    def select(self, timeout: float | None) -> list[Any]:
        """Instead of waiting for sockets, time passes."""
        if timeout is None:
            raise StandsStill(f"at {self._ticks:.6f} s nothing is scheduled any more")
        self._rounds += 1
        if timeout > 0:
            self._ticks, self._rounds = max(self._ticks, self._scheduled[0].when()), 0
        elif self._rounds > SPINS:
            raise StandsStill(f"at {self._ticks:.6f} s something runs and runs, and no time passes")
        return []

    def _process_events(self, event_list: list[Any]) -> None:
        """There are none."""

    def _write_to_self(self) -> None:
        """Nobody sleeps who would have to be woken."""

    def call_soon(self, callback: Any, *args: Any, context: Context | None = None) -> asyncio.Handle:
        """As any loop, for processes that live."""
        return super().call_soon(self._guarded(callback, context), *args, context=context)

    def call_at(self, when: float, callback: Any, *args: Any, context: Context | None = None) -> asyncio.TimerHandle:
        """As any loop, for processes that live; a wait takes a microsecond at least, or it would never be over."""
        when = max(when, self._ticks + 1e-6) if when > self._ticks else when
        return super().call_at(when, self._guarded(callback, context), *args, context=context)

    @staticmethod
    def _guarded(callback: Any, context: Context | None) -> Any:
        process = _PROCESS.get() if context is None else context.get(_PROCESS)
        return callback if process is None else process.guarded(callback)

    def outside(self, delay: float, callback: Callable[..., object], *arguments: Any) -> asyncio.TimerHandle:
        """Calls later what no crash takes back."""
        return self.call_at(self._ticks + delay, callback, *arguments, context=OUTSIDE.copy())

    @staticmethod
    def _task(loop: Any, coroutine: Any, context: Context | None = None) -> asyncio.Task[Any]:
        task = asyncio.Task(coroutine, loop=loop, context=context)
        process = _PROCESS.get() if context is None else context.get(_PROCESS)
        if process is not None:
            process.tasks.append(task)
            if len(process.tasks) > 400:
                process.tasks = [other for other in process.tasks if not other.done()]
        return task

    def run_in_executor(self, executor: Any, function: Any, *arguments: Any) -> asyncio.Future[Any]:
        """A writer's thread: it begins when the one before has ended, takes a while, and is heard of after that."""
        answer = self.create_future()
        starts = max(self._ticks, self._busy_until.get(id(executor), 0.0)) + self._chance.uniform(0.0001, 0.004)
        ends = self._busy_until[id(executor)] = starts + self._chance.uniform(0.0001, 0.004)

        def work() -> None:
            try:
                result, error = function(*arguments), None
            except Crashed:
                return
            except Exception as raised:  # noqa: BLE001  # carried to whoever waits
                result, error = None, raised
            self.call_at(ends, tell, result, error)

        def tell(result: Any, error: Exception | None) -> None:
            if answer.cancelled():
                return
            if error is None:
                answer.set_result(result)
            else:
                answer.set_exception(error)

        self.call_at(starts, work)
        return answer
