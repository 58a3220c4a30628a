"""Listening: hosts that watch audiences by a cursor are told on a thread of their own, in order, until they have heard.

Owns that thread, which there is only where such a watch is, and the trying again: a listener that raises is told the
same again, a little later each time, and no other one waits for it. What was not heard is not acknowledged.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

from .domain.telling import Telling

log = logging.getLogger("segue")
Mark = tuple[int, int]
"""Names the end of a part: in which history, and the number."""

FIRST: Final = 0.25
LONGEST: Final = 30.0
"""Seconds until a listener that raised is told again: first, and at most."""


class Listening:
    """One listener, and what it is still to hear.

    Args:
        tell: the host's.
        name: for the log.

    Attributes:
        heard: called with a mark when everything through it was heard.
    """

    def __init__(self, tell: Callable[[list[Telling]], object], name: str) -> None:
        self.tell = tell
        self.heard: Callable[[Mark], None] = lambda _: None
        self.name = name
        self.parts: deque[tuple[Sequence[Telling], Mark]] = deque()
        self.failures = 0
        self.not_before = 0.0


class Listeners:
    """All of one process."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._listeners: list[Listening] = []
        self._thread: threading.Thread | None = None
        self._closing = False

    def add(self, listening: Listening) -> None:
        """Somebody listens from now on."""
        with self._changed:
            self._listeners.append(listening)
            if self._thread is None and not self._closing:
                self._thread = threading.Thread(target=self._run, name="segue-listeners", daemon=True)
                self._thread.start()

    def put(self, listening: Listening, tellings: Sequence[Telling], mark: Mark) -> None:
        """There is something to hear; returns at once."""
        with self._changed:
            listening.parts.append((tellings, mark))
            self._changed.notify()

    def _run(self) -> None:
        while True:
            with self._changed:
                listening = self._next()
                if listening is None:
                    return
                tellings, mark = listening.parts[0]
            try:
                listening.tell(list(tellings))
            except Exception:  # the host's own code: said, and told again
                listening.failures += 1
                wait = min(LONGEST, FIRST * 2 ** (listening.failures - 1))
                listening.not_before = time.monotonic() + wait
                log.exception("segue: the listener of %s failed and is told again in %g s", listening.name, wait)
                continue
            listening.failures = 0
            listening.parts.popleft()
            try:
                listening.heard(mark)
            except Exception:  # it was heard: said, and acknowledged with the next or when the stream is opened anew
                log.exception("segue: what %s heard cannot be acknowledged now", listening.name)

    def _next(self) -> Listening | None:
        """The next one to be told, waited for; None at the end. Called while holding the lock."""
        while not self._closing:
            now = time.monotonic()
            waiting = [listening for listening in self._listeners if listening.parts]
            ready = [listening for listening in waiting if listening.not_before <= now]
            if ready:
                # Whoever was told goes to the end: none waits for another one's backlog.
                self._listeners.remove(ready[0])
                self._listeners.append(ready[0])
                return ready[0]
            self._changed.wait(min((w.not_before for w in waiting), default=now + LONGEST) - now)
        return None

    def close(self, timeout: float) -> bool:
        """Tells nobody any more; waits for one who is being told, `timeout` seconds at most.

        Returns:
            Whether anybody listened.
        """
        with self._changed:
            self._closing = True
            self._changed.notify()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(timeout)
        return self._thread is not None
