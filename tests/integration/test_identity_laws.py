"""The laws of identity over a real hub: who is one depends on what was said, not on when it came (ID1 to ID4, VE1).

Seeded histories of `tests.linking`; the oracle is its naive rule, and networkx alone where no limit bites. Each law
runs so many seeds as `SEGUE_SEEDS` says (a few where it says nothing), from the one that `SEGUE_SEED` names.
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
from segue.domain.consent import in_force
from segue.domain.fact import Fact
from segue.domain.identifier import Identifier
from segue.domain.plan import Plan

from tests.building import MINUTE
from tests.linking import FREE, LIMITED, People, Telling, agreed, arrived, folded, history, people, told
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
    """By customer, what is known but for how many links were counted, and what was told of the mistakes themselves."""
    found = {}
    for members, number in hub.customers().items():
        plain = json.loads(hub.encoded(number))
        plain["envelope"][1:3] = []
        for name in ("apart", "begins", "identity", "retracted"):  # who she is, is the key
            plain.pop(name, None)
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
    """ID2: who is one, journeys, tallies, traits and activity; what was agreed has laws of its own."""
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


def consents(hub: Restarting, wanted: People) -> list[tuple[str, str]]:
    """By customer, what the hub says is agreed, and what ID4 says."""
    kinds = hub.hub.plans.current.kinds
    return [
        (in_force(hub.content(number).consents.get("marketing")), agreed(wanted, members, kinds))
        for members, number in hub.customers().items()
    ]


@pytest.mark.timeout(0 if LONG else 120)
def test_a_consent_binds_what_is_linked_at_its_time_whatever_is_merged_later() -> None:
    for _, chance in seeds(40):
        document = LIMITED[chance.randrange(len(LIMITED))]
        facts = history(chance, chance.randrange(3, 30), people(chance.choice([1, 2])),
                        spoken=chance.choice([0.0, 0.3]))  # fmt: skip
        with restarting(document) as hub:
            for batch in arrived(chance, facts):
                hub.publish([batch])
            said = consents(hub, told(facts, hub.hub.plans.current.kinds))
            assert [mine for mine, _ in said] == [ruled for _, ruled in said]


@pytest.mark.timeout(0 if LONG else 120)
def test_a_merge_never_widens_what_was_agreed() -> None:
    """ID4: whoever refused on either side has refused."""
    merged = 0
    for _, chance in seeds(40):
        document = LIMITED[chance.randrange(len(LIMITED))]
        pool, telling = people(2), Telling("merge")
        facts = history(chance, chance.randrange(10, 30), pool)
        with restarting(document) as hub:
            hub.publish([facts])
            for _ in range(6):
                before = {number: in_force(hub.content(number).consents.get("marketing"))
                          for number in hub.customers().values()}  # fmt: skip
                pair = chance.sample(pool, 2)
                if not all(hub.hub.contexts.find(name) for name in pair):
                    continue
                old = {hub.customer(name) for name in pair}
                whole = frozenset[Any]().union(*(span for span, number in hub.customers().items() if number in old))
                hub.publish([[telling.link(31 * MINUTE, *pair)]])
                now = {hub.customer(name) for name in pair}
                if len(now) == 1 < len(old) and whole in hub.customers():
                    merged += 1
                    after = in_force(hub.content(now.pop()).consents.get("marketing"))
                    assert RESTRICTION[after] >= max(RESTRICTION[before[number]] for number in old)
    assert merged >= 10


@pytest.mark.timeout(0 if LONG else 120)
def test_a_separation_keeps_two_apart_whatever_links_them_before_or_after() -> None:
    """ID2: at no moment after it was said, by whichever path, until it is taken back."""
    for _, chance in seeds(40):
        document = FREE if chance.random() < 0.5 else LIMITED[chance.randrange(len(LIMITED))]
        pool, telling = people(2), Telling("veto")
        one, other = chance.sample(pool, 2)
        veto = telling.say("separation", chance.randrange(1, 40) * MINUTE, one, other)
        facts = history(chance, 25, pool, spoken=0.0)
        place = chance.randrange(len(facts))
        with restarting(document) as hub:
            hub.publish([facts[:place], [veto]])
            for later in facts[place:]:
                hub.publish([[later]])
                if chance.random() < 0.1:
                    hub.restart()
                if hub.hub.contexts.find(one) and hub.hub.contexts.find(other):
                    assert hub.customer(one) != hub.customer(other)
            same(hub, [*facts, veto])
            hub.publish([[telling.say("retraction", 50 * MINUTE, one, other, of=veto)]])
            plain = told(facts, hub.hub.plans.current.kinds)
            missing = {name for name in (one, other) if not any(name in fact.identifiers for fact in facts)}
            assert {part for part in hub.customers() if not {name for name, _ in part} <= missing} == set(
                plain.customers
            )


def test_a_link_that_was_taken_back_binds_no_consent() -> None:
    """ID2, ID4: it never was, so who refused while they were two has refused, also when another link makes them one."""
    telling = Telling("ghost")
    one, other, cookie = Identifier("account", "A"), Identifier("email", "e"), Identifier("cookie", "c")
    mistake = telling.link(2 * MINUTE, one, other)
    facts = [
        telling.consent(1 * MINUTE, "denied", other),
        mistake,
        telling.consent(3 * MINUTE, "granted", one),
        telling.say("retraction", 4 * MINUTE, one, other, of=mistake),
        telling.event(5 * MINUTE, one, cookie),
        telling.event(6 * MINUTE, other, cookie),
    ]
    with restarting(LIMITED[0]) as hub:
        hub.publish([[fact] for fact in facts])
        assert hub.customer(one) == hub.customer(other)
        assert in_force(hub.content(hub.customer(one)).consents["marketing"]) == "denied"


def test_what_was_said_of_a_recycled_number_while_it_was_nobodys_is_not_overruled_by_its_former_owner() -> None:
    """ID2, ID4: the number comes back to her at the end; what was refused for it meanwhile stays refused."""
    telling = Telling("gap")
    one, number = Identifier("account", "A"), Identifier("phone", "555")
    facts = [
        telling.event(1 * MINUTE, one, number),
        telling.say("ending", 3 * MINUTE, one, number),
        telling.consent(4 * MINUTE, "denied", number),
        telling.consent(6 * MINUTE, "granted", one),
        telling.event(8 * MINUTE, one, number),
    ]
    with restarting(LIMITED[0]) as hub:
        hub.publish([[fact] for fact in facts])
        assert hub.customer(one) == hub.customer(number)
        assert in_force(hub.content(hub.customer(one)).consents["marketing"]) == "denied"


@pytest.mark.parametrize("order", ["as it happened", "backwards", "shuffled", "one batch"])
def test_a_recycled_number_brings_nobody_the_past_of_who_had_it_before(order: str) -> None:
    """ID2: what the number did before the ending stays with the old owner; after it, it is the new owner's."""
    telling = Telling("recycled")
    old, new, number = Identifier("account", "old"), Identifier("account", "new"), Identifier("phone", "555")
    before = [
        telling.event(1 * MINUTE, old, number),
        telling.event(2 * MINUTE, number, type_="transfer.started", transfer_id="T1"),
        telling.consent(3 * MINUTE, "withdrawn", number),
    ]
    after = [
        telling.event(11 * MINUTE, number, type_="transfer.completed", transfer_id="T1"),
        telling.consent(12 * MINUTE, "granted", number),
        telling.event(13 * MINUTE, new, number),
    ]
    ending = telling.say("ending", 10 * MINUTE, old, number)
    last = telling.event(14 * MINUTE, old, type_="call.started")
    facts = [*before, ending, *after, last]
    if order == "backwards":
        facts.reverse()
    if order == "shuffled":
        random.Random(3).shuffle(facts)
    with restarting(LIMITED[0]) as hub:
        hub.publish([facts] if order == "one batch" else [[fact] for fact in facts])
        same(hub, facts)
        theirs, hers = hub.content(hub.customer(old)), hub.content(hub.customer(new))
        assert hub.customer(number) == hub.customer(new) != hub.customer(old)
        assert (theirs.facts, hers.facts) == (4, 3)
        assert list(theirs.journeys) == [("money_transfer", "T1")]
        assert hers.journeys == {}
        assert hers.tallies["money_transfer"].orphan_goals == 1
        assert in_force(theirs.consents["marketing"]) == "withdrawn"
        assert in_force(hers.consents["marketing"]) == "granted"
        taken_back = telling.say("retraction", 15 * MINUTE, old, number, of=ending)
        hub.publish([[taken_back]])
        assert hub.customer(number) == hub.customer(old) != hub.customer(new)
        assert hub.content(hub.customer(old)).facts == 6
        same(hub, [*facts, taken_back])


@pytest.mark.parametrize("seed", range(4))
def test_who_was_anonymous_first_has_her_whole_past_at_login(seed: int) -> None:
    chance, telling = random.Random(seed), Telling("login")
    cookie, account = Identifier("cookie", "c"), Identifier("account", "A-1")
    past = [telling.event(n * MINUTE, cookie, type_="transfer.started", transfer_id=f"T{n}") for n in range(1, 9)]
    known = [telling.event(n * MINUTE + 1, account, type_="call.started") for n in range(1, 6)]
    login = telling.event(20 * MINUTE, account, cookie, type_="help.searched")
    facts = [*past, *known]
    chance.shuffle(facts)
    with restarting(LIMITED[0], heads=chance.choice([2, 100_000])) as hub:
        hub.publish([[fact] for fact in facts])
        assert hub.customer(cookie) != hub.customer(account)
        seen = max(hub.version(hub.customer(name)) for name in (cookie, account))
        hub.publish([[login]])
        assert hub.customer(cookie) == hub.customer(account)
        assert hub.content(hub.customer(account)).facts == len(facts) + 1
        assert len(hub.content(hub.customer(account)).journeys) == len(past)
        assert hub.version(hub.customer(account)) > seen
        same(hub, [*facts, login])
