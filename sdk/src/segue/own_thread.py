"""Threads of our own in somebody else's process.

Owns how they begin and end: signals stay the host's, whose handlers may be C code that is not made for another thread
(two at once, of a terminal or a service manager, ended uWSGI's workers in two threads at the same time, for ever);
where the process may have no more threads nothing is raised, it is said, and tried again.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

AGAIN: Final = 1.0
"""Seconds between tries to begin a thread, where the process may have no more."""
IDLE: Final = 5.0
"""Seconds without a round of work, where there is some, after which that is said."""

log = logging.getLogger("segue")

_OF_THE_CODE: Final = {"SIGSEGV", "SIGBUS", "SIGFPE", "SIGILL", "SIGABRT", "SIGTRAP", "SIGSYS"}
"""What a thread's own code causes is told to that thread."""


class OwnThreads:
    """The threads of a runtime; the first one works in rounds.

    Args:
        ticks: a running time, in seconds.
    """

    def __init__(self, ticks: Callable[[], float]) -> None:
        self._ticks = ticks
        self._begun: list[threading.Thread] = []
        self._to_begin: list[tuple[str, Callable[[], None]]] = []
        self._lock = threading.Lock()
        self._again_at = 0.0
        self._worked = ticks()

    def begin(self, *targets: tuple[str, Callable[[], None]]) -> None:
        """Begins threads, by name."""
        self._to_begin += targets
        self.try_again()

    def try_again(self) -> None:
        """Begins what could not begin yet, not more often than once in a while; costs nothing where all did."""
        if not self._to_begin or self._ticks() < self._again_at:
            return
        if not self._lock.acquire(blocking=False):
            return  # another thread begins them; or this one does, and a signal handler of its host came between
        try:
            self._again_at = self._ticks() + AGAIN
            while self._to_begin:
                name, target = self._to_begin[0]
                thread = threading.Thread(target=_leaving_signals(target), name=name, daemon=True)
                try:
                    thread.start()
                except (RuntimeError, MemoryError) as error:
                    log.warning("segue: %s cannot begin: %s", name, error)
                    return
                self._begun.append(thread)
                del self._to_begin[0]
        finally:
            self._lock.release()

    def worked(self) -> None:
        """The first one has made a round."""
        self._worked = self._ticks()

    @property
    def begun(self) -> bool:
        """Whether any could begin."""
        return bool(self._begun)

    @property
    def works(self) -> bool:
        """Whether the first one has not ended."""
        return any(thread.is_alive() for thread in self._begun[:1])

    def join(self, timeout: float) -> None:
        """Waits for each, so many seconds at most."""
        for thread in self._begun:
            if thread is not threading.current_thread():
                thread.join(timeout)

    def trouble(self, waiting: int) -> str:
        """Why nothing is done of what waits; empty where all is well."""
        if self._to_begin:
            return f"{self._to_begin[0][0]} cannot begin: this process may have no more threads"
        since = self._ticks() - self._worked
        if not waiting or since < IDLE:
            return ""
        return f"segue-worker has done nothing for {since:.0f} s: its disk hangs, or this host lets no thread run"


def room(count: int) -> bool:
    """Whether this process may have so many threads more, now: tried, as nobody can be asked. They end at once."""
    enough, probes = threading.Event(), list[threading.Thread]()
    try:
        for _ in range(count):
            probe = threading.Thread(target=_leaving_signals(lambda: _until(enough)), daemon=True)
            probe.start()
            probes.append(probe)
    except (RuntimeError, MemoryError):
        return False
    finally:
        enough.set()
        for probe in probes:
            probe.join(1.0)
    return True


def _until(enough: threading.Event) -> None:
    enough.wait(1.0)


def _leaving_signals(target: Callable[[], None]) -> Callable[[], None]:
    def work() -> None:
        _leave_signals()
        target()

    return work


def _leave_signals() -> None:
    # Where gevent or eventlet have made threads greenlets, this is the host's own thread: its signals stay with it.
    if sys.platform == "linux" and threading.get_native_id() != os.getpid():
        signal.pthread_sigmask(
            signal.SIG_BLOCK, {one for one in signal.valid_signals() if getattr(one, "name", "") not in _OF_THE_CODE}
        )


@contextmanager
def with_signals() -> Iterator[None]:
    """The host's own code runs in a thread of ours: a process that it starts inherits no signal that is blocked."""
    if sys.platform != "linux" or threading.get_native_id() == os.getpid():
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_SETMASK, [])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
