"""Waiting for something to become true, without sleeping for a guessed while.

Owns `eventually`. A wait ends the moment its condition holds; one that never does fails with what was last seen.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

Seen = TypeVar("Seen")

_PAUSE = 0.005


def eventually(condition: Callable[[], Seen], timeout: float = 10.0) -> Seen:
    """The first truthy value of a condition.

    Args:
        condition: asked again and again; without effects.
        timeout: seconds.

    Raises:
        AssertionError: it did not hold in time; names what it gave last.
    """
    deadline = time.monotonic() + timeout
    while True:
        seen = condition()
        if seen:
            return seen
        if time.monotonic() >= deadline:
            raise AssertionError(f"not within {timeout:g} s; seen last: {seen!r}")
        time.sleep(_PAUSE)
