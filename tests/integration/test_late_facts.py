"""Late facts in long lives: from the nearest fork or mark, and always what one fold of all facts gives (law 2)."""

from __future__ import annotations

import asyncio
import gc
import random
import tracemalloc
from collections.abc import Iterable
from typing import Any

import pytest
from segue.domain.content import Content
from segue.domain.fact import Fact
from segue.domain.fold import fold, step
from segue.domain.identifier import Identifier
from segue.domain.plan import Plan
from segue.domain.section import encode
from segue.wire import fact_to_bytes, facts_from_bytes
from segue_hub.services import head as head_module
from segue_hub.services.entry import Batch, Entry
from segue_hub.services.head import FORK_EVERY, MARK_EVERY, MARKS, NEAR, NEAR_EVERY, Head, head_of

from tests.building import MINUTE, plan
from tests.linking import FREE, Telling
from tests.restarting import Restarting, restarting

PLAN = plan()
ANN, COOKIE = Identifier("account", "A-1"), Identifier("cookie", "c")
TYPES = ("transfer.started", "transfer.details_entered", "transfer.completed", "help.searched", "call.started")


def life(chance: random.Random, count: int, telling: Telling) -> list[Fact]:
    """So many facts of one customer, a minute apart, some at the same instant."""
    return [
        telling.event(
            (number - number % 7 // 6) * MINUTE, chance.choice([ANN, ANN, COOKIE]), type_=chance.choice(TYPES),
            transfer_id=f"T{number // 40}",
        )
        for number in range(1, count)
    ]  # fmt: skip


def held(hub: Restarting) -> bytes:
    return hub.encoded(hub.customer(ANN))


def folded(hub: Restarting) -> bytes:
    """All facts of the log, by the one fold."""
    current = hub.hub.plans.current
    return encode(fold(current, hub.hub.contexts.facts(hub.customer(ANN))), current)


@pytest.mark.parametrize("seed", range(3))
def test_facts_late_by_any_distance_leave_what_one_fold_gives(seed: int) -> None:
    chance, telling = random.Random(seed), Telling("late")
    facts = life(chance, 3 * MARK_EVERY, telling)
    late = sorted(chance.sample(range(len(facts)), 60))
    with restarting(FREE) as hub:
        hub.publish([[telling.event(0, ANN, COOKIE)]])
        hub.publish([[fact for place, fact in enumerate(facts) if place not in late]])
        came = [facts[place] for place in late]
        chance.shuffle(came)
        for fact in came:
            hub.publish([[fact]])
            assert held(hub) == folded(hub)
        before = hub.hub.contexts.counts["refolds"]
        assert before >= 50
        hub.restart()
        assert held(hub) == folded(hub)


def test_a_late_fact_of_a_long_life_is_folded_from_a_mark_and_not_from_the_first_fact(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    chance, telling = random.Random(5), Telling("mark")
    facts = life(chance, 8 * MARK_EVERY, telling)
    with restarting(FREE) as hub:
        hub.publish([[telling.event(0, ANN, COOKIE)]])
        hub.publish([facts])
        contexts, decoded = hub.hub.contexts, []
        decode = contexts._decode

        def read(bodies: Iterable[bytes], only: Identifier | None = None) -> Iterable[Fact]:
            decoded.extend(bodies)
            return decode(decoded, only)

        monkeypatch.setattr(contexts, "_decode", read)
        hub.publish([[telling.event((len(facts) - 100) * MINUTE + 1, ANN)]])
        # Marks are dense there, but for the forks of the newest facts; and no fact is read that came before the mark.
        assert 100 < len(decoded) <= 100 + 2 * NEAR_EVERY + 3 * FORK_EVERY
        monkeypatch.undo()
        assert held(hub) == folded(hub)


@pytest.mark.parametrize("heads", [1, 100_000])
@pytest.mark.parametrize("seed", range(2))
def test_what_arrives_in_any_order_is_read_again_from_where_a_mark_says(seed: int, heads: int) -> None:
    """Marks are taken while facts of the future are folded already, of lives that go to disk and come back."""
    chance, telling = random.Random(seed), Telling("marks")
    facts = life(chance, 5 * MARK_EVERY, telling)
    shift = {0: 400.0, 1: -400.0, 2: 100.0, 3: -100.0}  # of one in fifty each: far too late, far too early ...
    places = [place + shift.get(chance.randrange(50), chance.uniform(0, 8)) for place in range(len(facts))]
    facts = [fact for _, fact in sorted(zip(places, facts, strict=True), key=lambda each: each[0])]
    with restarting(FREE, heads=heads) as hub:
        hub.publish([[telling.event(0, ANN, COOKIE)]])
        while facts:
            size = chance.choice([1, 1, 2, 7, 40])
            hub.publish([facts[:size]])
            del facts[:size]
            if chance.random() < 0.1:
                hub.publish([[telling.event(0, Identifier("account", "A-2"))]])
                hub.hub.contexts.read(hub.customer(Identifier("account", "A-2")))
            if chance.random() < 0.3:
                assert held(hub) == folded(hub)
        assert held(hub) == folded(hub)


def test_a_late_fact_before_the_mark_that_the_next_unit_brought_is_not_lost() -> None:
    """Both are committed before the first is folded: it is folded from a mark, and the other one lies before that."""
    chance, telling = random.Random(6), Telling("next unit")
    facts = life(chance, 4 * MARK_EVERY, telling)
    with restarting(FREE) as hub:
        hub.publish([[telling.event(0, ANN, COOKIE)]])
        hub.publish([facts])
        hub.content(hub.customer(ANN))
        later, earlier = telling.event(3 * MARK_EVERY * MINUTE, ANN), telling.event(MARK_EVERY * MINUTE // 2, ANN)

        async def act() -> None:
            ingest = hub.hub.ingest
            listener = ingest._listener
            assert listener is not None

            def write(fact: Fact) -> Any:
                batch = Batch([Entry(fact, fact_to_bytes(fact))], asyncio.Future(), 1)
                return ingest._writer.submit(ingest._write, [batch], []).result(5)

            units = [write(fact) for fact in (later, earlier)]
            for written in units:
                listener.resolved(written.resolved)
                listener.accepted(written.accepted)
                listener.settled(written.position)

        hub.run(act())
        assert held(hub) == folded(hub)
        assert hub.content(hub.customer(ANN)).facts == len(facts) + 3


def test_late_facts_that_are_told_at_once_are_folded_at_once() -> None:
    """Counterexample: of a month of calls, told in no order, each fact folded its customer anew: 4 minutes, not 1."""
    chance, telling = random.Random(8), Telling("at once")
    facts = life(chance, 4 * MARK_EVERY, telling)
    others = [telling.event(number * MINUTE, Identifier("account", "A-2")) for number in range(200)]
    late = [telling.event(chance.randrange(1, 3 * MARK_EVERY) * MINUTE, ANN) for _ in range(40)]
    late += [telling.event(chance.randrange(1, 150) * MINUTE, Identifier("account", "A-2")) for _ in range(40)]
    chance.shuffle(late)
    with restarting(FREE) as hub:
        hub.publish([[telling.event(0, ANN, COOKIE)]])
        for told in (facts, others):
            hub.publish([told])
        for name in (ANN, Identifier("account", "A-2")):
            hub.content(hub.customer(name))
        before = hub.hub.contexts.counts["refolds"]
        hub.publish([late])
        assert hub.hub.contexts.counts["refolds"] == before + 2
        assert held(hub) == folded(hub)
        assert hub.content(hub.customer(Identifier("account", "A-2"))).facts == 240
        assert hub.content(hub.customer(ANN)).facts == len(facts) + 41


@pytest.mark.parametrize("seed", range(3))
def test_facts_that_are_a_little_late_and_told_at_once_are_folded_from_a_fork_at_once(
    monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """Counterexample: of a year of incidents, told one by one, each fact folded the newest of its caller anew: it took
    68 s of the hub's processor, not 31.
    """
    chance, telling = random.Random(seed), Telling("a little late")
    facts = life(chance, 60, telling)
    late = [telling.event((48 + place // 2 + chance.randrange(12)) * MINUTE, ANN) for place in range(40)]
    with restarting(FREE) as hub:
        hub.publish([[telling.event(0, ANN, COOKIE)]])
        hub.publish([facts])
        hub.content(hub.customer(ANN))
        steps = []

        def stepping(content: Content, plan: Plan, fact: Fact) -> None:
            steps.append(fact)
            step(content, plan, fact)

        monkeypatch.setattr(head_module, "step", stepping)
        before = dict(hub.hub.contexts.counts)
        hub.publish([late])
        counts = hub.hub.contexts.counts
        assert counts["refolds"] == before["refolds"], "from a fork"
        assert counts["late"] + counts["steps"] - before["late"] - before["steps"] == len(late)
        assert len(steps) < 5 * len(late), "each of them alone folds some sixteen"
        monkeypatch.undo()
        assert held(hub) == folded(hub)
        heads = hub.hub.contexts._heads
        assert heads.weight == sum(head.weight for head in heads.values())


@pytest.mark.parametrize("seed", range(5))
def test_small_inversions_are_never_folded_from_the_first_fact(seed: int) -> None:
    chance, telling = random.Random(seed), Telling("inversions")
    facts = life(chance, 2_000, telling)
    facts = [fact for place, fact in sorted((place + chance.uniform(0, 8), fact) for place, fact in enumerate(facts))]
    head = Head(Content(), 0, whole=True)
    assert {head.apply(PLAN, fact) for fact in facts} == {"steps", "late"}
    assert encode(head.content, PLAN) == encode(fold(PLAN, facts), PLAN)


def test_a_life_that_comes_backwards_behind_a_fact_of_the_future_is_folded_right() -> None:
    """The newest fact's clock is ahead: everything after it is late by one, without an end."""
    telling = Telling("ahead")
    ahead = telling.event(10_000 * MINUTE, ANN)
    facts = [telling.event(number * MINUTE, ANN, type_="call.started") for number in range(1, 500)]
    head = Head(Content(), 0, whole=True)
    ways = [head.apply(PLAN, fact) for fact in (ahead, *facts)]
    assert ways == ["steps"] + ["late"] * len(facts)
    assert encode(head.content, PLAN) == encode(fold(PLAN, [ahead, *facts]), PLAN)


def test_the_marks_of_a_very_long_life_are_bounded() -> None:
    telling = Telling("long")
    facts = [telling.event(number * 1_000_000, ANN) for number in range(1, (MARKS + 8) * MARK_EVERY)]
    head = head_of(PLAN, list(enumerate(facts, 1)), [(ANN, 0)])
    assert MARKS // 2 <= len(head._marks) <= MARKS + NEAR
    counts = [mark.facts for mark in head._marks]
    assert counts == sorted(set(counts))
    for more in range(MARKS * MARK_EVERY // 4):
        head.apply(PLAN, telling.event(len(facts) * 1_000_000 + more + 2_000_000, ANN))
        assert len(head._marks) <= MARKS + NEAR
    near = [head.content.facts - mark.facts for mark in head._marks[-NEAR:]]
    assert near == sorted(near, reverse=True)
    assert near[0] <= (NEAR + 1) * (NEAR_EVERY + FORK_EVERY)
    head = head_of(PLAN, list(enumerate(facts, 1)), [(ANN, 0)])
    assert (head.position, head.content.facts) == (len(facts), len(facts))
    assert encode(head.content, PLAN) == encode(fold(PLAN, facts), PLAN)


def test_a_statement_among_the_newest_facts_does_not_break_their_order() -> None:
    """It selects and is not folded: a later retraction, then facts before and around it."""
    telling = Telling("statement")
    facts = [
        telling.event(12 * MINUTE, ANN),
        telling.say("retraction", 17 * MINUTE, ANN, COOKIE),
        telling.fact("trait", "value_tier", 13 * MINUTE, [ANN], value="low"),
        telling.event(19 * MINUTE, ANN),
        telling.fact("trait", "value_tier", 16 * MINUTE, [ANN], value="high"),
    ]
    with restarting(FREE) as hub:
        for fact in facts:
            hub.publish([[fact]])
        assert hub.content(hub.customer(ANN)).traits["value_tier"].value == "high"
        assert held(hub) == folded(hub)


def test_a_long_life_takes_no_more_memory_than_its_weight_says() -> None:
    """What heads take together is bounded by their weights, so forks and marks have to be in them."""
    telling = Telling("heavy")
    facts = [telling.event(number * 1_000_000, ANN) for number in range(1, 6_000)]
    bodies = [fact_to_bytes(fact) for fact in facts]
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        lives = []
        for _ in range(5):
            head = head_of(PLAN, list(enumerate(facts_from_bytes(bodies), 1)), [(ANN, 0)])
            for more in range(300):
                fact = telling.event((len(facts) + more + 1) * 1_000_000, ANN)
                assert head.apply(PLAN, fact)
            lives.append(head)
        gc.collect()
        taken = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert len(lives[0]._marks) > 20
    assert taken < 5 * 6_000 * 450 / 10, "most of a life is on the disk"
    assert taken < sum(head.heft for head in lives) * 900
