"""F1 for identity: a hub killed in the middle of merges and splits knows afterwards who is one, by every fact it took.

Promises 1 (acknowledged is kept) and 2 (once). Three clients without an outbox link people, take it back, end and
separate, and tell again what was not acknowledged. Afterwards the customers of the store are those of the naive rule
over the acknowledged facts, and what is folded of each is the one fold of them. `SEGUE_SEED` sets the instants of the
kills, `SEGUE_KILLS` how many there are. The last test is the negative control.
"""

from __future__ import annotations

import os
import random
import sqlite3
import threading
import time
from collections import Counter
from pathlib import Path

import grpc
import pytest
from segue.domain.fact import STATEMENTS, Fact
from segue.domain.identifier import IdentifierKind, IdentifierKinds
from segue.wire import fact_from_bytes
from segue_hub.storage.ports import Leaf
from segue_hub.storage.sqlite import SqliteStore

from tests.calling import calling, event, now
from tests.linking import people, told
from tests.restarting import Span
from tests.serving import Serving, serving
from tests.waiting import eventually

pytestmark = pytest.mark.fault

KILLS = int(os.environ.get("SEGUE_KILLS", "0"))
KINDS = IdentifierKinds(
    {
        "account": IdentifierKind(priority=1, per_customer=1), "email": IdentifierKind(priority=2, per_customer=2),
        "phone": IdentifierKind(priority=3, partners=3), "cookie": IdentifierKind(priority=9, partners=4),
    },
    most=12,
)  # fmt: skip
VOCABULARY = """
identifiers:
  account: {priority: 1, per_customer: 1}
  email: {priority: 2, per_customer: 2}
  phone: {priority: 3, partners: 3}
  cookie: {priority: 9, partners: 4}
identifiers_per_customer: 12
"""
TOUCHPOINTS = 'desk: {channel: voice, writes: ["*"], reads: {}}\n'


class Teller:
    """Tells of merges and splits among people of its own, and of some that all tellers share, until it is stopped."""

    def __init__(self, hub: Serving, key: str, number: int, seed: int) -> None:
        self.hub, self.key = hub, key
        self.chance = random.Random(seed * 10 + number)
        self.pool = [*people(4, f"{number}."), *people(2, "all.")]
        self.offered: dict[bytes, Fact] = {}
        self.acknowledged: set[bytes] = set()
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)

    def next(self) -> list[Fact]:
        """A batch of a few facts, many of them about who is one with whom."""
        batch = []
        for _ in range(self.chance.choice([1, 1, 3, 10])):
            made = self.one()
            self.offered[made.id] = made
            batch.append(made)
        return batch

    def one(self) -> Fact:
        at = now() - self.chance.choice([0, 0, 10**8, 10**9])
        said = [fact for fact in self.offered.values() if len(fact.identifiers) > 1]
        if said and self.chance.random() < 0.4:
            of = self.chance.choice(said)
            kind = "retraction" if of.kind in STATEMENTS else self.chance.choice(STATEMENTS)
            properties = {"fact": of.id.hex()} if kind == "retraction" else {}
            pair = [str(name) for name in of.identifiers[:2]]
            return event(kind, *pair, kind=kind, at=max(at, of.occurred_at), channel="voice", **properties)
        names = [str(name) for name in self.chance.sample(self.pool, self.chance.choice([1, 2, 2, 3]))]
        return event("help.searched", *names, at=at, channel="voice")

    def run(self) -> None:
        batch = self.next()
        while not self.stopping.is_set():
            with calling(self.hub.address, self.key) as caller:
                try:
                    while not self.stopping.is_set():
                        answers = caller.send(*batch)
                        assert {status for status, _, _ in answers} <= {"ACCEPTED", "DUPLICATE"}, answers
                        self.acknowledged.update(fact.id for fact in batch)
                        batch = self.next()
                except grpc.RpcError:
                    continue


def stored(path: Path) -> tuple[list[Fact], dict[frozenset[Span], int], list[str]]:
    """The facts of the log, the customers with how many facts are theirs, and the store's faults."""
    opened = SqliteStore(path)
    try:
        log = [fact_from_bytes(body) for _, body in opened.log(0, 10_000_000) if body is not None]
        customers: dict[frozenset[Span], int] = {}
        after = 0
        while numbers := opened.customers(after, 500):
            after = numbers[-1]
            for number in numbers:
                members = opened.members(number)
                part = frozenset((name, own.since) for name, own in members)
                customers[part] = len(
                    opened.facts([Leaf(own.number, own.bucket, own.since, own.until) for _, own in members])
                )
        return log, customers, list(opened.check())
    finally:
        opened.close()


def reckon(log: list[Fact], customers: dict[frozenset[Span], int], tellers: list[Teller]) -> dict[str, int]:
    """What is wrong: acknowledged but not in the log, in it twice, in it though nobody told it; customers who are
    others than the rule says, or have another number of facts.
    """
    counted = Counter(fact.id for fact in log)
    offered = {id_ for teller in tellers for id_ in teller.offered}
    ruled = {members: len(facts) for members, facts in told(log, KINDS).customers.items()}
    return {
        "lost": sum(counted[id_] == 0 for teller in tellers for id_ in teller.acknowledged),
        "doubled": sum(count > 1 for count in counted.values()),
        "strangers": len(set(counted) - offered),
        "others": len(set(ruled) ^ set(customers)),
        "facts elsewhere": sum(customers[own] != count for own, count in ruled.items() if own in customers),
    }


@pytest.mark.timeout(0 if KILLS else 120)
def test_f1_a_hub_killed_while_people_are_merged_and_split_knows_who_is_who(tmp_path: Path) -> None:
    seed = int(os.environ.get("SEGUE_SEED") or random.SystemRandom().randrange(1 << 32))
    print(f"SEGUE_SEED={seed}", end=" ")
    chance, cycles = random.Random(seed), KILLS or 5
    plan = tmp_path / "plan"
    plan.mkdir()
    (plan / "vocabulary.yaml").write_text(VOCABULARY)
    (plan / "touchpoints.yaml").write_text(TOUCHPOINTS)
    with serving(tmp_path) as hub:
        hub.push(plan)
        key = hub.key("desk")
        tellers = [Teller(hub, key, number, seed) for number in range(3)]
        for teller in tellers:
            teller.thread.start()
        try:
            for _ in range(cycles):
                before = sum(len(teller.acknowledged) for teller in tellers)
                eventually(lambda before=before: sum(len(t.acknowledged) for t in tellers) > before + 30, 20)
                time.sleep(chance.uniform(0, 0.2))  # the instant of the kill: chance, no wait for anything
                hub.kill()
                hub.start()
        finally:
            for teller in tellers:
                teller.stopping.set()
            for teller in tellers:
                teller.thread.join(20)
        assert hub.stop() == 0
    log, customers, faults = stored(hub.store)
    wrong = reckon(log, customers, tellers)
    statements = sum(fact.kind in STATEMENTS for fact in log)
    print(f"F1: {cycles} kills, {len(log)} facts, {statements} of them take back, end or separate, {wrong}")
    assert not any(wrong.values())
    assert faults == []
    assert statements > 10 * cycles


def test_control_a_merge_that_is_not_written_and_a_fact_that_is_lost_are_found(tmp_path: Path) -> None:
    """The same reckoning over a store in which one customer was cut in two behind its back."""
    plan = tmp_path / "plan"
    plan.mkdir()
    (plan / "vocabulary.yaml").write_text(VOCABULARY)
    (plan / "touchpoints.yaml").write_text(TOUCHPOINTS)
    with serving(tmp_path) as hub:
        hub.push(plan)
        teller = Teller(hub, hub.key("desk"), 0, 0)
        with calling(hub.address, teller.key) as caller:
            named = (["account=A"], ["cookie=c"], ["account=A", "cookie=c"])
            facts = [event("help.searched", *names, channel="voice") for names in named]
            assert set(caller.statuses(*facts)) == {"ACCEPTED"}
        teller.offered |= {fact.id: fact for fact in facts}
        teller.acknowledged |= set(teller.offered)
    log, customers, _ = stored(hub.store)
    assert not any(reckon(log, customers, [teller]).values())
    assert reckon(log[1:], customers, [teller])["lost"] == 1
    assert reckon([*log, log[0]], customers, [teller])["doubled"] == 1
    with sqlite3.connect(hub.store) as store:
        store.execute("UPDATE identifiers SET customer = number")
    log, customers, _ = stored(hub.store)
    wrong = reckon(log, customers, [teller])
    print(f"control: {wrong}")
    assert wrong["others"] == 3
