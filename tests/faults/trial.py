"""A trial: one run of a fault test, with its size, its chance and its figures.

Owns how large a trial is (`SEGUE_FAULTS`: small in `make test`, `ci` in `make faults`, `long` in `make faults-long`;
`SEGUE_SIZE` for one trial alone that shall be of another size) and how long it may take (`within`),
where its chance comes from (`SEGUE_SEED`), and how its figures are told: one line on the terminal and, where
`SEGUE_FAULTS_REPORT` names a file, one line of JSON there; `python -m tests.faults.trial FILE` tells all of it. Knows
nothing of what is tried, and asserts nothing.
"""

from __future__ import annotations

import json
import os
import random
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import pytest


def within(seconds: int) -> pytest.MarkDecorator:
    """How long a trial may take, in seconds; the long size takes as long as it takes."""
    return pytest.mark.timeout(0 if os.environ.get("SEGUE_FAULTS") == "long" else seconds)


class Trial:
    """One run.

    Args:
        name: of the fault, and what it is done to: `F3 hub and outbox`.
        small, ci, long: how much is tried in each size.

    Attributes:
        size: how much is tried now.
        chance: from the seed that was printed.
    """

    def __init__(self, name: str, small: int, ci: int, long: int) -> None:
        self.name = name
        self.scale = os.environ.get("SEGUE_FAULTS") or "small"
        self.size = int(os.environ.get("SEGUE_SIZE") or {"small": small, "ci": ci, "long": long}[self.scale])
        self.seed = int(os.environ.get("SEGUE_SEED") or random.SystemRandom().randrange(1 << 32))
        self.chance = random.Random(self.seed)
        self._began = time.monotonic()
        print(f"SEGUE_SEED={self.seed}", end=" ")

    def report(self, **figures: float | str) -> None:
        """Tells the figures; before they are asserted, so that a failure is told too."""
        took = round(time.monotonic() - self._began, 1)
        line = {"trial": self.name, "scale": self.scale, "seed": self.seed, **figures, "seconds": took}
        print(text(line))
        path = os.environ.get("SEGUE_FAULTS_REPORT")
        if path:
            with Path(path).open("a", encoding="utf-8") as lines:
                lines.write(json.dumps(line) + "\n")


def text(line: Mapping[str, float | str]) -> str:
    """A report for people."""
    figures = ", ".join(
        f"{value} {name.replace('_', ' ')}" for name, value in line.items()
        if name not in ("trial", "scale", "seed", "seconds")
    )  # fmt: skip
    return f"{line['trial']} ({line['scale']}): {figures}; {line['seconds']} s, seed {line['seed']}"


if __name__ == "__main__":
    report = Path(sys.argv[1])
    print(*sorted(text(json.loads(line)) for line in report.read_text(encoding="utf-8").splitlines()), sep="\n")
