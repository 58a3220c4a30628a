"""The report of a replay, for people.

Owns its words and its layout. The figures are `replay_report`'s.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from ..replay_report import Plain, ReplayReport
from .terminal import paint, table

ROWS: Final = 15
"""Rows of a table."""
_RIGHT: Final = frozenset((0,))
GAPS: Final = {
    "HISTORY_CUT": "the hub's history was cut since: what was known then is MISSING",
    "INCOMPLETE": "the record does not say what it was made on",
    "PLAN_UNKNOWN": "its plan is not in this hub's history",
    "WORKSPACE_UNKNOWN": "the incidents that it knew of are not in this hub's history",
    "OWN_FACT_UNKNOWN": "it had seen an own fact that never reached the hub",
    "VERSION_UNKNOWN": "it was made on a context from disk of an unknown version",
}
"""Why a decision cannot be asked again, by code."""


def told(plain: Plain, report: ReplayReport, *, compared: bool) -> list[str]:
    """The lines of the report."""
    lines = [_headline(plain)]
    counts: list[tuple[int, str]] = []
    if compared:
        counts = [(report.same, f"same{_identical(report)}"), (report.different, _different(report))]
    counts += [(report.failed, "failed")] if report.failed else []
    counts += [(count, f"not asked: {GAPS.get(code, code)} [{code}]") for code, count in report.gaps.most_common()]
    lines += _section("", table(counts, _RIGHT) if counts else [])
    if compared:
        rows = [(row["count"], f"{_text(row['was'])} -> {_text(row['now'])}") for row in plain["changes"]]
        lines += _section("changes", _rows(rows))
        rows = [(row["count"], _read(row)) for row in plain["decided_by"]]
        lines += _section("decided by", _rows(rows))
    else:
        lines += _section("answers", _rows([(row["count"], _text(row["answer"])) for row in plain["answers"]]))
    lines += _section("failures", _rows([(row["count"], row["error"]) for row in plain["failures"]]))
    lines += _section(*_besides(plain))
    lines += _section("made before it was known", _unheard(report))
    lines += _section(_customers_title(report), _customers(plain)) if report.different else []
    rate = f"{report.asked:,} in {plain['seconds']:.1f} s ({plain['per_second']:,} per second)"
    return [*lines, "", paint(rate, "dim")]


def _headline(plain: Plain) -> str:
    what = f"asked at {plain['ask_at']}" if plain["ask_at"] else "asked again"
    since = f" since {plain['since']}" if plain["since"] else ""
    until = f" until {plain['until']}" if plain["until"] else ""
    against = f", against {plain['against']}" if plain["against"] else ""
    name = paint(plain["decision"], "bold")
    return f"{name} of {plain['touchpoint']}, {what} with {plain['with']}{against}{since}{until}: {plain['asked']:,}"


def _identical(report: ReplayReport) -> str:
    if not report.identical:
        return ""
    return ", bit for bit" if report.identical == report.same else f", {report.identical:,} of them bit for bit"


def _different(report: ReplayReport) -> str:
    if not report.different:
        return "different"
    customers = f"{report.customers:,} customer{'s' if report.customers != 1 else ''}"
    return f"{paint('different', 'yellow')}, of {customers}"


def _section(title: str, lines: list[str]) -> list[str]:
    return ["", *([paint(title, "bold")] if title else []), *(f"  {line}" for line in lines)] if lines else []


def _rows(rows: list[tuple[int, str]]) -> list[str]:
    lines = table(rows[:ROWS], _RIGHT) if rows else []
    rest = sum(count for count, _ in rows[ROWS:])
    return [*lines, f"and {len(rows) - ROWS} more, {rest:,} in all (--json has them)"] if rest else lines


def _besides(plain: Plain) -> tuple[str, list[str]]:
    rows = [
        (row["decisions"], row["what"], f"{row['function']}, {Path(row['file']).name}:{row['line']}")
        for row in plain["reads_besides"]
    ]
    title = paint("read besides the context: such answers cannot be repeated", "red")
    return title, table(rows[:ROWS], _RIGHT) if rows else []


def _unheard(report: ReplayReport) -> list[str]:
    rows = [
        (report.late, "something had happened that the hub had not heard of yet"),
        (report.merged_late, "somebody had turned out to be the same customer, as was heard later"),
        (report.narrowed, "were made on more than the touchpoint may read today"),
    ]
    return table([row for row in rows if row[0]], _RIGHT) if any(row[0] for row in rows) else []


def _customers_title(report: ReplayReport) -> str:
    shown = len(report.cases)
    return f"customers ({shown:,} of {report.customers:,}; --limit)" if shown < report.customers else "customers"


def _customers(plain: Plain) -> list[str]:
    rows = []
    for case in plain["customers"]:
        last = case["decisions"][-1]
        more = f" (and {case['different'] - 1:,} more)" if case["different"] > 1 else ""
        why = ", ".join(_read(read) for read in last["decided_by"])
        change = f"{_text(last['was'])} -> {_text(last['now'])}{more}"
        rows.append((" ".join(case["identifiers"]) or case["customer"], last["at"], change, why))
    return table(rows) if rows else []


def _read(row: Plain) -> str:
    said = f"{row['question']} is {row['answer']!r}" if row["answer"] != "" else row["question"]
    return f"{said} (was {row['was']!r})" if "was" in row else said


def _text(treatment: Any) -> str:
    """A treatment in a few words."""
    if not isinstance(treatment, dict) or "held" not in treatment:
        return treatment if isinstance(treatment, str) and treatment else json.dumps(treatment, ensure_ascii=False)
    about = f" about {treatment['topic']}" if treatment.get("topic") else ""
    held = f", held back: {treatment['held']}" if treatment["held"] else ""
    return f"{treatment['action']}{about}{held}"
