"""Wake-ups and heads over a long life: memory stays bounded, nobody is silenced, and what is folded stays right."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from segue.domain import section
from segue.domain.content import Content
from segue.domain.fact import Fact
from segue.domain.fold import fold
from segue.domain.plan import Plan
from segue.wire import facts_from_bytes
from segue_hub.services.contexts import Contexts
from segue_hub.services.head import FORK_EVERY, Head
from segue_hub.services.plans import Plans
from segue_hub.services.timers import Timers
from segue_hub.storage.memory import MemoryStore

from tests.building import BEGIN, fact, realistic

BOUND = 5 * FORK_EVERY
"""Facts in a head's tail at most, however long it lives: a few times what lies between two forks."""


def fired_by(timers: Timers, done: Callable[[], bool]) -> None:
    """Runs timers that are armed already until something holds."""

    async def run() -> None:
        timers.start()
        async with asyncio.timeout(5):
            while not done():  # noqa: ASYNC110  # asked each turn of the loop
                await asyncio.sleep(0)
        await timers.close()

    asyncio.run(run())


def test_a_wake_up_that_is_armed_again_and_again_fills_no_heap_and_every_one_fires_in_order() -> None:
    timers, fired, last = Timers(lambda: 10**9), [], 0

    def wake(name: str) -> Callable[[int], None]:
        return lambda at: fired.append((at, name))

    names = [f"customer {number}" for number in range(50)]
    for place, name in enumerate(names):
        timers.arm(name, 1000 + place * 7919 % 50, wake(name))
    for number in range(100_000):
        last = 2000 + (number * 31) % 997
        timers.arm("restless", last, wake("restless"))
    assert timers.pending == 51
    assert len(timers._heap) <= 2 * timers.pending + 65
    fired_by(timers, lambda: not timers.pending)
    due = [(1000 + place * 7919 % 50, name) for place, name in enumerate(names)] + [(last, "restless")]
    assert fired == sorted(due)
    assert not timers._heap


def test_one_wake_up_that_fails_silences_no_other() -> None:
    timers, fired = Timers(lambda: 10**9), []

    def fails(at: int) -> None:
        raise ZeroDivisionError

    timers.arm("first", 1, fired.append)
    timers.arm("broken", 2, fails)
    timers.arm("last", 3, fired.append)
    fired_by(timers, lambda: not timers.pending)
    assert fired == [1, 3]
    assert timers._task is not None
    assert timers._task.cancelled()


@pytest.mark.parametrize("turns", range(5))
def test_timers_that_are_closed_as_a_wake_up_is_armed_end(turns: int) -> None:
    """Counterexample (Python 3.11): a wait that ends in the turn in which it is cancelled swallows the cancellation."""

    async def act() -> None:
        timers = Timers(lambda: 0)
        timers.start()
        await asyncio.sleep(0)
        timers.arm("one", 10**9, lambda _: None)
        for _ in range(turns):
            await asyncio.sleep(0)
        async with asyncio.timeout(5):
            await timers.close()

    asyncio.run(act())


def transfers(count: int, first: int) -> list[Fact]:
    """Facts ten milliseconds apart."""
    return [
        fact("transfer.failed", BEGIN + (first + number) * 10_000, transfer_id=f"T{number % 3}")
        for number in range(count)
    ]


def told(content: Content, plan: Plan) -> object:
    return section.plain(content, plan)


@pytest.mark.parametrize("before", [3, FORK_EVERY, 12, 2 * FORK_EVERY, 20, 30])
def test_after_a_late_fact_a_heads_tail_stays_bounded_and_its_content_is_that_of_a_full_fold(before: int) -> None:
    plan = realistic()
    facts = transfers(before, 0)
    late = fact("help.searched", BEGIN + (before - 2) * 10_000 + 5_000)
    head = Head(Content(), 0, whole=True)
    assert all(head.apply(plan, each) for each in [*facts, late])
    longest = 0
    for each in transfers(600, before):
        facts.append(each)
        assert head.apply(plan, each)
        longest = max(longest, len(head._tail))
    assert longest <= BOUND
    assert told(head.content, plan) == told(fold(plan, sorted([*facts, late], key=lambda f: f.order)), plan)


def test_late_facts_now_and_then_leave_a_head_bounded_and_right() -> None:
    plan, head = realistic(), Head(Content(), 0, whole=True)
    facts: list[Fact] = []
    for number, each in enumerate(transfers(400, 0)):
        new = [each]
        if number % 11 == 10:
            new.append(fact("help.searched", BEGIN + number * 10_000 - 5_000))
        for one in new:
            facts.append(one)
            assert head.apply(plan, one)
            assert len(head._tail) <= BOUND
    assert told(head.content, plan) == told(fold(plan, sorted(facts, key=lambda f: f.order)), plan)


def test_the_head_that_nobody_asked_for_goes_first() -> None:
    store = MemoryStore()
    plans = Plans(store, lambda: BEGIN)
    contexts = Contexts(store, plans, facts_from_bytes, heads=3)

    def keep(customer: int) -> None:
        contexts._keep(customer, Head(Content(), 1, whole=True, checkpointed=1), plans.current)

    for customer in (1, 2, 3, 4):
        keep(customer)
    assert sorted(contexts._heads) == [2, 3, 4], "all were asked for, so the oldest"
    contexts.read(2)
    keep(5)
    assert sorted(contexts._heads) == [2, 4, 5]
    for customer in range(6, 60):
        contexts.read(2)
        keep(customer)
        assert 2 in contexts._heads
        assert len(contexts._heads) == 3
