"""What people see of a run: each report, the summary at its end, and where it is meanwhile.

Owns words and tables on a terminal. Works on the plain form of reports, as a run's JSON has it.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

DRIFTS: Final = 1.3
"""A canary whose slowest is this many times its fastest says that the machine drifted."""
_EVERY: Final = 10.0
"""Seconds between lines of progress where they cannot be written over each other."""
Plain = Mapping[str, Any]


def number(value: float) -> str:
    """Three digits that mean something."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}" if abs(value) < 100 else f"{value:.1f}"


def series(found: Plain) -> str:
    """The median, and what it lies between."""
    return f"{number(found['median'])} ({number(found['min'])} to {number(found['max'])})"


def ratio(found: Plain) -> str:
    """The same for a ratio."""
    return f"{found['median']:.2f}x ({found['min']:.2f} to {found['max']:.2f})"


def measured(line: Plain) -> str:
    """What the target of a line speaks of."""
    return ratio(line["ratio"]) if line["ratio"] else series(line["ours"])


def report(found: Plain) -> str:
    """One benchmark."""
    took = f"  ({found['seconds']:.0f} s)" if "seconds" in found else ""
    text = [f"\n{found['id']}  {found['title']}{took}"] + ([f"    {found['setup']}"] if found["setup"] else [])
    if found["lines"]:
        rows = [("figure", "target", "ours: median (min to max)", "peer", "theirs", "ratio of pairs", "")]
        for line in found["lines"]:
            peer, pairs = series(line["peer"]) if line["peer"] else "", ratio(line["ratio"]) if line["ratio"] else ""
            rows.append(
                (line["figure"], line["target"], series(line["ours"]), line["peer_name"], peer, pairs, line["verdict"])
            )
        text += ["    " + row for row in table(rows)]
    text += [f"    verified: {what}" for what in found["verified"]]
    text += [f"    SKIPPED: {what}" for what in found["skipped"]]
    text += [f"    {name}: {value}" for name, value in found["notes"].items()]
    if found["canary_ms"]:
        drift = "  <- the machine drifted: trust the ratios only" if drifted(found) else ""
        text.append(
            f"    canary: {series(found['canary_ms'])} ms of a fixed loop, spread {canary_spread(found):.2f}x{drift}"
        )
    if found.get("failed"):
        text.append(f"    FAILED: {found['failed']}")
    return "\n".join(text)


def canary_spread(found: Plain) -> float:
    """How many times its fastest the canary's slowest was; 1 where there is none."""
    return found["canary_ms"]["max"] / found["canary_ms"]["min"] if found["canary_ms"] else 1.0


def drifted(found: Plain) -> bool:
    """Whether the machine drifted meanwhile."""
    return canary_spread(found) > DRIFTS


def summary_rows(reports: Sequence[Plain]) -> list[tuple[str, str, str, str, str]]:
    """Each target as id, figure, target, measured and verdict; what failed, and what could not be compared."""
    rows = []
    for found in reports:
        if found.get("failed"):
            rows.append((found["id"], found["failed"], "", "", "FAILED"))
        for line in found["lines"]:
            if line["verdict"]:
                figure = f"{line['figure']}, {line['peer_name']}" if line["peer_name"] else line["figure"]
                rows.append((line["id"], figure, line["target"], measured(line), line["verdict"]))
        rows += [(found["id"], what, "", "", "SKIPPED") for what in found["skipped"]]
    return rows


def summary(document: Plain, counts: Mapping[str, int]) -> str:
    """All targets of a run, and how many were met."""
    rows = [("id", "figure", "target", "measured: median (min to max)", ""), *summary_rows(document["reports"])]
    seconds = sum(found["seconds"] for found in document["reports"])
    slowest = ", ".join(f"{found['name']} {found['seconds']:.0f}" for found in document["reports"])
    text = ["", "summary" + (" of a quick run: sizes and rounds are too small for figures" * document["quick"])]
    text += ["    " + row for row in table(rows)]
    text.append("    " + ", ".join(f"{value} {name}" for name, value in counts.items() if value))
    text.append(f"    {seconds:.0f} s: {slowest}")
    return "\n".join(text)


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows under each other, as wide as they need."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in rows]


class Progress:
    """Where a run is: one line that is written over on a terminal, now and then a line elsewhere.

    Args:
        names: all that will run.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self._names, self._began = names, time.monotonic()
        self._terminal, self._last = sys.stderr.isatty(), ("", float("-inf"))

    def __call__(self, name: str, step: str, elapsed: float) -> None:
        """See `runner.Shows`."""
        now = time.monotonic()
        total = now - self._began
        text = (
            f"{name} ({self._names.index(name) + 1} of {len(self._names)}): {step}, {elapsed:.0f} s, all {total:.0f} s"
        )
        if self._terminal:
            sys.stderr.write(f"\r\x1b[K{text[:100]}")
            sys.stderr.flush()
        elif name != self._last[0] or now - self._last[1] >= _EVERY:
            print(text, file=sys.stderr, flush=True)
            self._last = (name, now)

    def clear(self) -> None:
        """Takes the line away, before something else is printed."""
        if self._terminal:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
