"""The hub's clock: the only place that asks what time it is.

Owns microseconds since 1970. Within a process it never runs backwards and never stands still: where the machine's clock
is set back, the hub's goes on a little slower until that one is there again, so that what is due in a minute is due in
little more than a minute. Set forward, it follows at once.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final

SLEW: Final = 0.9
"""Seconds of the hub's clock in a second, while it is ahead of the machine's."""


class SystemClock:
    """The machine's clock, held monotone.

    Args:
        wall: nanoseconds since 1970, which may be set back or forward.
        ticks: nanoseconds since any instant, which may not.
    """

    def __init__(
        self, wall: Callable[[], int] = time.time_ns, ticks: Callable[[], int] = time.monotonic_ns
    ) -> None:  # fmt: skip
        self._wall, self._count = wall, ticks
        self._last = 0
        self._ticks = ticks()
        self._lock = threading.Lock()

    def __call__(self) -> int:
        """Now, in microseconds."""
        with self._lock:  # the writer's thread asks too
            wall, ticks = self._wall(), self._count()
            # In nanoseconds: asked every microsecond while it is behind, it would stand still in whole ones.
            self._last = max(wall, self._last + int((ticks - self._ticks) * SLEW))
            self._ticks = ticks
            return self._last // 1000
