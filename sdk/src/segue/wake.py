"""A wake and a latch: how one thread tells others that something is so, at the price of one lock.

Owns both flags. Setting one never waits: `threading.Event` has a lock of its own around its flag, and a host that met
the worker in there had to wait for its turn; it also takes 1.2 KB, which is much for each customer that is held.
"""

from __future__ import annotations

import threading
from typing import Final

REST: Final = 0.002
"""Seconds. A host that tells one fact after another would wake its worker for each: a call of the operating system,
which now and then gives the host's processor to whom it woke."""


class Wake:
    """Set by anybody; waited for by one thread, which takes it back by waking up.

    Who was woken rests a moment before it waits again: what is said meanwhile is found, and wakes nobody.

    Args:
        rest: for how long, in seconds.
    """

    __slots__ = ("_closed", "_hurried", "_rest", "_woken")

    def __init__(self, rest: float = REST) -> None:
        self._closed, self._hurried = threading.Lock(), threading.Lock()
        self._closed.acquire()
        self._hurried.acquire()
        self._rest, self._woken = rest, False

    def set(self) -> None:
        """There is something to do. Costs next to nothing where that was said already."""
        if self._closed.locked():
            try:
                self._closed.release()
            except RuntimeError:  # another thread said so at the same moment
                return

    def hurry(self) -> None:
        """As `set`, where somebody waits for what is done then: no rest before it."""
        self.set()
        if self._hurried.locked():
            try:
                self._hurried.release()
            except RuntimeError:  # as above
                return

    def wait(self, timeout: float) -> bool:
        """Waits until it is set, at most so many seconds, and takes it back; returns whether it was."""
        if self._woken:
            self._hurried.acquire(timeout=self._rest)
        self._woken = self._closed.acquire(timeout=timeout)
        self._hurried.acquire(blocking=False)  # whoever hurried is heard now
        return self._woken


class Latch:
    """Closed until it is set, once and for all; any number of threads may wait for that."""

    __slots__ = ("_closed", "_open")

    def __init__(self) -> None:
        self._closed = threading.Lock()
        self._closed.acquire()
        self._open = False

    def is_set(self) -> bool:
        """Whether it was set."""
        return self._open

    def set(self) -> None:
        """Opens it."""
        if not self._open:
            self._open = True
            self._let_go()

    def wait(self, timeout: float) -> bool:
        """Waits until it is set, at most so many seconds; returns whether it is."""
        if not self._open and self._closed.acquire(timeout=max(0.0, timeout)):
            self._let_go()  # for the next who waits
        return self._open

    def _let_go(self) -> None:
        try:
            self._closed.release()
        except RuntimeError:  # another thread did at the same moment
            return
