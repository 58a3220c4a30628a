"""The hub's clock: the only place that asks what time it is.

Owns microseconds since 1970. Never runs backwards within a process.
"""

from __future__ import annotations

import time


class SystemClock:
    """The machine's clock, held monotone."""

    def __init__(self) -> None:
        self._last = 0

    def __call__(self) -> int:
        """Now, in microseconds."""
        self._last = max(self._last, time.time_ns() // 1000)
        return self._last
