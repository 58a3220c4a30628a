"""Incremental audiences equal a full scan at every instant, and every flip is told at its own (laws 3, TI2, TI8).

Random customers who merge and come apart, facts late and in time, a clock that jumps on, hubs that are killed.
After every step the members that a cursor and a live watcher were told are those of a full scan. While only time
passes, what was told is exactly what a walk from flip to flip gives: nothing early, nothing twice, nothing left out.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import event as note
from hypothesis import given
from hypothesis import strategies as st
from segue.domain.derivation import derive
from segue.domain.fact import EVENT, TRAIT, Fact, derived_id, properties_bytes
from segue.domain.fold import fold
from segue.domain.identifier import Identifier
from segue_hub.services import ledger, ledger_recovery, ledger_scan, wake_ups
from segue_hub.services.audiences import Change
from segue_hub.storage.memory import MemoryStore
from segue_hub.storage.ports import Store
from segue_hub.storage.sqlite import SqliteStore

from tests.building import BEGIN, DAY, HOUR, MINUTE
from tests.ledgering import Host, Parts, run
from tests.lives import PLAN, POOL
from tests.unit.logs import law

AUDIENCES = sorted(PLAN.audiences)
HAPPENS = (
    (EVENT, "transfer.started", "ivr", {"transfer_id": "T1"}),
    (EVENT, "transfer.started", "web", {"transfer_id": "T2"}),
    (EVENT, "transfer.completed", "app", {"transfer_id": "T1"}),
    (EVENT, "transfer.failed", "app", {"transfer_id": "T2"}),
    (EVENT, "call.started", "ivr", {}), (EVENT, "mail.opened", "email", {}), (EVENT, "help.searched", "web", {}),
    (EVENT, "incident.opened", "web", {"number": 1}), (EVENT, "incident.diagnosed", "web", {"number": 1}),
    (TRAIT, "value_tier", "", {"value": "high"}), (TRAIT, "balance", "", {"value": 5}),
    (EVENT, "activation.started", "web", {}), (EVENT, "activation.completed", "web", {}),
)  # fmt: skip
LATE = (0, 0, 0, 1, MINUTE, 16 * MINUTE, 2 * HOUR, 5 * HOUR, 30 * HOUR)
PASSES = (0, 1, MINUTE, 15 * MINUTE - 1, 15 * MINUTE, 30 * MINUTE, HOUR, 4 * HOUR, 11 * HOUR, DAY, 3 * DAY)

people = st.lists(st.sampled_from(POOL), min_size=1, max_size=2, unique=True)
happenings = st.tuples(st.sampled_from(HAPPENS), people, st.sampled_from(LATE))
statements = st.tuples(
    st.sampled_from(["retraction", "ending", "separation"]),
    st.lists(st.sampled_from(POOL), min_size=2, max_size=2, unique=True), st.sampled_from(LATE),
)  # fmt: skip
told_facts = st.one_of(happenings, happenings, happenings, statements)
steps = st.one_of(
    st.tuples(st.just("tell"), st.lists(told_facts, min_size=1, max_size=6)),
    st.tuples(st.just("behind"), st.tuples(st.sampled_from(PASSES), st.lists(told_facts, min_size=1, max_size=3))),
    st.tuples(st.just("pass"), st.sampled_from(PASSES)),
    st.tuples(st.just("sleep"), st.sampled_from(PASSES)),
    st.tuples(st.just("forget"), st.just(0)),
)  # fmt: skip


class Live:
    """Whom a live watcher was told."""

    def __init__(self) -> None:
        self.now: set[int] = set()

    def tell(self, changes: list[Change]) -> None:
        for change in changes:
            (self.now.discard if change.left else self.now.add)(change.customer)


class Play:
    """One hub after the other on one store, with a cursor and a live watcher for every audience."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.numbers = itertools.count()
        self.told: dict[str, list[Any]] = {name: [] for name in AUDIENCES}

    async def open(self, now: int) -> None:
        self.parts = Parts(self.store, now, PLAN)
        self.hosts = {name: Host(self.parts) for name in AUDIENCES}
        self.live = {name: Live() for name in AUDIENCES}
        for name in AUDIENCES:
            await self.parts.listen(self.hosts[name], name)
            self.live[name].now |= {c for c, _ in await self.parts.audiences.watch(name, self.live[name].tell)}
        await self.parts.quiet()
        self.gather()

    def gather(self) -> dict[str, list[Any]]:
        """What was told since it was asked last."""
        fresh = {}
        for name, host in self.hosts.items():
            fresh[name] = [t for t in host.heard if t.number > (self.told[name][-1].number if self.told[name] else 0)]
            assert all(at >= t.at for at, t in zip(host.at, host.heard, strict=True)), "told before its instant"
            self.told[name] += fresh[name]
        return fresh

    def facts(self, drawn: Sequence[Any]) -> list[Fact]:
        return [self._fact(*one) for one in drawn]

    def _fact(self, what: Any, names: list[Identifier], late: int) -> Fact:
        number, at = next(self.numbers), self.parts.now - late
        id_ = derived_id(at, "sameness", str(number))
        if isinstance(what, str):
            return Fact(id_, what, "link", at, number, tuple(names), raw=b"{}")
        kind, type_, channel, properties = what
        return Fact(id_, kind, type_, at, number, tuple(names), channel, "test", None, properties_bytes(properties))

    def check(self) -> None:
        """What was told is what a full scan says."""
        for name in AUDIENCES:
            wanted = self.parts.scanned(name)
            inside: set[int] = set()
            for told in self.told[name]:
                assert told.left == (told.customer in inside), f"{told} changes nothing"
                inside ^= {told.customer}
            assert inside == wanted, name
            assert self.live[name].now == wanted, name
            numbers = [told.number for told in self.told[name]]
            assert numbers == sorted(set(numbers))
            times = [told.at for told in self.told[name]]
            assert times == sorted(times), "in the order of instants"


def walked(parts: Parts, name: str, begin: int, end: int) -> list[tuple[int, int, bool]]:
    """Every flip of a membership while time alone passes, as (instant, customer, left)."""
    found, plan = [], parts.plans.current
    for customer, facts in parts.everybody():
        content = fold(plan, facts)
        at = begin
        before = derive(content, plan, at, [name])
        while before.flips_at <= end:
            after = derive(content, plan, before.flips_at, [name])
            if after.audiences != before.audiences:
                found.append((after.at, customer, not after.audiences[name]))
            before = after
    return sorted(found)


async def played(store: Store, drawn: list[tuple[str, Any]]) -> None:
    play = Play(store)
    await play.open(BEGIN)
    flips = 0
    for step, what in drawn:
        parts = play.parts
        begin, end = parts.now, parts.now + (what if step in ("pass", "sleep") else 0)
        wanted = {name: walked(parts, name, begin, end) for name in AUDIENCES}
        if step == "tell":
            await parts.tell(*play.facts(what))
        elif step == "behind":  # the hub did not come to ask what fell due before facts arrived
            parts.now += what[0]
            await parts.tell(*play.facts(what[1]))
        elif step == "pass":
            await parts.advance(what)
        elif step == "sleep":
            await parts.kill()
            await play.open(end)
        else:
            parts.contexts._heads.clear()
        fresh = play.gather() if step != "sleep" else {}
        if step == "pass":
            for name in AUDIENCES:
                assert sorted((t.at, t.customer, t.left) for t in fresh[name]) == wanted[name]
        elif step == "sleep":
            for name in AUDIENCES:
                count = len(wanted[name])
                last = play.told[name][len(play.told[name]) - count :]
                assert sorted((t.at, t.customer, t.left) for t in last) == wanted[name]
        flips += sum(map(len, wanted.values()))
        play.check()
    note("time alone changed something" if flips else "nothing flipped")
    note("somebody was told")
    await play.parts.close()


@law(120)
@given(st.lists(steps, min_size=3, max_size=14))
def test_incremental_audiences_equal_a_full_scan_at_every_instant(drawn: list[tuple[str, Any]]) -> None:
    run(lambda: played(MemoryStore(), drawn))


@law(25)
@given(drawn=st.lists(steps, min_size=6, max_size=14))
def test_so_they_do_on_sqlite_in_tiny_pages(
    drawn: list[tuple[str, Any]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(wake_ups, "PAGE", 3)
        patch.setattr(wake_ups, "HELD", 4)
        patch.setattr(ledger, "CHUNK", 5)
        patch.setattr(ledger_recovery, "PAGE", 3)
        patch.setattr(ledger_scan, "PAGE", 2)
        store = SqliteStore(tmp_path_factory.mktemp("sameness") / "segue.db")
        try:
            run(lambda: played(store, drawn))
            assert list(store.check()) == []
        finally:
            store.close()
