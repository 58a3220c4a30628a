"""A new version of a decision, tried on the past: a hub's process, a team's processes, and the command (S: replay).

Forty customers are decided about twice, with trouble in between: calls that are heard of late, cookies that turn out to
be a customer's. Who would be treated otherwise is computed here from the numbers of the customers alone.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from segue.domain.fact import LINK

from tests.calling import calling, event, now
from tests.serving import Serving, environment, serving

MINUTE = 60_000_000
EVERYBODY = range(40)
APP = """
import segue

chat = segue.Touchpoint("chat")


@chat.decision("chat.route", default="bot", record="always")
def route(c: segue.Context) -> str:
    if c.journey("money_transfer").active and c.seen("ivr", within="1h"):
        return "agent"
    return "bot"
"""
DRIVER = """
import json, sys
from app import chat, route

for number in json.loads(sys.stdin.readline()):
    with chat.session(wait=30, account=f"A-{number}") as customer:
        customer.track("chat.opened")
        customer.decide(route)
assert chat.flush(30)
"""
NEW = '''
from app import route as before


def route(c):
    """Who searched for help twice within the hour is guided."""
    if c.count("help.searched", "1h") >= 2:
        return "guide"
    return before(c)
'''
IMPURE = """
import random
from time import time as clock


def is_lucky(c):
    return random.randint(1, 2) == 1


def route(c):
    if c.journey("money_transfer").active:
        return "agent" if clock() % 2 < 1 else "bot"
    return "agent" if is_lucky(c) else "bot"
"""
BROKEN = """
def route(c):
    return {"mid": 1}[c.trait("value_tier")]
"""


class Team:
    """The chat team: its code in a folder, its key, its processes."""

    def __init__(self, hub: Serving, folder: Path) -> None:
        self.hub = hub
        self.folder = folder
        self._environment = environment(
            SEGUE_HUB=hub.address, SEGUE_KEY=hub.key("chat"), SEGUE_STATE=str(folder / "state")
        )
        for name, text in (("app", APP), ("driver", DRIVER), ("new", NEW), ("impure", IMPURE), ("broken", BROKEN)):
            (folder / f"{name}.py").write_text(text, encoding="utf-8")

    def decides(self) -> None:
        """About everybody, in a process of its own."""
        done = subprocess.run(
            [sys.executable, "driver.py"], input=json.dumps(list(EVERYBODY)), env=self._environment, cwd=self.folder,
            capture_output=True, text=True, timeout=90, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr

    def replay(self, *arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        """The command, as anybody runs it."""
        done = subprocess.run(
            [sys.executable, "-m", "segue", "replay", *arguments], env=self._environment, cwd=self.folder,
            capture_output=True, text=True, timeout=90, check=False,
        )  # fmt: skip
        assert done.returncode == code, (done.stdout, done.stderr)
        assert "\x1b" not in done.stdout + done.stderr, "colours although nobody looks"
        return done

    def report(self, *arguments: str) -> dict[str, Any]:
        """What it says with --json."""
        found: dict[str, Any] = json.loads(self.replay(*arguments, "--json").stdout)
        return found


@pytest.fixture(scope="module")
def team(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Team]:
    folder = tmp_path_factory.mktemp("replay")
    (folder / "hub").mkdir()
    with serving(folder / "hub") as hub:
        team = Team(hub, folder)
        at = now() - 30 * MINUTE
        with (
            calling(hub.address, hub.key("app")) as app, calling(hub.address, hub.key("web")) as web,
            calling(hub.address, hub.key("ivr")) as ivr,
        ):  # fmt: skip
            failed = [
                event("transfer.failed", f"account=A-{n}", at=at, transfer_id="T") for n in EVERYBODY if n % 2 == 0
            ]
            searched = [
                event("help.searched", f"cookie=k-{n}", at=at + k)
                for n in EVERYBODY
                for k in range(2 if n % 3 == 0 else 1)
            ]
            links = [event("link", f"account=A-{n}", f"cookie=k-{n}", at=at, kind=LINK) for n in EVERYBODY]
            assert set(app.statuses(*failed, *links[::4])) == {"ACCEPTED"}
            assert set(web.statuses(*searched)) == {"ACCEPTED"}
            team.decides()
            # What had happened before, and is heard of only now.
            called = [event("call.started", f"account=A-{n}", at=at + MINUTE) for n in EVERYBODY[::5]]
            assert set(ivr.statuses(*called)) == {"ACCEPTED"}
            assert set(app.statuses(*links[1::4])) == {"ACCEPTED"}
            team.decides()
            # And after all: it changes nothing of what was known.
            assert set(app.statuses(*links[2::4])) == {"ACCEPTED"}
        yield team


def test_unchanged_code_gives_unchanged_answers_bit_for_bit(team: Team) -> None:
    report = team.report("--decision", "chat.route", "--with", "app.py:route")
    assert (report["asked"], report["same"], report["identical"], report["different"]) == (80, 80, 80, 0)
    assert (report["not_asked"], report["reads_besides"], report["failed"]) == ({}, [], 0)
    assert report["answers"] == [{"answer": "bot", "count": 76}, {"answer": "agent", "count": 4}]


def test_it_names_what_was_not_known_yet(team: Team) -> None:
    report = team.report("--with", "app.py:route")
    # The first time calls of every fifth had not been heard of, nor whose the cookies of one in four were; whose those
    # of another one in four were, was not known the second time either.
    assert report["merged_late"] == len(EVERYBODY[1::4]) + 2 * len(EVERYBODY[2::4])
    assert report["late"] == sum(n % 5 == 0 or n % 4 in (1, 2) for n in EVERYBODY) + len(EVERYBODY[2::4])


def test_a_changed_function_treats_exactly_those_otherwise_whom_the_numbers_say(team: Team) -> None:
    searched_twice = {n for n in EVERYBODY if n % 3 == 0}
    first = {n for n in searched_twice if n % 4 == 0}
    second = {n for n in searched_twice if n % 4 in (0, 1)}
    was_agent = {n for n in EVERYBODY if n % 2 == 0 and n % 5 == 0}
    report = team.report("--decision", "chat.route", "--with", "new.py:route", "--limit", "0")
    assert report["different"] == len(first) + len(second)
    assert report["customers_different"] == len(first | second)
    changes = {(change["was"], change["now"]): change["count"] for change in report["changes"]}
    assert changes == {
        ("bot", "guide"): len(first) + len(second - was_agent), ("agent", "guide"): len(second & was_agent)
    }  # fmt: skip
    found = {case["identifiers"][0]: case["different"] for case in report["customers"]}
    assert found == {f"account=A-{n}": 1 + (n in first) for n in first | second}
    assert report["decided_by"] == [
        {"question": "count('help.searched', '1h')", "answer": 2, "count": len(first) + len(second)}
    ]
    shown = team.replay("--decision", "chat.route", "--with", "new.py:route", "--limit", "3").stdout
    assert f"different, of {len(first | second)} customers" in shown
    assert "bot -> guide" in shown
    assert "count('help.searched', '1h') is 2" in shown
    assert f"customers (3 of {len(first | second)}; --limit)" in shown


def test_clock_and_chance_are_named_with_function_and_line(team: Team) -> None:
    report = team.report("--decision", "chat.route", "--with", "impure.py:route")
    lines = IMPURE.splitlines()
    named = {(read["sort"], read["what"], read["function"], lines[read["line"] - 1].strip()): read["decisions"]
             for read in report["reads_besides"]}  # fmt: skip
    assert named == {
        ("clock", "time.time", "route", 'return "agent" if clock() % 2 < 1 else "bot"'): 40,
        ("chance", "random.Random.randint", "is_lucky", "return random.randint(1, 2) == 1"): 40,
    }
    shown = team.replay("--decision", "chat.route", "--with", "impure.py:route").stdout
    assert "such answers cannot be repeated" in shown
    line = next(number for number, text in enumerate(lines, 1) if "clock() %" in text)
    assert f"route, impure.py:{line}" in shown


def test_a_function_that_fails_is_told_with_its_place(team: Team) -> None:
    report = team.report("--decision", "chat.route", "--with", "broken.py:route", "--default", "bot")
    assert report["failed"] == 80
    assert report["failures"] == [{"error": "KeyError: '' (route, broken.py:3)", "count": 80}]
    assert report["different"] == 4  # those who were given an agent


def test_differences_can_fail_a_build(team: Team, tmp_path: Path) -> None:
    team.replay("--with", "app.py:route", "--fail-on-difference")
    answers = tmp_path / "answers.jsonl"
    done = team.replay(
        "--decision", "chat.route", "--with", "new.py:route", "--fail-on-difference", "--answers", str(answers), code=4
    )
    assert "per second" in done.stdout
    written = [json.loads(line) for line in answers.read_text(encoding="utf-8").splitlines()]
    assert len(written) == 80
    assert {line["was"] for line in written} == {"bot", "agent"}


def test_since_and_until_choose(team: Team) -> None:
    assert team.report("--with", "app.py:route", "--since", "1h")["asked"] == 80
    assert team.report("--with", "app.py:route", "--until", "2026-01-01")["asked"] == 0
    first = min(case["at"] for case in _answers(team))
    assert team.report("--with", "app.py:route", "--since", "2026-01-01", "--until", first)["asked"] == 0


def _answers(team: Team) -> list[dict[str, Any]]:
    out = team.folder / "all.jsonl"
    team.replay("--with", "app.py:route", "--answers", str(out))
    return [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]


def test_what_makes_no_sense_is_told_with_its_cure(team: Team) -> None:
    for arguments, said in (
        (("--with", "app.py"), "Write FILE.py:NAME"),
        (("--with", "nowhere.py:route"), "there is no file nowhere.py"),
        (("--with", "app.py:rout"), "Did you mean 'route'?"),
        (("--with", "new.py:route"), "--decision: name the question"),
        (("--with", "app.py:route", "--since", "soon"), "is no instant"),
        (("--with", "app.py:route", "--ask-at", "call.started"), "Write KIND=TYPE"),
    ):
        done = team.replay(*arguments, code=2)
        assert said in done.stderr
        assert "Traceback" not in done.stderr
    assert (
        "no event is called 'call.begun'"
        in team.replay("--with", "app.py:route", "--ask-at", "event=call.begun", code=1).stderr
    )
    assert (
        "no hub answers at 127.0.0.1:1" in team.replay("--with", "app.py:route", "--hub", "127.0.0.1:1", code=3).stderr
    )
