"""The verdict on a soak, by what was measured so far: also while it still runs.

Owns reading the file of measurements and what is asked of them (F21): memory by hour, threads and descriptors.
"""

from __future__ import annotations

import json
import statistics
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from statistics import median_high
from typing import Final

from .pulse import Pulse, Slope, slope

WARM: Final = 0.25
"""The first part of a soak, in which caches fill; nothing of it is judged."""
WARM_MOST: Final = 1200.0
"""Seconds of that at most."""
GROWTH: Final = 1_000_000
"""Bytes an hour that a process may grow by."""
JUDGED_FROM: Final = 3600.0
"""Seconds of measuring from which on the slope of memory counts; before, a page more or less is megabytes an hour."""


@dataclass(frozen=True)
class Finding:
    """One process.

    Attributes:
        name: of the process.
        memory: bytes an hour.
        first, last: bytes of the first and last tenth, medians.
        threads, descriptors: of the first and of the last third; the most threads, and descriptors as they mostly are,
            as a copy of the store has some of its own for a moment.
        judged: whether it was long enough for the slope to count.
    """

    name: str
    memory: Slope
    first: int
    last: int
    threads: tuple[int, int]
    descriptors: tuple[int, int]
    judged: bool

    @property
    def faults(self) -> list[str]:
        """What is wrong with it."""
        found = []
        if self.judged and self.memory.median > GROWTH:
            found.append(f"{self.name}: memory grows by {self.memory.median / 1e6:.2f} MB an hour")
        for what, (before, after) in (("threads", self.threads), ("descriptors", self.descriptors)):
            if after > before + 2:
                found.append(f"{self.name}: {before} {what} at first, {after} at last")
        return found


def read(path: Path) -> dict[str, list[Pulse]]:
    """Measurements by process; a last line that is being written says nothing."""
    found: dict[str, list[Pulse]] = defaultdict(list)
    for line in path.read_text(encoding="utf-8").splitlines(keepends=True):
        if line.endswith("\n"):
            told = json.loads(line)
            if "process" in told:
                name = told.pop("process")
                found[name].append(Pulse(**told))
    return dict(found)


def findings(pulses: dict[str, list[Pulse]]) -> list[Finding]:
    """What is to be said of each process."""
    return [_finding(name, of) for name, of in pulses.items()]


def _finding(name: str, pulses: list[Pulse]) -> Finding:
    end = pulses[-1].at
    warm = [each for each in pulses if each.at >= min(WARM * end, WARM_MOST)]
    third, tenth = max(1, len(warm) // 3), max(1, len(warm) // 10)
    early, late = warm[:third], warm[-third:]
    memory = slope([(each.at, each.memory) for each in warm])
    first, last = (int(statistics.median(each.memory for each in part)) for part in (warm[:tenth], warm[-tenth:]))
    return Finding(
        name, memory, first, last,
        (max(each.threads for each in early), max(each.threads for each in late)),
        (median_high(each.descriptors for each in early), median_high(each.descriptors for each in late)),
        warm[-1].at - warm[0].at >= JUDGED_FROM,
    )  # fmt: skip


def text(found: Finding) -> str:
    """For people."""
    memory = found.memory
    grown = f"{memory.median / 1e6:+.2f} MB an hour ({memory.low / 1e6:+.2f} to {memory.high / 1e6:+.2f})"
    held = "threads {} -> {}, descriptors {} -> {}".format(*found.threads, *found.descriptors)
    judged = "" if found.judged else ", too short to be judged"
    return f"{found.name:8} {found.first / 1e6:7.1f} -> {found.last / 1e6:.1f} MB, {grown}{judged}; {held}"
