"""F1 for workspace facts: a hub that is killed at random instants while incidents are told loses and doubles none.

Promises 1 (acknowledged is kept) and 2 (once). A client without an outbox tells them one by one, each with a customer's
fact, so that both sorts meet in the log, and tells again what was not acknowledged. The instants come from a seed that
is printed and can be set (`SEGUE_SEED`). The last test is the negative control.
"""

from __future__ import annotations

import os
import random
import threading
import time
from pathlib import Path

import grpc
import pytest
from segue.domain.fact import INCIDENT, Fact, derived_id
from segue.domain.incident import FIXED, OPENED, incident_fact
from segue.v1 import admin_service_pb2
from segue.wire import fact_from_bytes
from segue_hub.storage.sqlite import SqliteStore

from tests.building import workspace
from tests.calling import calling, event, now
from tests.serving import Serving, serving

pytestmark = pytest.mark.fault


class Teller:
    """Tells of incidents, one after the other, until it is stopped; what was not acknowledged is told again."""

    def __init__(self, hub: Serving, key: str) -> None:
        self.hub, self.key = hub, key
        self.acknowledged: dict[bytes, Fact] = {}
        self.offered: dict[bytes, Fact] = {}
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)

    def next(self) -> Fact:
        number, at = len(self.offered), now()
        state = FIXED if number % 3 == 2 else OPENED
        id_ = derived_id(at, "teller", str(number))
        made = incident_fact(id_, f"I-{number % 7}", state, at, number, title=f"told {number}", touchpoint="app")
        self.offered[made.id] = made
        return made

    def run(self) -> None:
        fact = self.next()
        while not self.stopping.is_set():
            with calling(self.hub.address, self.key) as caller:
                try:
                    while not self.stopping.is_set():
                        (answer,) = caller.send(fact, event("transfer.started", "account=K-1"))[:1]
                        assert answer[0] in ("ACCEPTED", "DUPLICATE"), answer
                        self.acknowledged[fact.id] = fact
                        fact = self.next()
                except grpc.RpcError:
                    continue


def reckon(kept: list[bytes], offered: set[bytes], acknowledged: set[bytes]) -> tuple[int, int, int]:
    """(lost, doubled, strangers): acknowledged but not kept, kept twice, kept though nobody told it."""
    return len(acknowledged - set(kept)), len(kept) - len(set(kept)), len(set(kept) - offered)


def in_store(path: Path) -> tuple[list[Fact], list[Fact], list[str]]:
    """The workspace facts by their own table and by the change log, and the store's faults."""
    opened = SqliteStore(path)
    try:
        kept = [fact_from_bytes(row.body) for row in opened.workspace_facts()]
        log = [fact_from_bytes(body) for _, body in opened.log(0, 10_000_000) if body is not None]
        return kept, [fact for fact in log if fact.kind == INCIDENT], list(opened.check())
    finally:
        opened.close()


def test_f1_a_hub_killed_while_incidents_are_told_keeps_each_acknowledged_one_once(tmp_path: Path) -> None:
    seed = int(os.environ.get("SEGUE_SEED") or random.SystemRandom().randrange(1 << 32))
    print(f"SEGUE_SEED={seed}", end=" ")
    chance, cycles = random.Random(seed), 5
    plan = tmp_path / "plan"
    plan.mkdir()
    (plan / "touchpoints.yaml").write_text('app: {channel: app, writes: ["incident:*", "transfer.*"], reads: {}}\n')
    (plan / "audiences.yaml").write_text("told:\n  when: 'incident(\"I-1\").open'\n")
    with serving(tmp_path) as hub:
        hub.push(plan)
        teller = Teller(hub, hub.key("app"))
        teller.thread.start()
        try:
            for _ in range(cycles):
                time.sleep(chance.uniform(0.1, 0.6))  # the instant of the kill: chance, no wait for anything
                hub.kill()
                hub.start()
        finally:
            teller.stopping.set()
            teller.thread.join(20)
        with hub.admin() as admin:
            told = admin.admin.ListIncidents(admin_service_pb2.ListIncidentsRequest(), metadata=admin.metadata)
        assert hub.stop() == 0
        kept, logged, faults = in_store(hub.store)
        ids = [fact.id for fact in kept]
        lost, doubled, strangers = reckon(ids, set(teller.offered), set(teller.acknowledged))
        print(f"F1: {cycles} kills, {len(ids)} incidents told, {lost} lost, {doubled} doubled, {strangers} strangers")
        assert (lost, doubled, strangers, faults) == (0, 0, 0, [])
        assert kept == logged == [teller.offered[id_] for id_ in ids]
        assert len(ids) > cycles
        last = workspace(*kept)
        assert {one.incident: (one.open, one.title) for one in told.incidents} == {
            name: (state.open, state.title) for name in last.incidents for state in [last.state(name, now())]
        }


def test_the_reckoning_above_sees_what_is_lost_doubled_or_strange() -> None:
    ids = [number.to_bytes(16, "big") for number in range(5)]
    assert reckon(ids, set(ids), set(ids)) == (0, 0, 0)
    assert reckon(ids[1:], set(ids), set(ids)) == (1, 0, 0)
    assert reckon([*ids, ids[2]], set(ids), set(ids)) == (0, 1, 0)
    assert reckon(ids, set(ids[1:]), set(ids[1:])) == (0, 0, 1)
