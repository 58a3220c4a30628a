"""The vectors of identity: who is one, as every implementation has to say. Read from the JSON alone."""

from __future__ import annotations

import itertools
import json
import random
from typing import Any

import pytest
from segue.domain.identifier import Identifier, IdentifierKind, IdentifierKinds
from segue_hub.storage.memory import MemoryStore

from tests.conformance.identity_cases import CASES, document, facts_of, kinds_of, outcome
from tests.conformance.make_vectors import IDENTITY, text

VECTORS: dict[str, Any] = json.loads(IDENTITY.read_text(encoding="utf-8"))


@pytest.mark.parametrize("case", VECTORS["cases"], ids=lambda case: case["name"])
def test_the_customers_are_those_in_any_order(case: dict[str, Any]) -> None:
    facts, wanted = facts_of(case), {name: case[name] for name in ("customers", "refused")}
    orders = itertools.permutations(facts) if len(facts) < 6 else (facts, facts[::-1])
    for arrived in orders:
        assert outcome(case, list(arrived)) == wanted


@pytest.mark.parametrize("case", VECTORS["cases"], ids=lambda case: case["name"])
def test_a_hub_says_the_same(case: dict[str, Any]) -> None:
    from segue.domain.plan import Plan

    from tests.lives import Lives

    plan = Plan({"identifiers": case["kinds"], "identifiers_per_customer": case["most"], "blocked": []})
    for seed in range(4):
        world, facts = Lives(MemoryStore(), plan), facts_of(case)
        random.Random(seed).shuffle(facts)
        for fact in facts:
            world.take([fact])
        kinds = kinds_of(case)
        found = sorted(
            sorted((*kinds.strength(name), since) for name, since, _ in customer) for customer in world.everybody()
        )
        assert [[_shown(*name) for name in customer] for customer in found] == case["customers"]
        refused = {(one[0], one[1], one[3]) for one in case["refused"] if one[3] != "RETRACTED"}
        counted = world.store.verdicts()
        assert {verdict for _, _, verdict in refused} == set(counted) - {"RETRACTED"}


def _shown(priority: int, kind: str, value: str, since: int) -> str:
    return f"{kind}={value}@{since}" if since else f"{kind}={value}"


@pytest.mark.parametrize("case", VECTORS["normal"], ids=lambda case: case["given"].strip())
def test_values_are_compared_in_their_normal_form(case: dict[str, Any]) -> None:
    rule = IdentifierKind(priority=1, normalise=case["normalise"], region=case.get("region", ""))
    kinds = IdentifierKinds({"k": rule})
    normal = kinds.normal(Identifier("k", case["given"]))
    assert normal.value == case["normal"]
    assert kinds.normal(normal) == normal, "bringing to the form again changes nothing"


def test_the_file_is_what_the_generator_writes() -> None:
    assert IDENTITY.read_text(encoding="utf-8") == text(document())
    assert [case["name"] for case in VECTORS["cases"]] == [case["name"] for case in CASES]
