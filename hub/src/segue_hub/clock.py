"""The hub's clock: the only place that asks what time it is.

Owns microseconds since 1970. Within a process it never runs backwards and never stands still: where the machine's clock
is set back, the hub's goes on a little slower until that one is there again, so that what is due in a minute is due in
little more than a minute. Set forward, it follows at once.
"""

from __future__ import annotations

import threading
import time
from typing import Final

SLEW: Final = 0.9
"""Seconds of the hub's clock in a second, while it is ahead of the machine's."""


class SystemClock:
    """The machine's clock, held monotone."""

    def __init__(self) -> None:
        self._last = 0
        self._ticks = time.monotonic_ns()
        self._lock = threading.Lock()

    def __call__(self) -> int:
        """Now, in microseconds."""
        with self._lock:  # the writer's thread asks too
            wall, ticks = time.time_ns() // 1000, time.monotonic_ns()
            self._last = max(wall, self._last + int((ticks - self._ticks) * SLEW / 1000))
            self._ticks = ticks
            return self._last
