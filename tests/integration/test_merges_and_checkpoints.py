"""Merges against everything that remembers customers by number: checkpoints, reads, streams and audiences.

A hub's services without its network, on a real SQLite file, with units of writing as small as they get.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any

import pytest
from segue.domain.fact import Fact
from segue.domain.grant import everything
from segue.domain.identifier import parse_identifier
from segue.domain.plan import Plan
from segue.wire import fact_from_bytes, fact_to_bytes, facts_from_bytes
from segue_hub.app import _Listeners
from segue_hub.server.context_service import Projections
from segue_hub.services import ingest
from segue_hub.services.audiences import Audiences, Change
from segue_hub.services.contexts import Contexts
from segue_hub.services.earlier_plans import EarlierPlans
from segue_hub.services.entry import Batch, Entry, Written
from segue_hub.services.fan_out import FanOut
from segue_hub.services.ingest import Ingest
from segue_hub.services.ledger import Ledger
from segue_hub.services.plans import Plans
from segue_hub.services.thrift import EAGER
from segue_hub.services.timers import Timers
from segue_hub.storage.ports import Row
from segue_hub.storage.sqlite import SqliteStore
from segue_hub.testing import run_hub

from tests.building import document
from tests.calling import calling, event
from tests.streaming import streaming
from tests.waiting import eventually
from tests.watch_checks import sections

QUIET = {"audiences": {"quiet": {"when": '!seen("web", "1h")'}}}


class Parts:
    """A hub's services, put together as the hub does."""

    def __init__(self, path: Path, *, heads: int = 1000, sketch: dict[str, Any] | None = None) -> None:
        self.now = 10**15
        self.store = SqliteStore(path)
        self.plans = Plans(self.store, self.clock)
        if sketch is not None:
            self.plans.current = Plan(document(sketch))
        self.contexts = Contexts(self.store, self.plans, facts_from_bytes, heads, EAGER)
        self.timers = Timers(self.clock)
        self.audiences = Audiences(self.contexts, self.plans, self.timers, self.clock)
        self.fan_out = FanOut(self.contexts, self.plans)
        self.projections = Projections(self.contexts, self.plans, self.clock, self.store.incarnation)
        self.ingest = Ingest(self.store, self.plans, self.clock, fact_to_bytes, fact_from_bytes, pytest.fail)
        self.earlier = EarlierPlans(self.contexts, self.plans)
        ledger = Ledger(self.store, self.contexts, self.plans, self.timers, self.clock, fact_from_bytes)
        self.listeners = _Listeners(self.contexts, self.earlier, self.audiences, self.fan_out, ledger)
        self.ingest.start(self.listeners)

    def clock(self) -> int:
        return self.now

    def fact(self, *names: str) -> Fact:
        self.now += 1000
        return event("x", *names, at=self.now - 10**9, channel="web")

    async def tell(self, *names: str) -> None:
        (result,) = await self.ingest.publish([self.fact(*names)], everything("t"))
        assert result.status == "ACCEPTED"

    def write(self, *facts: Fact) -> Written:
        """Commits a unit that is not folded yet; called where the writer thread has nothing to do."""
        entries = [Entry(fact, fact_to_bytes(fact)) for fact in facts]
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        return self.ingest._writer.submit(self.ingest._write, [Batch(entries, done, 1)], []).result(5)

    def fold(self, written: Written) -> None:
        self.listeners.resolved(written.resolved)
        self.listeners.accepted(written.accepted)
        self.listeners.settled(written.position)

    def customer(self, name: str) -> int:
        known = self.contexts.find(parse_identifier(name))
        assert known is not None
        return known.customer

    def wrong(self) -> list[tuple[int, int, int]]:
        """Customers of whom something else is remembered than the log says."""
        counts = [
            (c, self.contexts.read(c).content.facts, len(self.contexts.facts(c))) for c in self.contexts.customers()
        ]
        return [entry for entry in counts if entry[1] != entry[2]]

    async def close(self) -> None:
        await self.ingest.close()
        self.store.close()


def run(path: Path, act: Callable[[Parts], Coroutine[Any, Any, None]], **more: Any) -> None:
    async def whole() -> None:
        parts = Parts(path, **more)
        try:
            await act(parts)
        finally:
            await parts.close()

    asyncio.run(whole())


# Checkpoints.


async def nothing_is_wrong(parts: Parts) -> None:
    assert parts.wrong() == []


def test_a_checkpoint_evicted_before_a_merge_never_outlives_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ingest, "UNIT", 1)

    async def act(parts: Parts) -> None:
        for name in ("cookie=b", "cookie=b", "account=a"):
            await parts.tell(name)
        await asyncio.gather(parts.tell("cookie=c"), parts.tell("account=a", "cookie=b"), parts.tell("cookie=d"))
        assert parts.wrong() == []

    run(tmp_path / "segue.db", act, heads=1)

    async def again(parts: Parts) -> None:
        assert parts.contexts.read(parts.customer("cookie=b")).content.facts == 4
        assert parts.wrong() == []

    run(tmp_path / "segue.db", again)


@pytest.mark.parametrize("seed", [4, 11, 21])
def test_whatever_is_merged_and_evicted_contexts_equal_the_log_live_and_after_a_restart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    monkeypatch.setattr(ingest, "UNIT", 1)
    chance = random.Random(seed)

    async def act(parts: Parts) -> None:
        jobs = []
        for _ in range(60):
            names = [f"cookie=c{chance.randrange(12)}"]
            if chance.random() < 0.2:
                names.append(f"account=a{chance.randrange(4)}")
            jobs.append(parts.tell(*names))
        await asyncio.gather(*jobs)
        assert parts.wrong() == []

    run(tmp_path / "segue.db", act, heads=2)
    run(tmp_path / "segue.db", nothing_is_wrong)


# Reads while something is committed.


def test_a_read_that_straddles_a_commit_loses_no_fact(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def act(parts: Parts) -> None:
        await parts.tell("account=a", "cookie=b")
        parts.contexts._heads.clear()
        written: list[Written] = []
        facts = parts.store.facts

        def straddled(leaves: Sequence[tuple[int, int]], after: int = 0) -> list[Row]:
            found = facts(leaves[:1], after)
            if not written:
                written.append(parts.write(parts.fact("account=a"), parts.fact("cookie=b")))
            return [*found, *facts(leaves[1:], after)]

        with monkeypatch.context() as slow:
            slow.setattr(parts.store, "facts", straddled)
            assert parts.contexts.read(parts.customer("account=a")).content.facts == 1
        parts.fold(written[0])
        assert parts.contexts.read(parts.customer("account=a")).content.facts == 3
        assert parts.wrong() == []

    run(tmp_path / "segue.db", act)


def test_a_load_from_a_checkpoint_that_straddles_a_commit_loses_no_fact(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def act(parts: Parts) -> None:
        await parts.tell("account=a", "cookie=b")
        await parts.tell("cookie=z")  # evicts the other
        await parts.tell("cookie=y")
        customer = parts.customer("account=a")
        assert parts.store.read_checkpoint(customer) is not None
        written: list[Written] = []
        members = parts.store.members

        def straddled(asked: int) -> Any:
            found = members(asked)
            if not written:
                linked, alone, last = (
                    parts.fact(*names) for names in (["account=a", "cookie=c"], ["cookie=c"], ["account=a"])
                )
                written.append(parts.write(linked, alone, last))
            return found

        with monkeypatch.context() as slow:
            slow.setattr(parts.store, "members", straddled)
            parts.contexts.read(customer)
        parts.fold(written[0])
        assert parts.contexts.read(customer).content.facts == 4
        assert parts.wrong() == []

    run(tmp_path / "segue.db", act, heads=1)


# Merged by the next unit, before this one is folded.


def test_a_customer_merged_away_in_a_unit_not_folded_yet_has_no_name_and_leaves_no_empty_head(tmp_path: Path) -> None:
    async def act(parts: Parts) -> None:
        await parts.tell("account=a")
        first = parts.write(parts.fact("cookie=z"))
        second = parts.write(parts.fact("cookie=z", "account=a"))
        former = first.accepted[0].customer
        assert parts.projections.name(former) == ""
        assert parts.contexts.read(former).content.facts == 0
        assert former not in parts.contexts._heads
        parts.fold(first)
        parts.fold(second)
        assert former not in parts.contexts._heads
        assert parts.contexts.read(parts.customer("cookie=z")).content.facts == 3
        assert parts.wrong() == []

    run(tmp_path / "segue.db", act)


@pytest.mark.parametrize("seen_before", [False, True], ids=["named for the first time", "named before"])
def test_a_stream_survives_a_customer_merged_away_before_its_fact_is_folded_and_never_shows_an_empty_one(
    seen_before: bool,
) -> None:
    with run_hub() as hub, calling(hub.address, hub.key("t")) as caller, streaming(caller, hub=hub) as stream:
        parts = hub.hub
        caller.send(event("x", "account=a"))
        if seen_before:
            caller.send(event("x", "cookie=z"))
        stream.subscribe(1, "cookie=z")
        stream.frame(1)
        sent = len(stream.frames(1))

        def write(*facts: Fact) -> Written:
            batch = Batch([Entry(fact, fact_to_bytes(fact)) for fact in facts], asyncio.Future(), 1)
            return parts.ingest._writer.submit(parts.ingest._write, [batch], []).result(5)

        async def act() -> None:
            first, second = write(event("x", "cookie=z")), write(event("x", "cookie=z", "account=a"))
            parts.contexts._heads.clear()
            listeners = _Listeners(parts.contexts, parts.earlier, parts.audiences, parts.fan_out, parts.ledger)
            listeners.resolved(first.resolved)
            parts.contexts._heads.clear()  # evicted: what is read is what the store says
            listeners.accepted(first.accepted)
            while any(open.dirty for open in parts.fan_out.streams):  # noqa: ASYNC110  # the hub has no such event
                await asyncio.sleep(0)  # the stream answers in between
            listeners.settled(first.position)
            listeners.resolved(second.resolved)
            listeners.accepted(second.accepted)
            listeners.settled(second.position)

        hub.call(act())
        whole = stream.frame(1, lambda frame: told(frame) == 3 + seen_before)
        assert whole.context.customer == caller.context("account=a").customer
        assert [told(frame) for frame in stream.frames(1)[sent:]] == [3 + seen_before]
        assert not stream.ended.is_set()


def told(frame: Any) -> int:
    """Facts that a frame counts."""
    envelope: Any = sections(frame).get("envelope", [0, 0, -1])
    return int(envelope[2])


# Audiences.


class Members:
    """Who is in an audience, as one watcher was told."""

    def __init__(self) -> None:
        self.now: set[int] = set()
        self.told: list[Change] = []

    def tell(self, changes: list[Change]) -> None:
        self.told += changes
        for change in changes:
            (self.now.discard if change.left else self.now.add)(change.customer)


def test_after_a_merge_no_ghost_is_a_member(tmp_path: Path) -> None:
    """An audience that is true of nobody known: a wake-up of who is no more would bring her back."""

    async def act(parts: Parts) -> None:
        parts.now += 10**10
        members = Members()
        await parts.tell("cookie=c")
        assert await parts.audiences.watch("quiet", members.tell) == []
        await parts.tell("cookie=c", "account=a")
        former = 1
        assert parts.customer("cookie=c") != former
        parts.now += 2 * 3600 * 10**6
        parts.timers.start()
        for _ in range(20):
            await asyncio.sleep(0)
        assert members.now == {parts.customer("account=a")}
        assert former not in {change.customer for change in members.told}
        await parts.timers.close()

    run(tmp_path / "segue.db", act, sketch=QUIET)


def test_who_is_merged_away_while_an_audience_is_scanned_is_no_member(tmp_path: Path) -> None:
    async def act(parts: Parts) -> None:
        await parts.ingest.publish([parts.fact(f"cookie=c{number}") for number in range(200)], everything("t"))
        parts.now += 2 * 3600 * 10**6
        parts.contexts._heads.clear()
        members = Members()
        watching = asyncio.create_task(parts.audiences.watch("quiet", members.tell))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        former = parts.customer("cookie=c150")
        parts.fold(parts.write(parts.fact("cookie=c150", "account=a")))
        assert not watching.done()
        found = {customer for customer, _ in await watching}
        assert parts.customer("cookie=c150") != former
        assert former not in found
        assert found <= set(parts.contexts.customers())

    run(tmp_path / "segue.db", act, sketch=QUIET)


def test_who_is_merged_away_while_somebody_lists_an_audience_is_not_listed(tmp_path: Path) -> None:
    async def act(parts: Parts) -> None:
        await parts.ingest.publish([parts.fact(f"cookie=c{number}") for number in range(200)], everything("t"))
        parts.now += 2 * 3600 * 10**6
        parts.contexts._heads.clear()
        listed = []
        async for customer, _ in parts.audiences.members(["quiet"]):
            if not listed:
                former = parts.customer("cookie=c150")
                parts.fold(parts.write(parts.fact("cookie=c150", "account=a")))
            listed.append(customer)
        assert former not in listed
        assert len(listed) >= 199

    run(tmp_path / "segue.db", act, sketch=QUIET)


def test_a_first_watch_that_is_cancelled_leaves_nothing_and_the_next_one_sees_all_members(tmp_path: Path) -> None:
    async def act(parts: Parts) -> None:
        await parts.ingest.publish([parts.fact(f"account=a{number}") for number in range(300)], everything("t"))
        parts.now += 2 * 3600 * 10**6
        first = asyncio.create_task(parts.audiences.watch("quiet", Members().tell))
        await asyncio.sleep(0)
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        assert (parts.audiences._watchers, parts.audiences._members, parts.audiences._scans) == ({}, {}, {})
        assert len(await parts.audiences.watch("quiet", Members().tell)) == 300
        assert len(parts.audiences._watchers["quiet"]) == 1

    run(tmp_path / "segue.db", act, sketch=QUIET)


def test_a_second_watcher_sees_all_members_although_the_first_is_cancelled_meanwhile(tmp_path: Path) -> None:
    async def act(parts: Parts) -> None:
        await parts.ingest.publish([parts.fact(f"account=a{number}") for number in range(300)], everything("t"))
        parts.now += 2 * 3600 * 10**6
        first, second = (asyncio.create_task(parts.audiences.watch("quiet", Members().tell)) for _ in range(2))
        await asyncio.sleep(0)
        first.cancel()
        assert len(await second) == 300
        assert len(parts.audiences._watchers["quiet"]) == 1

    run(tmp_path / "segue.db", act, sketch=QUIET)


# The same fact after another plan.


def test_the_same_fact_offered_again_after_a_plan_renamed_its_type_is_a_duplicate() -> None:
    with run_hub() as hub, calling(hub.address, hub.key("app")) as caller:
        first = event("a.b", "email=Ann@X.com", channel="web", amount=1)
        assert caller.statuses(first) == ["ACCEPTED"]
        sketch = {"events": {"a.c": {"aliases": {"app": ["a.b"]}}}, "identifiers": {"email": {"normalise": "email"}}}
        hub.call(hub.hub.plans.push(sketch, {}, "t", ""))
        assert caller.statuses(first) == ["DUPLICATE"]
        other = event("a.b", "email=Ann@X.com", channel="web", id_=first.id, at=first.occurred_at, amount=2)
        assert [code for _, code, _ in caller.send(other)] == ["ID_CONFLICT"]
        third = event("a.d", "email=Ann@X.com", channel="web", id_=first.id, at=first.occurred_at, amount=1)
        assert [code for _, code, _ in caller.send(third)] == ["ID_CONFLICT"]
        assert eventually(lambda: hub.hub.store.counts()["facts"]) == 1
