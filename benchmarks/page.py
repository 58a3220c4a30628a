"""The docs' table of a run, written between two markers; the prose around it stays as people wrote it.

Owns the markers and the form of the table. Works on the JSON that runs save; where several are given, the later
report of a benchmark counts.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from . import shown

PAGE: Final = Path(__file__).resolve().parent.parent / "docs" / "explanation" / "figures.md"
BEGINS: Final = "<!-- make bench: from here -->"
ENDS: Final = "<!-- make bench: up to here -->"
_WORDS: Final = {"PASS": "met", "SHORT": "short", "SKIPPED": "not compared"}


def write(runs: Sequence[Path], page: Path = PAGE) -> int:
    """Puts the table of these runs into a page.

    Args:
        runs: files that `--save` wrote, in the order of time.
        page: with both markers.

    Returns:
        How many rows the table has.

    Raises:
        ValueError: a file is no run, one of its benchmarks failed and no later one has its figures, or the page has not
            the two markers in their order.
    """
    documents = [_read(path) for path in runs]
    text = page.read_text(encoding="utf-8")
    before, began, rest = text.partition(BEGINS + "\n")
    _, ended, after = rest.partition(ENDS)
    if not began or not ended:
        raise ValueError(f"{page}: the table goes between the lines {BEGINS} and {ENDS}; put both where it belongs")
    _whole(documents)
    rows = table(documents)
    page.write_text(f"{before}{began}{rows}\n{ended}{after}", encoding="utf-8")
    return rows.count("\n| ") - 1


def table(documents: Sequence[dict[str, Any]]) -> str:
    """What stands between the markers."""
    latest = {report["name"]: (report, document) for document in documents for report in document["reports"]}
    order = sorted(latest, key=_order)
    text = []
    for about, names in _same_machine(latest):
        spreads = (f"{name} {shown.canary_spread(latest[name][0]):.1f}" for name in order if name in names)
        text.append(f"Measured on {about}; how much the canary drifted: {', '.join(spreads)}.")
    text += [
        "",
        "| | figure | target | measured: median (min to max) | ours | theirs | |",
        "|---|---|---|---|---|---|---|",
    ]
    for name in order:
        report = latest[name][0]
        for line in report["lines"]:
            theirs = f"{line['peer_name']} {shown.number(line['peer']['median'])}" if line["peer"] else ""
            text.append(_row(
                line["id"], line["figure"], line["target"], shown.measured(line), shown.number(line["ours"]["median"]),
                theirs, _WORDS.get(line["verdict"], ""),
            ))  # fmt: skip
        text += [_row(report["id"], what, "", "", "", "", _WORDS["SKIPPED"]) for what in report["skipped"]]
    return "\n".join(text)


def _whole(documents: Sequence[dict[str, Any]]) -> None:
    """Refuses what would put a benchmark that failed into the page as if it were a figure."""
    latest = {report["name"]: report for document in documents for report in document["reports"]}
    if failed := [f"{name} ({report['failed']})" for name, report in sorted(latest.items()) if report["failed"]]:
        raise ValueError(
            f"the page has no place for benchmarks that failed: {', '.join(failed)}; run them again, with `--save`,"
            " and give that file as the last"
        )


def _order(name: str) -> tuple[int, str]:
    return (int(name[1:]), name) if name[:1] == "p" and name[1:].isdigit() else (1000, name)


def _row(*cells: str) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"


def _same_machine(latest: dict[str, tuple[dict[str, Any], dict[str, Any]]]) -> list[tuple[str, set[str]]]:
    """Date and machine of the runs, each with the benchmarks that are of it."""
    groups: dict[str, set[str]] = {}
    for name, (report, document) in latest.items():
        about = document["machine"]
        libraries = ", ".join(f"{lib} {about[lib]}" for lib in ("grpcio", "protobuf", "apsw") if lib in about)
        said = (
            f"{report['at'][:10]}, {about['cores']} cores of {about['cpu']}, {about.get('memory_gb', '?')} GB, Linux"
            f" {about['kernel']}, Python {about['python']}, {libraries}" + (", quick" if document["quick"] else "")
        )
        groups.setdefault(said, set()).add(name)
    return list(groups.items())


def _read(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        if not all("name" in report and "failed" in report for report in document["reports"]):
            raise KeyError("name")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path}: no run that --save wrote ({type(error).__name__}: {error})") from None
    return dict(document)
