"""The pulse of a process: what it holds of memory, threads and descriptors, as the kernel tells it.

Owns `Pulse` and how a list of them is judged: the slope of each by Theil and Sen, robust against a moment's peak.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

POINTS: Final = 400
"""Instants compared with one another at most; of more, medians of as many equal parts."""


@dataclass(frozen=True)
class Pulse:
    """One look at a process.

    Attributes:
        at: seconds since the soak began.
        memory: bytes that no file has (`Pss_Anon`). Its share of pages that files have changes with how many other
            processes have them: by 10 MB and more, where a test or a benchmark begins or ends beside it.
        threads, descriptors: how many.
    """

    at: float
    memory: int
    threads: int
    descriptors: int


def pulse(pid: int, at: float) -> Pulse:
    """Looks at a process."""
    place = Path(f"/proc/{pid}")
    lines = (place / "smaps_rollup").read_text().splitlines()
    memory = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss_Anon:"))
    threads = sum(1 for _ in (place / "task").iterdir())
    return Pulse(at, memory, threads, sum(1 for _ in (place / "fd").iterdir()))


@dataclass(frozen=True)
class Slope:
    """How a figure changes, by hour: the median of the slopes between all pairs, and the middle half of them."""

    median: float
    low: float
    high: float


def slope(points: Sequence[tuple[float, float]]) -> Slope:
    """The slope of (seconds, value) by Theil and Sen.

    Args:
        points: two at least, in time.
    """
    size = max(1, -(-len(points) // POINTS))
    parts = [points[start : start + size] for start in range(0, len(points), size)]
    middles = [(statistics.fmean(at for at, _ in part), statistics.median(v for _, v in part)) for part in parts]
    slopes = [
        (later - value) / (then - at) * 3600
        for number, (at, value) in enumerate(middles)
        for then, later in middles[number + 1 :]
        if then > at
    ]
    low, median, high = statistics.quantiles(slopes, n=4) if len(slopes) > 1 else slopes * 3
    return Slope(median, low, high)
