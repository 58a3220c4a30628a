"""Sameness through the real hub (F11, law 2): how facts arrive cannot be told from what is known afterwards.

Random customers with hidden links are shuffled, duplicated and cut into batches, and published to hubs on memory and on
SQLite, with all contexts live and with only three. Every content has the bytes of one fold over all facts of the
customer. The hubs live as long as the module; every example has identifiers and ids of its own.
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
from hypothesis import given
from hypothesis import strategies as st
from segue.domain.fact import TRAIT, Fact, derived_id
from segue.domain.fold import fold
from segue.domain.identifier import Identifier
from segue.domain.section import encode
from segue.wire import fact_from_bytes, fact_to_bytes
from segue_hub.testing import RunningHub, run_hub

from tests.building import SKETCH, document, fact, plan
from tests.unit.logs import law, logs

PLAN = plan()
_examples = itertools.count(1)


@dataclass
class Kept:
    """A hub that the examples share."""

    running: RunningHub

    def publish(self, batches: list[list[Fact]]) -> None:
        """All batches at once, so that the hub puts them into units as it likes."""
        hub = self.running.hub
        grant = hub.plans.current.grant("desk")

        async def send() -> list[str]:
            answers = await asyncio.gather(*(hub.ingest.publish([copy(f) for f in batch], grant) for batch in batches))
            return [result.status for results in answers for result in results]

        assert set(self.running.call(send())) <= {"ACCEPTED", "DUPLICATE"}

    def content(self, identifier: Identifier) -> bytes:
        contexts = self.running.hub.contexts

        async def read() -> bytes:
            known = contexts.find(identifier)
            assert known is not None
            return encode(contexts.read(known.customer).content, PLAN)

        found: bytes = self.running.call(read())
        return found


def open_hub(stack: ExitStack, store: Path | None, heads: int) -> Kept:
    running = stack.enter_context(run_hub(store=store))
    running.hub.contexts._limit = heads
    running.call(running.hub.plans.push(document(SKETCH), {}, "test", ""))
    return Kept(running)


@pytest.fixture(scope="module")
def hubs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Kept]]:
    folder = tmp_path_factory.mktemp("sameness")
    with ExitStack() as stack:
        yield {
            "memory, live": open_hub(stack, None, 100_000),
            "memory, evicted": open_hub(stack, None, 3),
            "sqlite, evicted": open_hub(stack, folder / "few.db", 3),
        }


def copy(fact: Fact) -> Fact:
    """Admission changes a fact in place."""
    return Fact(*fact.content())


def own(facts: list[Fact]) -> list[Fact]:
    """The facts as the desk would have them kept, under names and ids that no other example has."""
    example = next(_examples)
    made = []
    for number, found in enumerate(facts):
        if found.kind == TRAIT and found.properties["value"] == "?":
            continue  # no hub takes a balance that is a text
        names = [i for i in found.identifiers if i.value != "null"] or [Identifier("cookie", "c1")]
        mine = Fact(
            derived_id(found.occurred_at, f"sameness {example}", str(number)), found.kind, found.type,
            found.occurred_at, found.seq, tuple(Identifier(kind, f"{example}.{value}") for kind, value in names),
            found.channel or "voice", "desk", found.interaction, found.raw,
        )  # fmt: skip
        made.append(fact_from_bytes(fact_to_bytes(mine)))
    return made


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
    for names, theirs in customers(facts):
        wanted = encode(fold(PLAN, theirs), PLAN)
        for label, kept in hubs.items():
            for name in sorted(names):
                assert kept.content(name) == wanted, f"{label}: {name} of {len(theirs)} facts"


@law(60)
@given(logs(least=1, most=20), st.randoms(use_true_random=False))
def test_arrival_does_not_change_what_is_known(hubs: dict[str, Kept], found: list[Fact], chance: random.Random) -> None:
    facts = own(found)
    arrived = facts + chance.sample(facts, len(facts) // 2)
    chance.shuffle(arrived)
    for kept in hubs.values():
        kept.publish(cut(arrived, chance))
    same(hubs, facts)


@law(25)
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

    push(document({**SKETCH, "timeline": 1}))
    without = kept.content(facts[0].identifiers[0])
    push(document(SKETCH))
    assert without != before
    assert kept.content(facts[0].identifiers[0]) == before
