"""Sameness through the real hub (F11, law 2): how facts arrive cannot be told from what is known afterwards.

Random customers with hidden links are shuffled, duplicated and cut into batches, and published by several touchpoints
to hubs on memory and on SQLite, with all contexts live and with only three; claims, places and what was done with them,
choices, exposures among the facts, and an incident that maps read told in between. Every content has the bytes of one
fold over all facts of the customer. The hubs live as long as the module; every example has identifiers and ids of its
own, and the incident is what all examples so far told of it.
"""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import event, given
from hypothesis import strategies as st
from segue.domain.fact import CHOICE, CLAIM, EXPOSURE, RESERVATION, Fact
from segue.domain.fold import fold
from segue.domain.identifier import Identifier
from segue.domain.incident import FIXED, OPENED
from segue.domain.plan import Plan
from segue.domain.section import encode
from segue.wire import fact_from_bytes, fact_to_bytes
from segue_hub.services.thrift import EAGER, Thrift
from segue_hub.testing import RunningHub, run_hub

from tests.building import BEGIN, HOUR, document, fact, incident, workspace
from tests.coordinating import COORDINATED, as_told
from tests.unit.logs import law, logs

PLAN = Plan(document(COORDINATED))
_examples = itertools.count(1)
_incidents: list[Fact] = []
"""All that the hubs of this module were told."""
tellings = st.lists(st.tuples(st.sampled_from([OPENED, FIXED]), st.integers(0, 90)), max_size=2)


@dataclass
class Kept:
    """A hub that the examples share."""

    running: RunningHub

    def publish(self, batches: list[list[Fact]]) -> None:
        """All batches at once, so that the hub puts them into units as it likes."""
        hub = self.running.hub

        async def send() -> list[str]:
            parts = []
            for batch in batches:
                for name, whose in sorted({(f.touchpoint, bool(f.identifiers)) for f in batch}):
                    told = [copy(f) for f in batch if (f.touchpoint, bool(f.identifiers)) == (name, whose)]
                    to = hub.ingest if whose else hub.workspace
                    parts.append(to.publish(told, hub.plans.current.grant(name)))
            return [result.status for results in await asyncio.gather(*parts) for result in results]

        assert set(self.running.call(send())) <= {"ACCEPTED", "DUPLICATE"}

    def content(self, identifier: Identifier) -> bytes:
        contexts = self.running.hub.contexts

        async def read() -> bytes:
            known = contexts.find(identifier)
            assert known is not None
            return encode(contexts.read(known.customer).content, PLAN)

        found: bytes = self.running.call(read())
        return found


def open_hub(stack: ExitStack, store: Path | None, heads: int, thrift: Thrift = EAGER) -> Kept:
    running = stack.enter_context(run_hub(store=store))
    running.hub.contexts._limit = heads
    running.hub.contexts._thrift = thrift
    running.call(running.hub.plans.push(document(COORDINATED), {}, "test", ""))
    return Kept(running)


@pytest.fixture(scope="module")
def hubs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Kept]]:
    folder = tmp_path_factory.mktemp("sameness")
    with ExitStack() as stack:
        yield {
            "memory, live": open_hub(stack, None, 100_000),
            "memory, evicted": open_hub(stack, None, 3),
            "sqlite, evicted": open_hub(stack, folder / "few.db", 3),
            "sqlite, one live": open_hub(stack, folder / "one.db", 1),
            "sqlite, thrifty": open_hub(stack, folder / "thrifty.db", 2, Thrift(cold=3, few=2, many=4)),
        }


def copy(fact: Fact) -> Fact:
    """Admission changes a fact in place."""
    return Fact(*fact.content())


def own(facts: list[Fact]) -> list[Fact]:
    """The facts under names and ids that no other example has, as a hub would have them."""
    return [fact_from_bytes(fact_to_bytes(made)) for made in as_told(facts, str(next(_examples)))]


def customers(facts: list[Fact]) -> list[tuple[set[Identifier], list[Fact]]]:
    """Who is one, by the plainest closure over identifiers named together."""
    groups: list[set[Identifier]] = []
    for found in facts:
        names = set(found.identifiers)
        touching = [group for group in groups if group & names]
        groups = [group for group in groups if not group & names] + [names.union(*touching)]
    return [(group, [f for f in facts if group & set(f.identifiers)]) for group in groups]


def cut(facts: list[Fact], chance: random.Random) -> list[list[Fact]]:
    batches, rest = [], facts
    while rest:
        size = chance.choice((1, 1, 2, 3, 8, 30))
        batches.append(rest[:size])
        rest = rest[size:]
    return batches


def same(hubs: dict[str, Kept], facts: list[Fact]) -> None:
    plan = PLAN.on(workspace(*_incidents))
    for names, theirs in customers(facts):
        wanted = encode(fold(plan, theirs), plan)
        for label, kept in hubs.items():
            for name in sorted(names):
                assert kept.content(name) == wanted, f"{label}: {name} of {len(theirs)} facts"


@law(80)
@given(logs(least=1, most=20), tellings, st.randoms(use_true_random=False))
def test_arrival_does_not_change_what_is_known(
    hubs: dict[str, Kept], found: list[Fact], news: list[tuple[str, int]], chance: random.Random
) -> None:
    facts = own(found)
    event("tells " + ", ".join(sorted({f.kind for f in facts} & {CLAIM, CHOICE, EXPOSURE, RESERVATION})))
    told = [incident("IOS-481", state, BEGIN + hours * HOUR, title=str(next(_examples))) for state, hours in news]
    for one in told:
        one.touchpoint = "test"
    _incidents.extend(told)
    arrived = facts + told + chance.sample(facts, len(facts) // 2)
    chance.shuffle(arrived)
    for kept in hubs.values():
        kept.publish(cut(arrived, chance))
    same(hubs, facts)


@law(30)
@given(logs(least=4, most=20), st.randoms(use_true_random=False))
def test_what_is_read_in_between_changes_nothing_either(
    hubs: dict[str, Kept], found: list[Fact], chance: random.Random
) -> None:
    facts = own(found)
    arrived = list(facts)
    chance.shuffle(arrived)
    for kept in hubs.values():
        sent: list[Fact] = []
        for batch in cut(arrived, chance):
            kept.publish([batch])
            sent += batch
            same({"in between": kept}, sent)


def test_who_was_anonymous_first_and_logs_in_keeps_her_past(hubs: dict[str, Kept]) -> None:
    facts = own([
        fact("transfer.started", "1s", "cookie=c1", transfer_id="T"),
        fact("help.searched", "1m", "cookie=c1"),
        fact("transfer.failed", "2m", "account=A-1", "cookie=c1", transfer_id="T"),
    ])  # fmt: skip
    for kept in hubs.values():
        for one in facts:
            kept.publish([[one]])
    same(hubs, facts)


def test_two_who_turn_out_to_be_one_have_both_pasts(hubs: dict[str, Kept]) -> None:
    facts = own([
        fact("transfer.started", "1s", "cookie=c1", transfer_id="T"),
        fact("call.started", "1m", "account=A-1"),
        fact("help.searched", "2m", "cookie=c2"),
        fact("transfer.failed", "3m", "cookie=c2", "cookie=c1", transfer_id="T"),
        fact("help.searched", "4m", "account=A-1", "cookie=c2"),
    ])  # fmt: skip
    for kept in hubs.values():
        for one in facts:
            kept.publish([[one]])
    same(hubs, facts)


def test_a_late_link_joins_pasts_that_lie_before_and_after_it(hubs: dict[str, Kept]) -> None:
    facts = own([
        fact("transfer.started", "1s", "cookie=c1", transfer_id="T"),
        fact("help.searched", "5m", "account=A-1"),
        fact("help.searched", "30m", "cookie=c1"),
        fact("link", "1m", "account=A-1", "cookie=c1", kind="link"),
    ])  # fmt: skip
    for kept in hubs.values():
        for one in facts:
            kept.publish([[one]])
    same(hubs, facts)


def test_a_restart_reads_the_same_bytes_with_and_without_checkpoints(tmp_path: Path) -> None:
    chance = random.Random(7)
    facts = own([
        fact(chance.choice(["transfer.started", "help.searched", "call.started"]), f"{n + 1}m",
             *chance.sample([f"account=A-{n % 8}", f"cookie=c{n % 8}", f"cookie=d{n % 8}"], 1 + n % 2),
             transfer_id=f"T{n % 3}")
        for n in range(80)
    ])  # fmt: skip
    chance.shuffle(facts)
    half = len(facts) // 2
    read: list[dict[str, bytes]] = []
    for part in (facts[:half], facts[half:], []):
        with ExitStack() as stack:
            kept = open_hub(stack, tmp_path / "segue.db", 3)
            for batch in cut(part, chance):
                kept.publish([batch])
            sent = facts if part is not facts[:half] and (not part or part[0] is facts[half]) else facts[:half]
            same({"restarted": kept}, sent)
            if not part:
                assert kept.running.hub.store.counts()["checkpoints"] > 0
                assert list(kept.running.hub.store.check()) == []
            read.append({str(i): kept.content(i) for f in sent for i in f.identifiers})
    assert read[1] == read[2]


def test_a_new_plan_sees_the_whole_past(hubs: dict[str, Kept]) -> None:
    facts = own([fact(type, at, "account=A-1") for type, at in (("activation.started", "1s"), ("call.started", "1m"))])
    kept = hubs["sqlite, evicted"]
    kept.publish([facts])
    before = kept.content(facts[0].identifiers[0])

    def push(made: dict[str, Any]) -> None:
        kept.running.call(kept.running.hub.plans.push(made, {}, "test", ""))

    push(document({**COORDINATED, "timeline": 1}))
    without = kept.content(facts[0].identifiers[0])
    push(document(COORDINATED))
    assert without != before
    assert kept.content(facts[0].identifiers[0]) == before
