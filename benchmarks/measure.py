"""How things are measured: pairs in turn, medians, and a canary that shows when the machine drifts.

Owns pairing and the arithmetic over rounds. Knows nothing of what is measured.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from . import progress

CANARY_LOOPS: Final = 400_000


def canary() -> float:
    """Milliseconds of a fixed loop in pure Python: what the machine is worth right now."""
    began, total = time.perf_counter(), 0
    for number in range(CANARY_LOOPS):
        total += number & 7
    assert total == sum(range(8)) * CANARY_LOOPS // 8
    return (time.perf_counter() - began) * 1000


@dataclass(frozen=True, slots=True)
class Series:
    """The same figure of several rounds."""

    values: Sequence[float]

    @property
    def median(self) -> float:
        """The middle one."""
        return statistics.median(self.values)

    def plain(self) -> dict[str, float]:
        """For JSON."""
        return {"median": self.median, "min": min(self.values), "max": max(self.values), "rounds": len(self.values)}


def pairs(
    rounds: int, sides: Mapping[str, Callable[[], Mapping[str, float]]]
) -> tuple[dict[str, dict[str, Series]], Series]:
    """Runs all sides in turn, several times over.

    Args:
        rounds: how often.
        sides: by name, a function that does the work once and gives its figures.

    Returns:
        By side and figure the series, and the canary before, between and after.
    """
    found: dict[str, dict[str, list[float]]] = {name: {} for name in sides}
    canaries = [canary()]
    for number in range(rounds):
        for name, run in sides.items():
            progress.step(f"round {number + 1} of {rounds}: {name}")
            for figure, value in run().items():
                found[name].setdefault(figure, []).append(value)
            canaries.append(canary())
    series = {name: {figure: Series(values) for figure, values in figures.items()} for name, figures in found.items()}
    return series, Series(canaries)


def paired_ratio(first: Series, second: Series) -> Series:
    """The ratio of each pair, `first / second`: what drift hits both sides of alike."""
    return Series([a / b for a, b in zip(first.values, second.values, strict=True)])


def percentile(values: Sequence[float], share: float) -> float:
    """The value that this share of all values does not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


@dataclass(slots=True)
class Line:
    """One target, as measured.

    Attributes:
        figure: what is compared, with its unit.
        ours, peer: both sides; `peer` is None where the target is absolute.
        peer_name: who the peer is.
        ratio: of pairs, so that the target reads as `ratio >= needed` or `<= needed`.
        needed: the target; None where the line only informs.
        at_least: whether the ratio must be at least, or at most, `needed`.
    """

    id: str
    figure: str
    ours: Series
    peer: Series | None = None
    peer_name: str = ""
    ratio: Series | None = None
    needed: float | None = None
    at_least: bool = True
    target: str = ""

    @property
    def measured(self) -> float:
        """What the target speaks of."""
        return self.ratio.median if self.ratio is not None else self.ours.median

    @property
    def verdict(self) -> str:
        """PASS or SHORT; empty where the line only informs."""
        if self.needed is None:
            return ""
        good = self.measured >= self.needed if self.at_least else self.measured <= self.needed
        return "PASS" if good else "SHORT"

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "id": self.id, "figure": self.figure, "target": self.target, "ours": self.ours.plain(),
            "peer": self.peer.plain() if self.peer else None, "peer_name": self.peer_name,
            "ratio": self.ratio.plain() if self.ratio else None, "needed": self.needed, "at_least": self.at_least,
            "verdict": self.verdict,
        }  # fmt: skip


@dataclass(slots=True)
class Report:
    """One benchmark, as run."""

    id: str
    title: str
    setup: str
    lines: list[Line] = field(default_factory=list)
    verified: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    canary: Series | None = None
    notes: dict[str, Any] = field(default_factory=dict)

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "id": self.id, "title": self.title, "setup": self.setup, "lines": [line.plain() for line in self.lines],
            "verified": self.verified, "skipped": self.skipped, "notes": self.notes,
            "canary_ms": self.canary.plain() if self.canary else None,
        }  # fmt: skip
