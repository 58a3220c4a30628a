"""Backoff: how long to wait before the hub is asked again.

Owns full jitter, and when a stream that ended is opened anew. Counts in seconds that it is told; asks no clock.
"""

from __future__ import annotations

import random
from typing import Final

HEALTHY: Final = 30.0
"""Seconds after which a stream has been a good one: the next failure is the first."""


def jitter(failures: int) -> float:
    """Full jitter: up to min(30 s, 0.25 * 2^n)."""
    return random.uniform(0.0, min(30.0, 0.25 * 2 ** min(failures, 10)))  # noqa: S311  # spreads load, no secret


class Reconnection:
    """When the next stream is opened, by how the ones before it went."""

    def __init__(self) -> None:
        self._failures = 0

    def pause(self, lasted: float, answered: bool, asked_for: float = 0.0) -> float:
        """Seconds until the next one.

        Args:
            lasted: seconds that the last one did.
            answered: whether the hub said anything on it.
            asked_for: seconds that the hub asked for as it said goodbye; 0 where it did not.
        """
        if asked_for:
            self._failures = 0
            return asked_for
        if lasted > HEALTHY:
            self._failures = 0
        # A stream that had answered is tried again at once, the first time.
        wait = 0.0 if answered and self._failures == 0 else jitter(self._failures)
        self._failures += 1
        return wait
