"""The SDK's clock and ids: the only place that asks what time it is, or for chance.

Owns microseconds since 1970 and UUIDv7 ids that rise within a process.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock
from typing import Final


def now() -> int:
    """Our own clock, in microseconds."""
    return time.time_ns() // 1000


@dataclass(frozen=True, slots=True)
class System:
    """What the operating system gives a process: time and chance.

    Attributes:
        now: our own clock, microseconds since 1970; it may be set.
        ticks: seconds since any instant; they only rise.
        chance: so many random bytes.
    """

    now: Callable[[], int] = now
    ticks: Callable[[], float] = time.monotonic
    chance: Callable[[int], bytes] = os.urandom


SYSTEM: Final = System()


class FactIds:
    """Makes ids: UUIDv7, rising, also within a millisecond and when the clock steps back (FA3)."""

    def __init__(self, system: System = SYSTEM) -> None:
        self._system = system
        self._lock = Lock()
        self._last = 0

    def next(self) -> bytes:
        """The next id: 48 bits of milliseconds, 12 of a counter, 62 of chance."""
        with self._lock:
            ordinal = max((self._system.now() // 1000) << 12, self._last + 1)
            self._last = ordinal
        millis, counter = ordinal >> 12, ordinal & 0xFFF
        tail = bytearray(self._system.chance(8))
        tail[0] = 0x80 | (tail[0] & 0x3F)
        return millis.to_bytes(6, "big") + bytes((0x70 | counter >> 8, counter & 0xFF)) + bytes(tail)
