"""What a benchmark says of itself while it runs: where it is, heard by whoever started it.

Owns one listener. Knows nothing of benchmarks, nor of how it is shown; where nobody listens, nothing is said.
"""

from __future__ import annotations

from collections.abc import Callable

_LISTENER: list[Callable[[str], None]] = []


def listen(listener: Callable[[str], None]) -> None:
    """Whoever is to hear steps from now on, in this process."""
    _LISTENER[:] = [listener]


def step(text: str) -> None:
    """Says what comes next, as in `round 2 of 5: ours`. Never inside what is timed."""
    for listener in _LISTENER:
        listener(text)
