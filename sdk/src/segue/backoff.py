"""Backoff: how long to wait before the hub is asked again.

Owns full jitter, and when a stream that ended is opened anew. Counts in seconds that it is told; asks no clock.
"""

from __future__ import annotations

import random
from typing import Final

HEALTHY: Final = 30.0
"""Seconds after which a stream has been a good one: the next failure is the first."""


PAUSE_MOST: Final = 60.0
"""Seconds that a hub can ask for; a longer wish is taken for a mistake."""


def jitter(failures: int) -> float:
    """Full jitter: up to min(30 s, 0.25 * 2^n)."""
    return random.uniform(0.0, min(30.0, 0.25 * 2 ** min(failures, 10)))  # noqa: S311  # spreads load, no secret


def pause(failures: int, asked_ms: int = 0) -> float:
    """Seconds until the next try: as long as the hub asks, and a part by chance so that not all come back at once.

    A hub that asks for a pause is alive: what is added stays short, so that it is not left idle when it has room again.
    """
    if asked_ms <= 0:
        return jitter(failures)
    return min(asked_ms / 1000, PAUSE_MOST) + min(jitter(failures), random.uniform(0.0, 5.0))  # noqa: S311


class Reconnection:
    """When the next stream is opened, by how the ones before it went."""

    def __init__(self) -> None:
        self._failures = 0

    def pause(self, lasted: float, answered: bool, goodbye: float = 0.0, asked_ms: int = 0) -> float:
        """Seconds until the next one.

        Args:
            lasted: seconds that the last one did.
            answered: whether the hub said anything on it.
            goodbye: seconds that the hub asked for as it said goodbye; 0 where it did not.
            asked_ms: milliseconds that the hub asked for as it refused; 0 where it did not.
        """
        if goodbye:
            self._failures = 0
            return goodbye
        if lasted > HEALTHY:
            self._failures = 0
        # A stream that had answered is tried again at once, the first time.
        wait = 0.0 if answered and self._failures == 0 and not asked_ms else pause(self._failures, asked_ms)
        self._failures += 1
        return wait
