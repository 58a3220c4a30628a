"""The command `segue replay` without a hub: which function is meant, what differs, and how it is told."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from segue import Action
from segue.cli import main
from segue.cli.function import find_function
from segue.cli.replay_text import told
from segue.cli.terminal import Bar, Ended, paint, table
from segue.domain.decision import Question
from segue.domain.decision_fact import Basis
from segue.domain.fact import Fact
from segue.domain.replay import Answer, Moment, asked_again, difference
from segue.replay_report import DECISIONS, KINDS, ReplayReport, answer_plain

from tests.building import action, decision, fact, plan
from tests.building import moment as instant

PLAN = plan()


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def at(number: int, *facts: Fact, customer: str = "") -> Moment:
    """A moment of one customer's, with own facts over nothing."""
    made = decision("chat.route", "x", "1h", f"account=A-{number}")
    return Moment(made, customer or f"c{number}", instant("1h"), PLAN, overlay=facts, channel="chat", basis=Basis(3))


def answered(function: Any, moment: Moment) -> Answer:
    return asked_again(Question("chat.route", function, "bot"), moment)[0]


# Which function is meant.


@pytest.fixture(autouse=True)
def _modules_are_forgotten() -> Iterator[None]:
    before, paths = set(sys.modules), list(sys.path)
    yield
    sys.path[:] = paths
    for name in set(sys.modules) - before:
        del sys.modules[name]


def test_a_function_of_a_file_is_found_and_may_import_its_neighbours(tmp_path: Path) -> None:
    (tmp_path / "neighbour.py").write_text("WORD = 'agent'\n")
    (tmp_path / "json.py").write_text("from neighbour import WORD\n\n\ndef route(c):\n    return WORD\n")
    named = find_function(f"{tmp_path}/json.py:route", "--with")
    assert named.function(None) == "agent"
    assert named.question is None
    import json

    assert json.loads("[1]") == [1], "Python's own is still there"


def test_a_file_of_a_package_is_imported_as_part_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "teamwork"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "words.py").write_text("WORD = 'guide'\n")
    text = (
        "import segue\nfrom .words import WORD\n\nchat = segue.Touchpoint('chat')\n\n\n"
        "@chat.decision('chat.route', default=WORD)\ndef route(c):\n    return None\n"
    )
    (package / "decisions.py").write_text(text)
    for place in (f"{package}/decisions.py:route", "teamwork.decisions:route"):
        monkeypatch.chdir(tmp_path)
        named = find_function(place, "--with")
        assert named.question is not None
        assert (named.question.name, named.question.default) == ("chat.route", "guide")
        assert named.asked_as("other", named.function, None).default == "guide"
        assert named.asked_as("other", named.function, "bot").default == "bot"


@pytest.mark.parametrize(
    ("text", "name", "said"),
    [
        ("def route(c): ...", "rout", "Did you mean 'route'?"),
        ("route = 7", "route", "is no function, but of type int"),
        ("class Route: ...", "Route", "is no function, but of type type"),
        ("import no_such_library", "route", "cannot be imported: No module named 'no_such_library'"),
        ("1 / 0", "route", "cannot be imported: ZeroDivisionError"),
        ("def route(c)", "route", "cannot be imported: SyntaxError"),
    ],
)
def test_what_cannot_be_asked_is_told(tmp_path: Path, text: str, name: str, said: str) -> None:
    (tmp_path / "app.py").write_text(text)
    with pytest.raises(Ended) as ended:
        find_function(f"{tmp_path}/app.py:{name}", "--with")
    assert said in str(ended.value)
    assert ended.value.code == 2


# What differs.


def test_what_decided_is_what_the_new_one_read_and_the_old_did_not() -> None:
    moment = at(1, fact("transfer.failed", "55m", "account=A-1", transfer_id="T"))

    def old(c: Any) -> str:
        return "agent" if c.seen("ivr", "1h") else "bot"

    def new(c: Any) -> str:
        return "guide" if not c.seen("ivr", "1h") and c.journey("money_transfer").active else "bot"

    found = difference(answered(old, moment), answered(new, moment))
    assert found is not None
    assert (found.was.answer, found.now.answer) == ('"bot"', '"guide"')
    assert found.decided_by == (("journey('money_transfer').active", "true", ""),)


def test_a_function_that_reads_the_same_is_told_by_what_it_read_last() -> None:
    moment = at(1)
    found = difference(answered(lambda c: c.seen("web"), moment), answered(lambda c: not c.seen("web"), moment))
    assert found is not None
    assert found.decided_by == (("seen('web')", "false", "false"),)


def test_the_same_treatment_for_other_reasons_is_no_difference_and_not_identical() -> None:
    moment = at(1)
    one, other = answered(lambda c: c.seen("web"), moment), answered(lambda c: c.seen("ivr"), moment)
    assert difference(one, other) is None
    assert not one.is_identical(other)
    # Another function that reads and says the same is another one, and its answer identical.
    again = answered(lambda c: bool(c.seen("web")), moment)
    assert one.raw != again.raw
    assert one.is_identical(again)


def test_actions_differ_by_what_they_are_about_and_by_what_holds_them_back() -> None:
    moment = at(1)

    def wants(**more: Any) -> Answer:
        return answered(lambda c: Action("mail.news", channel="email", **more), moment)

    assert difference(wants(topic="a"), wants(topic="a")) is None
    assert difference(wants(topic="a"), wants(topic="b")) is not None
    assert difference(wants(properties={"n": 1}), wants(properties={"n": 2})) is not None
    held = difference(answered(lambda c: "wait", moment), wants(purpose="marketing"))
    assert held is not None
    assert held.now.held == "BLOCK"
    assert ("guardrail consent", "BLOCK", "") in held.decided_by


def test_an_own_action_counts_as_it_did_when_it_lay_over_the_context() -> None:
    done = [action("offer.gold", f"{n}m", "account=A-1", seq=n, purpose="marketing") for n in (1, 2)]
    moment = at(1, *done)
    capped = answered(lambda c: Action("offer.gold", purpose="marketing"), moment)
    assert {v["guardrail"]: v["kind"] for v in capped.details["verdicts"]}["contact_pressure"] == "DEFER"


# How it is told.


def filled(limit: int, count: int = 30) -> ReplayReport:
    report = ReplayReport(limit)
    for number in range(count):
        moment = at(number)
        now, was = answered(lambda c: "agent", moment), answered(lambda c: "x" if c.seen("web") else "bot", moment)
        report.add(moment, now, was, difference(was, now), "")
    return report


def plain(report: ReplayReport, **more: Any) -> dict[str, Any]:
    told_of = {"decision": "chat.route", "touchpoint": "chat", "with": "app.py:route", "against": "", "ask_at": "",
               "since": "", "until": "", "seconds": 2.0, "per_second": 15}  # fmt: skip
    return told_of | report.plain([], compared=True) | more


def test_of_customers_only_so_many_are_kept_and_all_are_counted() -> None:
    report = filled(5)
    assert (report.asked, report.different, report.customers, len(report.cases)) == (30, 30, 30, 5)
    assert len(filled(0).cases) == 30
    text = "\n".join(told(plain(report), report, compared=True))
    assert "customers (5 of 30; --limit)" in text
    assert "bot -> agent" in text
    assert "30 in 2.0 s (15 per second)" in text


def test_names_are_counted_up_to_a_limit_and_the_rest_together() -> None:
    report = ReplayReport(1)
    for number in range(KINDS + 50):
        moment = at(number, customer="one")
        now, was = answered(lambda c, n=number: n, moment), answered(lambda c: "bot", moment)
        report.add(moment, now, was, difference(was, now), f"error {number}")
    assert len(report.changes) == len(report.failures) == len(report.answers) == KINDS + 1
    assert report.changes[None] == 50
    found = plain(report)
    assert {"error": "others", "count": 50} in found["failures"]
    (case,) = found["customers"]
    assert (case["different"], len(case["decisions"])) == (KINDS + 50, DECISIONS)
    assert "and 986 more, 986 in all" in "\n".join(told(found, report, compared=True))


def test_what_was_not_asked_is_told_with_its_reason_in_words() -> None:
    report = ReplayReport(5)
    report.skip(Moment(decision("chat.route", "x", "1h"), "c", 0, gap="HISTORY_CUT"))
    text = "\n".join(told(plain(report), report, compared=True))
    assert "the hub's history was cut since: what was known then is MISSING [HISTORY_CUT]" in text
    assert plain(report)["gaps"][0]["reason"] == "HISTORY_CUT"


def test_an_answer_that_moves_the_cursor_is_shown_as_text() -> None:
    assert table([(1, "a\x1b[2Jb\nc")]) == ["1  a\\x1b[2Jb\\nc"]
    assert table([(1_234, "x"), (5, "longer")], frozenset((0,))) == ["1,234  x", "    5  longer"]


def test_colours_and_bars_are_for_terminals(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert paint("x", "red", io.StringIO()) == "x"
    assert paint("x", "red", Terminal()) == "\x1b[31mx\x1b[0m"
    monkeypatch.setenv("NO_COLOR", "1")
    assert paint("x", "red", Terminal()) == "x"
    shown, quiet = Terminal(), io.StringIO()
    monkeypatch.setattr(sys, "stderr", shown)
    bar = Bar(quiet=True)
    bar.tell("asking", 1, 2, "7 asked")
    bar.clear()
    assert "asking  50%  7 asked" in shown.getvalue()
    assert shown.getvalue().endswith("\r")
    monkeypatch.setattr(sys, "stderr", quiet)
    bar = Bar(quiet=True)
    bar.tell("asking", 1, 2)
    bar.clear()
    assert quiet.getvalue() == ""


def test_the_command_explains_itself(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, code in ((["--help"], 0), (["replay", "--help"], 0), ([], 2)):
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        assert ended.value.code == code
    out = capsys.readouterr().out
    assert "segue replay --decision chat.route --with app.py:route --since 7d" in out
    assert "4 answers differ" in " ".join(out.split())


def test_an_answer_of_many_names_whom_it_is_about() -> None:
    moment = at(7)
    line = answer_plain(moment, answered(lambda c: "agent", moment), None)
    assert (line["identifiers"], line["answer"], line["reason"]) == (["account=A-7"], "agent", "RULE")
    assert "was" not in line
