"""`python -m benchmarks [p1|p3|...] [--quick] [--json]`: runs benchmarks, prints both sides and what was met."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from . import growth, page, runner, saved, shown

_EPILOG = (
    "Exits with 0 where every benchmark ran, with 1 where one failed or was interrupted (with --strict: or a target is"
    " short). What took how long is in the summary and, as `seconds`, in the JSON. Whole, on a quiet machine of two"
    " cores: p1 and p2 a quarter of a minute each; p3, p4, p9 and p12 half a minute to one; p10 a minute and a half; p5"
    " two, p8 three; p7 ten minutes and 4 GB of disk, most of it to fill a store of a million customers, which"
    " SEGUE_BENCH_STORES=FOLDER keeps and finds again: allow 35 minutes."
)


def main() -> int:
    """Runs what was asked for."""
    known = runner.names()
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__, epilog=_EPILOG)
    parser.add_argument(
        "which", nargs="*", metavar="WHICH", help=f"of {', '.join(known)}; all but native where none is named"
    )
    parser.add_argument("--quick", action="store_true", help="smaller and fewer rounds: for a look, not for figures")
    parser.add_argument("--json", action="store_true", help="the run as JSON instead of tables")
    parser.add_argument("--save", metavar="FILE", type=Path, help="leave the run's JSON here, after each benchmark")
    parser.add_argument("--strict", action="store_true", help="exit with 1 where a target is short or not compared")
    parser.add_argument("--limit", type=float, metavar="SECONDS", help="end a benchmark that takes longer: it failed")
    parser.add_argument("--install-peers", action="store_true", help="install missing Redis, PostgreSQL and strace")
    parser.add_argument("--list", action="store_true", help="print the names and end")
    parser.add_argument("--page", nargs="+", metavar="FILE", type=Path, help="write saved runs into the docs' figures")
    asked = parser.parse_args()
    if unknown := [name for name in asked.which if name not in known]:
        parser.error(f"{', '.join(unknown)}: no such benchmark; there are {', '.join(known)}")
    if asked.list:
        print("\n".join(known))
        return 0
    if asked.page:
        try:
            print(f"{page.write(asked.page)} rows written into {page.PAGE.name}")
        except ValueError as error:
            print(f"error: {error}", file=sys.stderr)
            return 2
        return 0
    return _runs(asked, asked.which or [name for name in known if name != "native"])  # it compiles for a minute


def _runs(asked: argparse.Namespace, which: list[str]) -> int:
    wish = runner.Wish(asked.quick, asked.install_peers, asked.limit or (120.0 if asked.quick else 2700.0))
    shows = shown.Progress(which)

    def done(report: dict[str, Any]) -> None:
        shows.clear()
        if not asked.json:
            print(shown.report(report), flush=True)

    keeps = saved.Saved(asked.save)
    with runner.interruptible(), growth.shared():
        document = runner.run(which, wish, shows, done, keeps=keeps)
    if asked.json:
        print(json.dumps(document, indent=2))
    else:
        print(shown.summary(document, runner.verdicts(document)))
        print("    " + ", ".join(f"{name} {value}" for name, value in document["machine"].items()))
    return runner.exit_code(document, strict=asked.strict)


if __name__ == "__main__":
    raise SystemExit(main())
