"""The SDK's clock and ids: the only place that asks what time it is, or for chance.

Owns microseconds since 1970 and UUIDv7 ids that rise within a process.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import blake2b
from struct import Struct
from threading import RLock
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
_TAILS: Final = Struct(">8Q")
_ID: Final = Struct(">QQ").pack
_VERSION: Final = 0x7000
_SPENT: Final = 0xFFF
"""The counter of a millisecond, beside the version: what follows is the next millisecond's first."""
_CHANCE: Final = int.from_bytes(((1 << 62) - 1).to_bytes(8, "big") * 8, "big")
_VARIANT: Final = int.from_bytes((1 << 63).to_bytes(8, "big") * 8, "big")
"""Of all tails that are drawn at once."""


class FactIds:
    """Makes ids: UUIDv7, rising, also within a millisecond and when the clock steps back (FA3).

    Chance is asked for once, as a key; what follows is drawn from it by BLAKE2b, which nobody can guess who does not
    have the key. Asking the operating system each time lets go of the interpreter, and a host's thread then waits until
    our own give it back. A forked child makes its own (`Runtime`), with a key of its own.
    """

    def __init__(self, system: System = SYSTEM) -> None:
        self._now = system.now
        # Reentrant: a host's signal handler may tell a fact while the same thread is telling one.
        self._lock = RLock()
        self._last = 0
        self._key = system.chance(32)
        self._drawn = 0
        self._tails: list[int] = []

    def next(self, now: int = 0) -> bytes:
        """The next id: 48 bits of milliseconds, 12 of a counter, 62 of chance; `now` where the clock was just read."""
        with self._lock:
            head, last = (now or self._now()) // 1000 << 16 | _VERSION, self._last
            if head <= last:
                head = last + 1 if last & _SPENT != _SPENT else last + (1 << 16) - _SPENT
            self._last = head
            try:
                tail = self._tails.pop()
            except IndexError:
                tail = self._drawn_anew()
        return _ID(head, tail)

    def _drawn_anew(self) -> int:
        """Eight tails of 62 bits of chance each: one is given, the others are kept."""
        self._drawn += 1
        drawn = int.from_bytes(blake2b(self._drawn.to_bytes(8, "big"), key=self._key).digest(), "big")
        first, *others = _TAILS.unpack((drawn & _CHANCE | _VARIANT).to_bytes(64, "big"))
        self._tails += others
        return int(first)
