"""Forks: what a child inherits half done it can never end, as the thread that was at it is not there.

Owns that a fork waits a moment for work of ours which must not be cut in two. SQLite has locks for the whole process
(around its memory, its files): a child forked while one of our threads held one of them would wait for ever in its own
first statement, and what it was told would be gone with it. Knows nothing of what is at work.
"""

from __future__ import annotations

import os
import threading
from collections import Counter
from contextlib import ContextDecorator
from typing import Final

PATIENCE: Final = 0.1
"""Seconds that a fork waits at most: the host's, whatever a disk does. Who waits for a disk holds none of the locks."""


class Unforked(ContextDecorator):
    """A stretch of work, `with unforked:`, or a function, `@unforked`. Any number of threads may be at theirs at once.

    One may be within another; a thread that forks in the midst of its own does not wait for itself.
    """

    def __init__(self) -> None:
        self._renew()
        os.register_at_fork(before=self._wait, after_in_parent=self._go_on, after_in_child=self._renew)

    def _renew(self) -> None:
        self._change = threading.Condition(threading.RLock())
        self._within: Counter[int] = Counter()
        self._forking = 0
        self._stopped: dict[int, list[bool]] = {}

    def __enter__(self) -> None:
        me = threading.get_ident()
        with self._change:
            if self._forking and me not in self._within:  # else the fork would wait for one after the other
                self._change.wait_for(lambda: not self._forking, PATIENCE)
            self._within[me] += 1

    def __exit__(self, *error: object) -> None:
        me = threading.get_ident()
        with self._change:
            self._within[me] -= 1
            if self._within[me] <= 0:
                self._within.pop(me, None)  # a signal handler may have come between, and done so
                self._change.notify_all()

    def _wait(self) -> None:
        me = threading.get_ident()
        taken = self._change.acquire(timeout=PATIENCE)
        self._stopped.setdefault(me, []).append(taken)  # two threads may fork at once, of which one got no lock
        if taken:  # and kept while the process forks
            self._forking += 1
            self._change.wait_for(lambda: self._within.keys() <= {me}, PATIENCE)

    def _go_on(self) -> None:
        me = threading.get_ident()
        taken = self._stopped[me].pop()
        if not self._stopped[me]:
            del self._stopped[me]
        if taken:
            self._forking -= 1
            self._change.notify_all()
            self._change.release()


unforked: Final = Unforked()
"""The process has one."""
