"""The laws of identity over a real hub: who is one depends on what was said, not on when it came (ID1 to ID4, VE1).

Seeded histories of `tests.linking`; the oracle is its naive rule, and networkx alone where no limit bites. So many seeds
of each law run as `SEGUE_SEEDS` says (a few where it says nothing), from the one that `SEGUE_SEED` names.
"""

from __future__ import annotations

import json
import os
import random
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import networkx as nx
import pytest
from segue.domain.fact import EVENT, STATEMENTS, Fact
from segue.domain.identifier import Identifier
from segue.domain.plan import Plan

from tests.building import MINUTE
from tests.linking import FREE, LIMITED, Telling, agreed, arrived, folded, history, people, told
from tests.restarting import Restarting, restarting

PLANS = [Plan(document) for document in LIMITED]
FIRST = int(os.environ.get("SEGUE_SEED", "0"))
LONG = int(os.environ.get("SEGUE_SEEDS", "0"))
RESTRICTION = {"": 0, "granted": 0, "denied": 1, "withdrawn": 2}


def seeds(few: int) -> Iterable[tuple[int, random.Random]]:
    """Seeds and their chance; the one that failed is the last that was printed."""
    for seed in range(FIRST, FIRST + (LONG or few)):
        print(f"SEGUE_SEED={seed}")
        yield seed, random.Random(seed)


def same(hub: Restarting, facts: Sequence[Fact], seen: dict[Identifier, tuple[int, int, bytes]] | None = None) -> None:
    """The hub's customers and contents are those of the naive rule; what somebody saw change has a higher version."""
    plan = hub.hub.plans.current
    wanted, found = told(facts, plan.kinds), hub.customers()
    assert set(found) == set(wanted.customers)
    for members, number in found.items():
        content, version = hub.encoded(number), hub.version(number)
        assert content == folded(plan, members, wanted.customers[members]), f"customer {number}: {sorted(members)}"
        for name, _ in members:
            if seen is not None and hub.customer(name) == number:
                before = seen.get(name, (-1, number, content))
                risen = version > before[0] if (number, content) != before[1:] else version >= before[0]
                assert risen, f"{name} had version {before[0]} and has {version}"
                seen[name] = (version, number, content)


@pytest.mark.timeout(0 if LONG else 120)
@pytest.mark.parametrize("kept", ["memory", "sqlite"])
def test_any_arrival_with_reads_and_restarts_between_makes_the_customers_of_the_rule(tmp_path: Path, kept: str) -> None:
    for seed, chance in seeds(60 if kept == "memory" else 15):
        number = chance.randrange(len(PLANS))
        facts = history(
            chance, chance.randrange(3, 40), people(chance.choice([1, 2, 3])), spoken=chance.choice([0.1, 0.5])
        )
        path = tmp_path / f"{seed}.db" if kept == "sqlite" else None
        restarts = chance.random() < 0.5
        with restarting(LIMITED[number], path, heads=chance.choice([2, 100_000])) as hub:
            came: list[Fact] = []
            seen: dict[Identifier, tuple[int, int, bytes]] = {}
            for batch in arrived(chance, facts):
                hub.publish([batch])
                came += batch
                if chance.random() < 0.5:
                    same(hub, came, seen)
                if restarts and chance.random() < 0.4:
                    hub.restart()
            same(hub, facts, seen)
            assert list(hub.hub.store.check()) == []


@pytest.mark.timeout(0 if LONG else 120)
def test_batches_that_are_sent_at_once_make_them_too() -> None:
    for _, chance in seeds(40):
        number = chance.randrange(len(PLANS))
        facts = history(chance, chance.randrange(3, 60), people(chance.choice([1, 2, 3])))
        with restarting(LIMITED[number], heads=chance.choice([2, 100_000])) as hub:
            hub.publish(arrived(chance, facts))
            same(hub, facts)


@pytest.mark.timeout(0 if LONG else 120)
def test_where_no_limit_bites_customers_are_the_connected_components() -> None:
    for _, chance in seeds(30):
        facts = history(chance, chance.randrange(3, 80), people(chance.choice([3, 8])), spoken=0.0)
        graph = nx.Graph()
        for fact in facts:
            graph.add_nodes_from(fact.identifiers)
            graph.add_edges_from((fact.identifiers[0], other) for other in fact.identifiers[1:])
        with restarting(FREE, heads=chance.choice([2, 100_000])) as hub:
            hub.publish(arrived(chance, facts))
            found = {frozenset(name for name, _ in members) for members in hub.customers()}
            assert found == {frozenset(part) for part in nx.connected_components(graph)}
            same(hub, facts)


def without_counts(hub: Restarting) -> dict[Any, Any]:
    """By customer, what is known but for how many links were counted."""
    found = {}
    for members, number in hub.customers().items():
        plain = json.loads(hub.encoded(number))
        plain["envelope"][1:3] = []
        plain.pop("apart", None)
        found[members] = plain
    return found


def with_mistakes(
    chance: random.Random, facts: list[Fact], pool: Sequence[Identifier]
) -> tuple[list[Fact], list[Fact]]:
    """The facts with everybody seen alone once, and links by mistake with what takes them back."""
    telling = Telling("mistakes")
    alone = [telling.event(chance.randrange(1, 30) * MINUTE, name) for name in pool]
    mistakes = []
    for _ in range(chance.choice([1, 2, 3])):
        pair = chance.sample(list(pool), 2)
        link = telling.link(chance.randrange(1, 30) * MINUTE + 1, *pair)
        mistakes += [link, telling.say("retraction", chance.randrange(1, 30) * MINUTE, *pair, of=link)]
    return [*facts, *alone], mistakes


@pytest.mark.timeout(0 if LONG else 120)
def test_who_was_merged_by_mistake_and_taken_apart_is_as_if_it_had_never_been_so() -> None:
    """ID2: journeys, tallies, traits and activity, and who is one; what was agreed has a law of its own."""
    for _, chance in seeds(40):
        document = LIMITED[chance.randrange(len(LIMITED))]
        pool = people(chance.choice([1, 2, 3]))
        facts = [fact for fact in history(chance, chance.randrange(3, 30), pool) if fact.kind != "consent"]
        facts, mistakes = with_mistakes(chance, facts, pool)
        with restarting(document) as hub, restarting(document) as other:
            for batch in arrived(chance, [*facts, *mistakes]):
                hub.publish([batch])
            other.publish([facts])
            assert without_counts(hub) == without_counts(other)
