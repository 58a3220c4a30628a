"""Whatever is live, let go of, written or left to whoever asks: a context is the fold of its customer's facts.

A hub's services on a real SQLite file; one to three customers live, so that contexts are frozen and thawed again and
again.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from segue.domain.fact import Fact
from segue.domain.fold import fold
from segue.domain.grant import everything
from segue.domain.identifier import Identifier, parse_identifier
from segue.domain.section import encode
from segue_hub.app import Hub
from segue_hub.services import checkpoint_queue, live_heads
from segue_hub.services.thrift import EAGER, USUAL, Thrift
from segue_hub.settings import Settings
from segue_hub.storage.sqlite import SqliteStore

from tests.building import SKETCH, document
from tests.calling import event

BEGIN = 1_772_442_000_000_000
MINUTE = 60_000_000
GRANT = everything("desk")


async def eventually(condition: Callable[[], bool]) -> None:
    """Waits until a condition holds, and lets the hub work meanwhile."""
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110  # many things end it
            await asyncio.sleep(0.002)


class Workshop:
    """A hub without anybody connected, and what it was told."""

    def __init__(self, hub: Hub) -> None:
        self.hub = hub
        self._ordinal = 0

    def fact(self, *names: str, late: int = 0) -> Fact:
        self._ordinal += 1
        at = BEGIN + (self._ordinal - late) * MINUTE
        return event("x", *names, at=at, channel="web", seq=self._ordinal)

    async def tell(self, *facts: Fact) -> None:
        results = await self.hub.ingest.publish(list(facts), GRANT)
        assert {result.status for result in results} == {"ACCEPTED"}

    def held(self, name: Identifier) -> bytes:
        known = self.hub.contexts.find(name)
        assert known is not None
        return encode(self.hub.contexts.read(known.customer).content, self.hub.plans.current)

    def folded(self, name: Identifier) -> bytes:
        """By one fold of all facts of the customer in the log, with nothing that is kept beside it."""
        known = self.hub.contexts.find(name)
        assert known is not None
        plan = self.hub.plans.current
        return encode(fold(plan, self.hub.contexts.facts(known.customer)), plan)

    def wrong(self) -> list[int]:
        """Customers who are held to be something else than the fold of their facts."""
        contexts = self.hub.contexts
        names = [(customer, contexts.identifiers(customer)[0]) for customer in contexts.customers()]
        return [customer for customer, name in names if self.held(name) != self.folded(name)]


def run(path: Path, act: Callable[[Workshop], Coroutine[Any, Any, None]], heads: int, thrift: Thrift) -> None:
    async def whole() -> None:
        settings = Settings(insecure=True, heads=heads, port=0, http_port=None)
        hub = Hub(settings, lambda: BEGIN + 10_000 * MINUTE, SqliteStore(path))
        hub.contexts._thrift = thrift
        await hub.start()
        await hub.plans.push(document(SKETCH), {}, "test", "")
        try:
            await act(Workshop(hub))
        finally:
            await hub.stop(grace=0.0)

    asyncio.run(whole())


@pytest.mark.parametrize("thrift", [EAGER, USUAL, Thrift(cold=2, few=2, many=4)], ids=["eager", "usual", "between"])
@pytest.mark.parametrize("heads", [1, 3])
def test_whoever_is_let_go_of_when_contexts_are_the_fold_of_their_facts(
    tmp_path: Path, heads: int, thrift: Thrift
) -> None:
    chance = random.Random(heads)

    async def act(workshop: Workshop) -> None:
        for _ in range(60):
            facts = []
            for _ in range(chance.choice((1, 2, 12))):
                names = [f"cookie=c{chance.randrange(9)}"]
                if chance.random() < 0.03:
                    names.append(f"account=a{chance.randrange(4)}")  # who was two may be one from now on
                facts.append(workshop.fact(*names, late=chance.choice((0, 0, 0, 3, 40))))
            await workshop.tell(*facts)
            if chance.random() < 0.5:
                name = facts[0].identifiers[0]
                assert workshop.held(name) == workshop.folded(name)
        assert workshop.wrong() == []

    async def again(workshop: Workshop) -> None:
        assert workshop.wrong() == []

    run(tmp_path / "segue.db", act, heads, thrift)
    run(tmp_path / "segue.db", again, heads, thrift)


def test_a_fact_of_somebody_who_is_not_live_is_left_to_whoever_asks(tmp_path: Path) -> None:
    async def act(workshop: Workshop) -> None:
        await workshop.tell(workshop.fact("cookie=a"))
        await workshop.tell(workshop.fact("cookie=b"))  # pushes the other out
        before = dict(workshop.hub.contexts.counts)
        await workshop.tell(*(workshop.fact("cookie=a") for _ in range(5)))
        counts = workshop.hub.contexts.counts
        assert counts["deferred"] == before["deferred"] + 5
        assert counts["loads"] == before["loads"]
        known = workshop.hub.contexts.find(parse_identifier("cookie=a"))
        assert known is not None
        assert workshop.hub.contexts.read(known.customer).content.facts == 6

    run(tmp_path / "segue.db", act, 1, Thrift(cold=1_000_000))


def test_who_falls_behind_is_caught_up_with_and_written_though_nobody_asks(tmp_path: Path) -> None:
    async def act(workshop: Workshop) -> None:
        await workshop.tell(workshop.fact("cookie=a"))
        await workshop.tell(workshop.fact("cookie=b"))
        for _ in range(8):
            await workshop.tell(workshop.fact("cookie=a"), workshop.fact("cookie=b"))
        contexts, store = workshop.hub.contexts, workshop.hub.store
        await eventually(lambda: not contexts.behind)
        for name in ("a", "b"):
            known = contexts.find(parse_identifier(f"cookie={name}"))
            assert known is not None
            contexts.read(known.customer)
        await workshop.tell(workshop.fact("cookie=z"), workshop.fact("cookie=y"))
        await workshop.tell(workshop.fact("cookie=x"))
        assert store.counts()["checkpoints"] >= 2
        assert workshop.wrong() == []

    run(tmp_path / "segue.db", act, 1, Thrift(cold=2, few=2, many=64))


def test_checkpoints_that_wait_are_bounded_and_written_though_no_facts_come(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoint_queue, "TAKEN", 4)
    monkeypatch.setattr(checkpoint_queue, "WAITING", 12)
    customers = [f"cookie=c{number}" for number in range(60)]

    async def fill(workshop: Workshop) -> None:
        for name in customers:
            await workshop.tell(*(workshop.fact(name) for _ in range(3)))

    async def read(workshop: Workshop) -> None:
        contexts, store = workshop.hub.contexts, workshop.hub.store
        assert store.counts()["checkpoints"] == 0, "few facts are rather folded again"
        for name in customers:
            workshop.held(parse_identifier(name))
            assert len(contexts.queue) <= 12
        # Nobody tells anything: those beyond the bound of a unit are written all the same.
        await eventually(lambda: len(contexts.queue) <= 4 and store.counts()["checkpoints"] >= 8)
        assert workshop.wrong() == []

    run(tmp_path / "segue.db", fill, 100, Thrift(few=4))
    run(tmp_path / "segue.db", read, 1, Thrift(few=2))


def test_what_lives_hold_together_is_bounded_not_only_how_many_there_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_heads, "WEIGHT", 100)

    async def act(workshop: Workshop) -> None:
        for number in range(20):
            await workshop.tell(workshop.fact(f"cookie=c{number}"))
        few = len(workshop.hub.contexts._heads)
        assert 10 <= few <= 12, "seven each"
        for _ in range(30):
            await workshop.tell(*(workshop.fact(f"cookie=c{number}") for number in range(20)))
        contexts = workshop.hub.contexts
        assert 1 <= len(contexts._heads) < few
        assert contexts._heads.weight == sum(head.weight for head in contexts._heads.values())
        assert workshop.wrong() == []

    async def roomy(workshop: Workshop) -> None:
        for _ in range(31):
            await workshop.tell(*(workshop.fact(f"cookie=r{number}") for number in range(20)))
        assert len(workshop.hub.contexts._heads) == 20
        assert workshop.wrong() == []

    run(tmp_path / "segue.db", act, 12, Thrift(cold=4))
    run(tmp_path / "roomy.db", roomy, 1000, Thrift(cold=4))  # more may be kept, so they may take more


def test_a_live_context_is_written_now_and_then_though_she_stays(tmp_path: Path) -> None:
    async def act(workshop: Workshop) -> None:
        for _ in range(9):
            await workshop.tell(*(workshop.fact("cookie=a") for _ in range(10)))
        known = workshop.hub.contexts.find(parse_identifier("cookie=a"))
        assert known is not None
        checkpoint = workshop.hub.store.read_checkpoint(known.customer)
        assert checkpoint is not None
        assert checkpoint.position >= 64

    async def again(workshop: Workshop) -> None:
        contexts = workshop.hub.contexts
        workshop.held(parse_identifier("cookie=a"))
        assert contexts.counts["refolds"] == 0, "the life is not folded from its first fact after a restart"
        assert workshop.wrong() == []

    run(tmp_path / "segue.db", act, 10, USUAL)
    run(tmp_path / "segue.db", again, 10, USUAL)


def test_a_look_at_everybody_for_an_audience_lets_go_of_nobody_who_is_live(tmp_path: Path) -> None:
    """A plan that is pushed while an audience is watched has all customers looked at: who is talked to stays live."""

    async def act(workshop: Workshop) -> None:
        for number in range(40):
            await workshop.tell(workshop.fact(f"cookie=c{number}"))
        contexts, audiences = workshop.hub.contexts, workshop.hub.audiences
        await eventually(lambda: not contexts.behind)
        live = set(contexts._heads)
        assert len(live) == 5
        name = next(iter(workshop.hub.plans.current.audiences))
        await audiences.watch(name, lambda changes: None)
        assert set(contexts._heads) == live
        await workshop.hub.plans.push(document(SKETCH) | {"timeline": 7}, {}, "test", "")
        for number in range(3):
            workshop.held(parse_identifier(f"cookie=c{number}"))
        assert audiences._rescan is not None
        await audiences._rescan
        assert {contexts.identifiers(customer)[0].value for customer in contexts._heads} == {"c0", "c1", "c2"}

    run(tmp_path / "segue.db", act, 5, USUAL)
