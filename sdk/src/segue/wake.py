"""A wake: how a host's thread tells the worker that there is something to do.

Owns one flag that any thread may set and one thread waits for. Setting never waits: `threading.Event` has
a lock of its own around its flag, and a host that met the worker in there had to wait for its turn.
"""

from __future__ import annotations

import threading


class Wake:
    """Set by anybody; waited for by one thread, which takes it back by waking up."""

    __slots__ = ("_closed",)

    def __init__(self) -> None:
        self._closed = threading.Lock()
        self._closed.acquire()

    def set(self) -> None:
        """There is something to do. Costs next to nothing where that was said already."""
        if self._closed.locked():
            try:
                self._closed.release()
            except RuntimeError:  # another thread said so at the same moment
                return

    def wait(self, timeout: float) -> bool:
        """Waits until it is set, at most so many seconds, and takes it back; returns whether it was."""
        return self._closed.acquire(timeout=timeout)
