"""Why not something else, in one line: the same from a decision and from its record."""

from __future__ import annotations

import json
import subprocess
import sys
from functools import partial, wraps
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from segue.domain.action import Action
from segue.domain.context import Context
from segue.domain.decision import Decision, Question, decide
from segue.domain.decision_fact import Basis, answer_of, details_of
from segue.domain.explanation import recorded, why_not
from segue.domain.fact import Fact
from segue.domain.fold import fold
from segue.domain.function_version import function_version

from tests.building import consent, context_of, fact, moment, plan, seen_by
from tests.unit.logs import functions, law, logs

PLAN = plan()
UPSELL = Action("offer.upsell", topic="bandwidth", purpose="marketing", channel="email")
TIP = Action("help.tip", topic="transfers")


def made(function: Any, *facts: Fact, scorer: Any = None, by: Any = PLAN) -> Decision:
    return decide(Question("q", function, "the default", scorer=scorer), seen_by(by, list(facts), "1h"), "chat")


def both(decision: Decision, value: Any) -> str:
    """The line of the decision, which is that of its record."""
    raw = details_of(decision, answer_of(decision), Basis())[1]
    line = decision.explain(why_not=value)
    assert why_not(recorded(decision.name, json.loads(raw)), value) == line
    assert "\n" not in line
    return line


class TestCandidates:
    def test_the_one_that_a_guardrail_held_back(self) -> None:
        found = made(lambda c: [UPSELL, TIP])
        assert found.value == TIP
        assert both(found, "offer.upsell") == (
            "Not 'offer.upsell': held by privacy by guardrail consent: No marketing without consent."
        )

    def test_the_one_that_was_taken(self) -> None:
        assert both(made(lambda c: [UPSELL, TIP]), "help.tip") == "q is 'help.tip'."

    def test_one_that_came_later(self) -> None:
        found = made(lambda c: [UPSELL, TIP], consent("marketing", "granted", "0s"))
        line = both(found, "help.tip")
        assert line == "Not 'help.tip': offer.upsell about bandwidth came first, since the function named it first."

    def test_one_with_a_lower_score(self) -> None:
        granted = consent("marketing", "granted", "0s")
        found = made(lambda c: [UPSELL, TIP], granted, scorer=lambda action, context: float(action.kind == "help.tip"))
        assert (
            both(found, "offer.upsell") == "Not 'offer.upsell': help.tip about transfers came first, by score 1 over 0."
        )

    def test_one_with_a_lower_priority(self) -> None:
        by = plan(action_priorities={"help.*": 5})
        found = made(lambda c: [UPSELL, TIP], consent("marketing", "granted", "0s"), by=by)
        assert found.value == TIP
        assert "by priority 5 over 0" in both(found, "offer.upsell")

    def test_one_that_nobody_proposed(self) -> None:
        line = both(made(lambda c: [UPSELL, TIP]), "offer.other")
        assert line == (
            "Not 'offer.other': it was not among the candidates "
            "(offer.upsell about bandwidth, help.tip about transfers)."
        )

    def test_all_held_back(self) -> None:
        found = made(lambda c: [UPSELL])
        assert found.reason == "HELD_BACK"
        assert both(found, "offer.upsell").startswith("Not 'offer.upsell': held by privacy")


class TestRecords:
    def test_what_was_read(self) -> None:
        found = made(lambda c: "agent" if c.seen("ivr", "1h") else "bot", fact("call.started", "0s"))
        assert both(found, "agent") == "Not 'agent': seen('ivr', '1h') is False."
        assert both(found, "bot") == "q is 'bot'."

    def test_what_failed(self) -> None:
        assert both(made(lambda c: 1 // 0), "x").startswith("Not 'x': ZeroDivisionError")

    def test_candidates_are_written_with_scores_and_verdicts(self) -> None:
        found = made(lambda c: [UPSELL, TIP], scorer=lambda action, context: 0.25)
        details = details_of(found, answer_of(found), Basis(), "hub")[0]
        assert details["decided_by"] == "hub"
        assert [(c["kind"], c["score"]) for c in details["candidates"]] == [("offer.upsell", 0.25), ("help.tip", 0.25)]
        assert [v["guardrail"] for v in details["candidates"][0]["verdicts"] if v["kind"] == "BLOCK"] == ["consent"]

    def test_a_scorer_that_fails_is_told(self) -> None:
        found = made(lambda c: [TIP], scorer=lambda action, context: 1 // 0)
        assert "ZeroDivisionError" in details_of(found, answer_of(found), Basis())[0]["candidates"][0]["error"]

    def test_very_many_candidates_are_bounded(self) -> None:
        found = made(lambda c: [Action("help.tip", topic="x" * 30, channel=str(n)) for n in range(900)])
        assert len(details_of(found, answer_of(found), Basis())[0]["candidates"]) == 16

    @law(150)
    @given(facts=logs(), function=functions(), value=st.sampled_from(["offer.upsell", "mail.news", "call.back", "x"]))
    def test_the_record_says_what_the_decision_says(self, facts: list[Fact], function: Any, value: str) -> None:
        at = max([moment("0s"), *(f.occurred_at for f in facts)])
        found = decide(Question("q", function, "d"), context_of(fold(PLAN, facts), PLAN, at), "chat")
        plain = all(type(answer) in (bool, int, str, type(None)) for _, answer in found.reads)
        if plain and found.value == json.loads(json.dumps(found.value, default=str)):
            both(found, value)
        elif found.action is not None:
            both(found, found.action.kind)


def one(c: Context) -> str:
    """Says hello."""
    return "a" if c.seen("ivr") else "b"


class TestFunctionVersions:
    def test_it_changes_with_what_a_function_does_and_not_with_what_is_said_of_it(self) -> None:
        def other(c: Context) -> str:
            """Says something else."""
            # and has a comment
            return "a" if c.seen("ivr") else "b"

        def changed(c: Context) -> str:
            return "a" if c.seen("web") else "b"

        assert function_version(one) == function_version(other)
        assert len({function_version(f) for f in (one, changed)}) == 2
        assert len(function_version(one)) == 12

    def test_inner_functions_sets_and_defaults_count(self) -> None:
        def made_of(answer: str) -> Any:
            space: dict[str, Any] = {}
            exec(f"def f(c, x='{answer}'):\n return [y for y in 'ab' if y in {{'q', 'r'}}]", space)
            return space["f"]

        assert function_version(made_of("x")) == function_version(made_of("x"))
        assert function_version(made_of("x")) != function_version(made_of("y"))

    def test_wrapped_bound_and_partial_ones(self) -> None:
        class Team:
            def decide(self, c: Context) -> str:
                return "a"

            def __call__(self, c: Context) -> str:
                return "b"

        @wraps(one)
        def wrapper(*arguments: Any) -> Any:
            return one(*arguments)

        assert function_version(wrapper) == function_version(one)
        assert function_version(Team().decide) == function_version(Team.decide) != ""
        assert function_version(Team()) == function_version(Team.__call__)
        assert function_version(partial(one, 1)) != function_version(partial(one, 2)) != ""
        assert function_version(len) == ""
        assert function_version([].append) == ""  # type: ignore[arg-type]

    def test_it_is_the_same_in_every_process(self, tmp_path: Path) -> None:
        (tmp_path / "team.py").write_text(
            "def f(c, mark=object()):\n"
            "    return 'a' if c.count('ivr') in {1, 'x', 'yy', None} else [i for i in 'ab']\n"
            "if __name__ == '__main__':\n"
            "    from segue.domain.function_version import function_version\n"
            "    print(function_version(f))\n",
            encoding="utf-8",
        )
        said = {
            subprocess.run(
                [sys.executable, "team.py"], cwd=tmp_path, env={"PYTHONHASHSEED": str(seed)}, capture_output=True,
                text=True, check=True, timeout=60,
            ).stdout
            for seed in range(4)
        }  # fmt: skip
        assert len(said) == 1
        assert len(said.pop().strip()) == 12
