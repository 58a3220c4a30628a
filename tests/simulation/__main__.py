"""`python -m tests.simulation --seeds 20000 --from 1`: as many histories as there is time for.

Owns the command. Each seed is one history; the first lines of what is wrong with one are printed with the command that
replays it, and `--trace` prints all that happened in it.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from itertools import repeat
from typing import Final

import structlog

from tests.simulation.controls import KINDS
from tests.simulation.world import Report, simulate

STEP: Final = 200
"""Histories between two lines that say how far it is."""


def replay(seed: int, kind: str = "") -> str:
    """The one command that plays a seed again."""
    more = f" --kind {kind}" if kind else ""
    return f"python -m tests.simulation --seeds 1 --from {seed}{more} --trace"


def one(seed: int, kind: str = "") -> Report:
    """One history, without the hub's own log."""
    before = structlog.get_config()["wrapper_class"]
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    try:
        return simulate(seed, **KINDS.get(kind, {}))
    finally:
        structlog.configure(wrapper_class=before)


def main(arguments: list[str] | None = None) -> int:
    """Runs seeds; returns how many of them went wrong, at most 1."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description="The real hub and SDK, simulated.")
    parser.add_argument("--seeds", type=int, default=200, help="how many histories")
    parser.add_argument("--from", dest="first", type=int, default=1, help="the first seed")
    parser.add_argument("--workers", type=int, default=min(2, os.cpu_count() or 1), help="processes")
    parser.add_argument("--kind", choices=sorted(KINDS), default="", help="years, or something broken on purpose")
    parser.add_argument("--trace", action="store_true", help="print all that happened")
    asked = parser.parse_args(arguments)
    counts: Counter[str] = Counter()
    began, wrong = time.monotonic(), 0
    seeds = range(asked.first, asked.first + asked.seeds)
    with ProcessPoolExecutor(max(1, min(asked.workers, asked.seeds))) as pool:
        for report in pool.map(one, seeds, repeat(asked.kind), chunksize=1):
            counts.update(report.counts)
            if asked.trace:
                print("\n".join(report.trace), flush=True)
            if asked.trace or report.wrong:
                print(f"seed {report.seed}: trace {report.digest}, {len(report.wrong)} anomalies")
            if report.wrong:
                wrong += 1
                print("  " + "\n  ".join(report.wrong[:5]))
                print(f"  replay: {replay(report.seed, asked.kind)}", flush=True)
            done = report.seed - asked.first + 1
            if done % STEP == 0:  # who ends it early knows what was tried
                print(f"{done} histories in {time.monotonic() - began:.0f} s, {wrong} with anomalies", flush=True)
    told = ", ".join(f"{count} {name}" for name, count in sorted(counts.items()))
    print(f"{asked.seeds} histories in {time.monotonic() - began:.0f} s, {wrong} with anomalies; {told}")
    return min(wrong, 1)


if __name__ == "__main__":
    sys.exit(main())
