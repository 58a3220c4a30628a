"""An alarm: rings by an instant of the event loop's clock, also where nothing happens.

Owns one timer at a time. What ringing means is told to it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Alarm:
    """Rings once for each instant that it was set to, or sooner.

    Args:
        ring: called then.
    """

    def __init__(self, ring: Callable[[], None]) -> None:
        self._ring = ring
        self._timer: asyncio.TimerHandle | None = None

    def set(self, at: float) -> None:
        """Rings by an instant. One that is set to an earlier one, and did not ring yet, stays so."""
        loop, timer = asyncio.get_running_loop(), self._timer
        if timer is None or not loop.time() < timer.when() <= at:
            self.cancel()
            self._timer = loop.call_at(at, self._ring)

    def cancel(self) -> None:
        """Rings no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
