"""`python -m benchmarks [p1|p3|p5|p9|p10|p11|reserve] [--quick] [--json]`: runs benchmarks and prints both sides."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from . import p1, p3, p5, p9, p10, p11, reserve
from .measure import Report, Series

NAMES = ("p1", "p3", "p5", "p9", "p10", "p11", "reserve")


def machine() -> dict[str, Any]:
    """What it runs on."""
    cpu = ""
    info = Path("/proc/cpuinfo")
    if info.is_file():
        names = [line.partition(":")[2].strip() for line in info.read_text().splitlines() if "model name" in line]
        cpu = names[0] if names else ""
    load = os.getloadavg()
    return {
        "cpu": cpu, "cores": os.cpu_count(), "kernel": platform.release(), "python": platform.python_version(),
        "load_before": round(load[0], 2),
    }  # fmt: skip


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}" if value < 100 else f"{value:.1f}"


def _shown(series: Series) -> str:
    return f"{_number(series.median)} ({_number(min(series.values))} to {_number(max(series.values))})"


def _ratio(series: Series) -> str:
    return f"{series.median:.2f}x ({min(series.values):.2f} to {max(series.values):.2f})"


def show(report: Report) -> None:
    """Prints a report for people."""
    print(f"\n{report.id}  {report.title}\n    {report.setup}")
    rows = [("figure", "target", "ours: median (min to max)", "peer", "theirs", "ratio of pairs", "")]
    for line in report.lines:
        peer = _shown(line.peer) if line.peer else ""
        ratio = _ratio(line.ratio) if line.ratio else ""
        rows.append((line.figure, line.target, _shown(line.ours), line.peer_name, peer, ratio, line.verdict))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        print("    " + "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())
    for text in report.verified:
        print(f"    verified: {text}")
    for text in report.skipped:
        print(f"    SKIPPED: {text}")
    for name, value in report.notes.items():
        print(f"    {name}: {value}")
    if report.canary is not None:
        spread = max(report.canary.values) / min(report.canary.values)
        drift = "  <- the machine drifted: trust the ratios only" if spread > 1.3 else ""
        print(f"    canary: {_shown(report.canary)} ms of a fixed loop, spread {spread:.2f}x{drift}")


def main() -> int:
    """Runs what was asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("which", nargs="*", choices=[*NAMES, []], help="all where none is named")
    parser.add_argument("--quick", action="store_true", help="smaller and fewer rounds")
    parser.add_argument("--json", action="store_true", help="for machines")
    parser.add_argument("--install-peers", action="store_true", help="install missing Redis or PostgreSQL from Debian")
    asked = parser.parse_args()
    runs: dict[str, Callable[[], Report]] = {
        "p1": lambda: p1.run(quick=asked.quick),
        "p3": lambda: p3.run(quick=asked.quick, install_peers=asked.install_peers),
        "p5": lambda: p5.run(quick=asked.quick),
        "p9": lambda: p9.run(quick=asked.quick),
        "p10": lambda: p10.run(quick=asked.quick),
        "p11": lambda: p11.run(quick=asked.quick),
        "reserve": lambda: reserve.run(quick=asked.quick, install_peers=asked.install_peers),
    }
    about, reports = machine(), []
    if not asked.json:
        print(", ".join(f"{name} {value}" for name, value in about.items()) + (", quick" if asked.quick else ""))
    for name in asked.which or runs:
        report = runs[name]()
        reports.append(report)
        if not asked.json:
            show(report)
            sys.stdout.flush()
    if asked.json:
        print(json.dumps({"machine": about, "quick": asked.quick, "reports": [r.plain() for r in reports]}, indent=2))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
