"""`segue replay`: a decision function, asked again of the past, and which customers it would treat otherwise.

Owns the command: its options, the run, and the report for people.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, TextIO

from ..config import Config
from ..domain.decision import Question
from ..domain.instant import SECOND, instant_text, parse_instant, span
from ..domain.replay import Answer, Moment, asked_again, difference
from ..errors import PlanError
from ..impurity import Impurities
from ..replay_report import ReplayReport, answer_plain
from ..transport import StreamBroken, Transport
from ..wire_replay import Asked, Reader
from .function import Named, find_function
from .replay_text import told
from .terminal import Bar, Ended

DIFFERENT: Final = 4
"""Exit code where answers differ, with --fail-on-difference."""


def add(commands: Any) -> None:
    """Adds the command."""
    parser = commands.add_parser(
        "replay", help="ask a decision function again, of the past",
        description="Asks a decision function again at every recorded decision, on what the touchpoint could know then,"
        " and tells which customers would be treated otherwise. Nothing is sent but the question; the function"
        " runs here.",
        epilog='For example: segue replay --decision chat.route --with app.py:route --since 7d',
    )  # fmt: skip
    option = parser.add_argument
    option("--decision", default="", metavar="NAME", help="whose recorded decisions; that of --with where not given")
    option("--with", dest="place", required=True, metavar="FILE.py:NAME", help="the function to ask")
    option("--since", default="", metavar="T", help="from when on: 2026-03-01, 2026-03-01T09:00:00Z, or 7d (ago)")
    option("--until", default="", metavar="T", help="until when, likewise")
    option("--ask-at", default="", metavar="KIND=TYPE",
           help="ask at every such fact of the log instead, e.g. event=call.started")  # fmt: skip
    option("--against", default="", metavar="FILE.py:NAME", help="compare with this function, not with the record")
    option("--default", default=None, metavar="JSON", help="the answer where a plain function has none")
    option("--purpose", default="", help="why it is read, for --ask-at; service where not given")
    option("--plan", default="", metavar="now|DIGEST", help="read the past by this plan, not by that of each decision")
    option("--limit", type=int, default=20, metavar="N", help="customers to list; 0 for all (20)")
    option("--answers", type=Path, default=None, metavar="FILE", help="write every answer there, as JSON lines")
    option("--fail-on-difference", action="store_true", help=f"exit with {DIFFERENT} where answers differ")
    option("--json", action="store_true", dest="as_json", help="print JSON, for programs")
    option("--hub", default=os.environ.get("SEGUE_HUB", "127.0.0.1:7171"), help="host:port; SEGUE_HUB")
    option("--key", default=os.environ.get("SEGUE_KEY", ""), help="of the touchpoint; SEGUE_KEY")
    option("--ca", default=os.environ.get("SEGUE_CA", ""), metavar="PEM", help="of the hub's authority; SEGUE_CA")
    parser.set_defaults(run=run)


@dataclass(frozen=True, slots=True)
class _Asking:
    """What is asked, and how it is compared."""

    question: Question
    against: Question | None
    impurities: Impurities

    def answer(self, moment: Moment) -> tuple[Answer, Answer | None, str]:
        """The answer, what it is compared with, and why it is none."""
        was = moment.recorded
        if self.against is not None:
            was, _ = asked_again(self.against, moment)
        now, error = asked_again(self.question, moment)
        if error and self.impurities.failed_at:
            error, self.impurities.failed_at = f"{error} ({self.impurities.failed_at})", ""
        return now, was, error


def run(given: argparse.Namespace) -> int:
    """Runs it; returns the exit code."""
    began = time.time()
    asked = _asked(given, int(began * SECOND))
    named = find_function(given.place, "--with")
    against = find_function(given.against, "--against") if given.against else None
    registered = named.question.name if named.question is not None else ""
    name = given.decision or registered or named.function.__name__
    if not given.ask_at:
        if not given.decision and not registered:
            raise Ended("--decision: name the question, e.g. --decision chat.route", 2)
        asked = replace(asked, decision=name)
    impurities = Impurities()
    question = _question(name, named, given.default, impurities)
    asking = _Asking(question, _question(name, against, given.default, None) if against else None, impurities)
    report, reader = ReplayReport(given.limit), Reader()
    with ExitStack() as stack:
        out = stack.enter_context(given.answers.open("w", encoding="utf-8")) if given.answers else None
        stack.enter_context(impurities.watching())
        _replay(given, asked, reader, asking, report, out)
    compared = not given.ask_at or against is not None
    seconds = time.time() - began
    plain = {
        "decision": name, "touchpoint": reader.touchpoint, "with": given.place, "against": given.against,
        "ask_at": given.ask_at, "plan": given.plan,
        "since": instant_text(asked.since) if asked.since else "",
        "until": instant_text(asked.until) if asked.until else "",
    } | report.plain(impurities.found.most_common(), compared) | {
        "seconds": round(seconds, 3), "per_second": round(report.asked / seconds) if seconds else 0,
    }  # fmt: skip
    if given.as_json:
        print(json.dumps(plain, indent=2, ensure_ascii=False))
    else:
        print("\n".join(told(plain, report, compared=compared)))
    return DIFFERENT if given.fail_on_difference and report.different else 0


def _replay(
    given: argparse.Namespace, asked: Asked, reader: Reader, asking: _Asking, report: ReplayReport, out: TextIO | None
) -> None:
    transport, bar = Transport(_config(given)), Bar(quiet=given.as_json)
    try:
        for response in transport.replay(asked.to_wire()):
            progress, moments = reader.read(response)
            for moment in moments:
                if moment.gap:
                    report.skip(moment)
                    continue
                now, was, error = asking.answer(moment)
                report.add(moment, now, was, difference(was, now) if was is not None else None, error)
                if out is not None:
                    out.write(json.dumps(answer_plain(moment, now, was), ensure_ascii=False) + "\n")
            what = "asking" if progress.looking else "searching the log"
            bar.tell(what, progress.done, progress.of, f"{report.asked:,} asked" if report.asked else "")
    except StreamBroken as error:
        bar.clear()
        code, _, said = str(error).partition(": ")
        if code == "UNAVAILABLE":
            raise Ended(f"no hub answers at {given.hub}. Is it running? Set SEGUE_HUB ({said})", 3) from None
        raise Ended(said or code, 1) from None
    except PlanError as error:
        raise Ended(f"a plan of then cannot be run by this version of the SDK: {error}", 1) from None
    finally:
        bar.clear()
        transport.close()


def _question(name: str, named: Named, default: str | None, impurities: Impurities | None) -> Question:
    function = impurities.watched(named.function) if impurities is not None else named.function
    try:
        fallback = json.loads(default) if default is not None else None
    except ValueError:
        fallback = default  # a word is a text
    return named.asked_as(name, function, fallback)


def _config(given: argparse.Namespace) -> Config:
    if ":" not in given.hub:
        raise Ended(f"--hub: {given.hub!r}. Write host:port, e.g. 127.0.0.1:7171", 2)
    if not given.key:
        raise Ended("no key: set SEGUE_KEY to the touchpoint's own (`segue-hub touchpoint add NAME` prints it)", 2)
    return Config(touchpoint="", hub=given.hub, key=given.key, ca=given.ca)


def _asked(given: argparse.Namespace, now: int) -> Asked:
    since, until = _instant(given.since, "--since", now), _instant(given.until, "--until", now)
    if not given.ask_at:
        if given.purpose:
            raise Ended("--purpose: a decision was recorded with its own. Only with --ask-at", 2)
        return Asked("", "", "", since, until, "", given.plan)
    kind, equals, type_ = given.ask_at.partition("=")
    if not equals or not kind or not type_:
        raise Ended(f"--ask-at: {given.ask_at!r} names no fact. Write KIND=TYPE, e.g. event=call.started", 2)
    return Asked("", kind, type_, since, until, given.purpose, given.plan)


def _instant(text: str, option: str, now: int) -> int:
    if not text:
        return 0
    for read in (parse_instant, lambda t: parse_instant(f"{t}T00:00:00Z"), lambda t: now - span(t)):
        try:
            return max(1, read(text))
        except ValueError:
            continue
    raise Ended(f"{option}: {text!r} is no instant. Write 2026-03-01, 2026-03-01T09:00:00Z, or 7d (ago)", 2)
