"""The vectors of fold, derivation and guardrails: what every implementation of Segue's laws must give.

Each is run as another language would: from its JSON alone. `claims` are what was reasoned by hand; the rest is held
still, so that a change of meaning shows as a changed file.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from segue.domain.fact import check
from segue.domain.fold import fold
from segue.domain.section import content_of, plain

from tests.conformance.make_vectors import (
    CASES,
    IDENTITY,
    VECTORS,
    derivation,
    plan_of,
    read_fact,
    text,
    vector,
    verdicts,
)

FILES = sorted(path for path in VECTORS.glob("*.json") if path != IDENTITY)


def same(plain: Any) -> Any:
    """Plain data as JSON tells it: no tuples."""
    return json.loads(json.dumps(plain))


@pytest.fixture(params=FILES, ids=lambda path: path.stem)
def case(request: pytest.FixtureRequest) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(request.param.read_text(encoding="utf-8"))
    return found


def test_the_fold_gives_the_sections_in_any_order_of_arrival(case: dict[str, Any]) -> None:
    plan, facts = plan_of(case), [read_fact(body) for body in case["facts"]]
    for fact in facts:
        check(fact)
    for arrived in (facts, facts[::-1], facts[1::2] + facts, sorted(facts, key=lambda fact: fact.id[::-1])):
        assert same(plain(fold(plan, arrived), plan)) == case["sections"]


def test_sections_read_and_written_are_the_same(case: dict[str, Any]) -> None:
    assert same(plain(content_of(case["sections"]), plan_of(case))) == case["sections"]


def test_derivations_and_verdicts_are_those_of_the_sections_alone(case: dict[str, Any]) -> None:
    plan, content = plan_of(case), content_of(case["sections"])
    for wanted in case["derivations"]:
        assert derivation(content, plan, wanted["at"]) == wanted
    for wanted in case["verdicts"]:
        assert same(verdicts(content, plan, wanted["at"], wanted["action"])) == wanted


def test_what_was_reasoned_by_hand_holds(case: dict[str, Any]) -> None:
    claims = dict(case["claims"])
    running, ended, tallies = case["sections"]["journeys"]
    if "running" in claims:
        assert [journey[:2] for journey in running] == claims.pop("running")
    if "ended" in claims:
        found, wanted = [[*journey[:2], *journey[-2:]] for journey in ended], claims.pop("ended")
        if claims.pop("ended_in_any_order", False):
            found, wanted = sorted(found), sorted(wanted)
        assert found == wanted
    if "orphans" in claims:
        assert {name: tally[-1] for name, tally in tallies.items() if tally[-1]} == claims.pop("orphans")
    if "interactions" in claims:
        assert {journey[1]: journey[7] for journey in running} == claims.pop("interactions")
    members = {found["at"]: found["members"] for found in case["derivations"]}
    for at, wanted in claims.pop("members", ()):
        assert members[at] == wanted
    for at, kind, guardrail, verdict, until in claims.pop("held", ()):
        (said,) = (each for each in case["verdicts"] if (each["at"], each["action"]["kind"]) == (at, kind))
        assert said["verdicts"][guardrail][:2] == [verdict, until]
    assert not claims, "a claim that nobody reads"


def test_flips_lie_ahead(case: dict[str, Any]) -> None:
    assert all(found["flips_at"] > found["at"] for found in case["derivations"])


@pytest.mark.parametrize("name", CASES)
def test_the_files_are_what_the_generator_writes(name: str) -> None:
    assert (VECTORS / f"{name}.json").read_text(encoding="utf-8") == text(vector(CASES[name]))


def test_there_is_a_file_for_every_case_and_a_case_for_every_file() -> None:
    assert {path.stem for path in FILES} == set(CASES)
