"""What every store promises: one suite for memory and SQLite, port by port (storage/ports.py).

What only a file can promise (one process, FULL, migrations, reopening, a full disk) is in `test_storage_file.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from segue.domain.identifier import Identifier
from segue_hub.storage.memory import MemoryStore
from segue_hub.storage.ports import (
    Checkpoint,
    IdTaken,
    Key,
    Known,
    Leaf,
    LinkRow,
    PlanEntry,
    Row,
    Store,
    StoredBook,
    StoredPlan,
    Unit,
    Until,
    bucket_of,
)
from segue_hub.storage.sqlite import SqliteStore

ANN, BOB, COOKIE = Identifier("account", "A-1"), Identifier("account", "A-2"), Identifier("cookie", "c1")


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    made: Store = MemoryStore() if request.param == "memory" else SqliteStore(tmp_path / "segue.db")
    yield made
    made.close()


def fact_id(number: int) -> bytes:
    return number.to_bytes(16, "big")


def add(unit: Unit, position: int, leaf: int = 1, name: Identifier = ANN) -> None:
    unit.append(position, fact_id(position), leaf, bucket_of(name), (position * 10, 0), 99, b"body %d" % position)


def know(unit: Unit, name: Identifier, number: int, customer: int | None = None) -> None:
    unit.add_identifier(name, number, customer or number, bucket_of(name))


def filled(store: Store) -> None:
    """Three customers, five facts and one other change."""
    with store.unit() as unit:
        for number, name in enumerate((ANN, BOB, COOKIE), 1):
            know(unit, name, number)
        for position in (1, 2, 4):
            add(unit, position)
        unit.append_change(3, "plan", "abc")
        add(unit, 5, 3, COOKIE)
        add(unit, 6, 2, BOB)


# Units.


def test_a_fresh_store_is_empty(store: Store) -> None:
    assert store.head() == (0, 0)
    assert store.log(0, 100) == store.plans() == store.keys() == store.customers(0, 10) == []
    assert store.workspace_facts() == []
    assert list(store.check()) == []
    assert {name: count for name, count in store.counts().items() if name != "bytes"} == {
        "facts": 0, "identifiers": 0, "customers": 0, "checkpoints": 0, "linked": 0
    }  # fmt: skip


def test_a_unit_is_read_once_it_ends(store: Store) -> None:
    with store.unit() as unit:
        know(unit, ANN, 1)
        add(unit, 1)
        assert store.head() == (0, 0)
        assert store.find([fact_id(1)]) == {}
        assert store.resolve(ANN) is None
    assert store.head() == (1, 1)
    assert store.find([fact_id(1)]) == {fact_id(1): 1}
    assert store.resolve(ANN) == Known(1, 1, bucket_of(ANN))


@pytest.mark.parametrize("offered", [[7, 2], [7, 8, 7]], ids=["stored", "twice in the unit"])
def test_an_id_is_taken_once(store: Store, offered: list[int]) -> None:
    filled(store)
    before = everything(store)
    with pytest.raises(IdTaken), store.unit() as unit:
        for position, number in enumerate(offered, 7):
            unit.append(position, fact_id(number), 1, bucket_of(ANN), (position, 0), 0, b"body")
    assert everything(store) == before


def test_a_unit_that_raises_leaves_nothing(store: Store) -> None:
    filled(store)
    before = everything(store)
    with pytest.raises(RuntimeError, match="on purpose"), store.unit() as unit:
        know(unit, Identifier("email", "a@x.org"), 4)
        add(unit, 7)
        unit.append_change(8, "plan", "def")
        unit.add_workspace_fact(8, fact_id(8), b"told")
        unit.assign([3], 1, 6)
        unit.checkpoint(1, Checkpoint(6, "p", b"{}"))
        unit.add_plan(StoredPlan(1, "d", 8, 0, "", "", b"{}", b"{}"))
        unit.add_key(Key("chat", b"h", 0), 2)
        raise RuntimeError("on purpose")
    assert everything(store) == before
    with store.unit() as unit:
        add(unit, 7)
    assert store.head()[0] == 7


def everything(store: Store) -> Any:
    counts = store.counts()
    del counts["bytes"]
    names = [store.resolve(name) for name in (ANN, BOB, COOKIE)]
    return (store.head(), store.log(0, 100), names, store.plans(), store.keys(), counts,
            [store.read_checkpoint(n) for n in (1, 2, 3)], store.workspace_facts())  # fmt: skip


def test_a_unit_finds_stored_facts_by_id_with_their_bytes(store: Store) -> None:
    filled(store)
    with store.unit() as unit:
        assert unit.find([fact_id(2), fact_id(77)]) == {fact_id(2): Row(2, b"body 2")}
        assert unit.find([]) == {}


def test_the_same_id_stands_once_whoever_asks(store: Store) -> None:
    filled(store)
    assert store.find([fact_id(1), fact_id(1), fact_id(3), fact_id(6)]) == {fact_id(1): 1, fact_id(6): 6}


def test_a_unit_resolves_what_is_known_and_only_that(store: Store) -> None:
    filled(store)
    with store.unit() as unit:
        assert unit.resolve([ANN, Identifier("cookie", "never")]) == {ANN: Known(1, 1, bucket_of(ANN))}


def test_kind_and_value_together_name_an_identifier(store: Store) -> None:
    with store.unit() as unit:
        know(unit, Identifier("email", "x"), 1)
        know(unit, Identifier("phone", "x"), 2)
    found = [store.resolve(Identifier(kind, "x")) for kind in ("email", "phone", "cookie")]
    assert [known.number if known else None for known in found] == [1, 2, None]


# Customers.


def test_members_are_all_identifiers_of_a_customer_in_the_order_they_came(store: Store) -> None:
    filled(store)
    with store.unit() as unit:
        unit.assign([3], 1, 6)
    members = [(ANN, Known(1, 1, bucket_of(ANN))), (COOKIE, Known(3, 1, bucket_of(COOKIE), moved=6))]
    assert store.members(1) == members
    assert store.members(3) == []
    with store.unit() as unit:
        assert unit.members(1) == members


def test_voiding_drops_the_checkpoints_of_those_customers_and_of_nobody_else(store: Store) -> None:
    filled(store)
    with store.unit() as unit:
        for customer in (1, 2, 3):
            unit.checkpoint(customer, Checkpoint(6, "plan", b"{}"))
    with store.unit() as unit:
        unit.assign([3], 1, 6)
        unit.checkpoint(3, Checkpoint(6, "plan", b"{}"))
        unit.void({1, 3})
    assert [store.read_checkpoint(n) is not None for n in (1, 2, 3)] == [False, True, False]


def test_assigning_moves_what_a_leaf_resolves_to_and_none_of_its_facts(store: Store) -> None:
    filled(store)
    with store.unit() as unit:
        unit.assign([3], 1, 6)
    known = store.resolve(COOKIE)
    assert known == Known(3, 1, bucket_of(COOKIE), moved=6)
    assert [row.position for row in store.facts([Leaf(3, bucket_of(COOKIE))])] == [5]
    assert store.customers(0, 10) == [1, 2]


def test_an_identifier_may_be_assigned_to_one_that_appears_in_the_same_unit(store: Store) -> None:
    with store.unit() as unit:
        know(unit, COOKIE, 1)
        add(unit, 1, 1, COOKIE)
    with store.unit() as unit:
        unit.assign([1], 2, 6)
        know(unit, ANN, 2)
        add(unit, 2, 2)
    assert [name for name, _ in store.members(2)] == [COOKIE, ANN]
    assert list(store.check()) == []


def test_customers_come_in_pages_rising(store: Store) -> None:
    with store.unit() as unit:
        for number in range(1, 8):
            know(unit, Identifier("account", f"A-{number}"), number)
    pages, after = [], 0
    while page := store.customers(after, 3):
        pages.append(page)
        after = page[-1]
    assert pages == [[1, 2, 3], [4, 5, 6], [7]]


# The change log and facts.


def test_the_change_log_has_every_position_once_in_order_whatever_is_there(store: Store) -> None:
    filled(store)
    log = store.log(0, 100)
    assert [position for position, _ in log] == [1, 2, 3, 4, 5, 6]
    assert [position for position, body in log if body is None] == [3]
    assert log[0] == (1, b"body 1")


def test_the_change_log_is_read_behind_a_position_so_many_at_a_time(store: Store) -> None:
    filled(store)
    assert [position for position, _ in store.log(2, 3)] == [3, 4, 5]
    assert store.log(6, 10) == []
    assert store.log(0, 1) == [(1, b"body 1")]


def test_facts_are_found_by_leaf_and_after_a_position(store: Store) -> None:
    filled(store)
    ann, cookie = Leaf(1, bucket_of(ANN)), Leaf(3, bucket_of(COOKIE))
    assert sorted(row.position for row in store.facts([ann, cookie])) == [1, 2, 4, 5]
    assert [row.position for row in store.facts([ann], 2)] == [4]
    assert store.facts([]) == []
    assert store.facts([Leaf(9, 9)]) == []


def test_leaves_are_found_by_what_their_facts_hold_where_and_when(store: Store) -> None:
    filled(store)
    ever = 1 << 62
    assert store.holding(0, 6, 0, ever, b"body") == [1, 2, 3]
    assert store.holding(0, 6, 0, ever, b"body 6") == [2]
    assert store.holding(0, 6, 0, ever, b"nobody") == []
    assert store.holding(1, 4, 0, ever, b"body") == [1]  # behind the first, through the fourth
    assert store.holding(4, 5, 0, ever, b"body") == [3]
    assert store.holding(0, 6, 50, 60, b"body") == [3]  # from 50 on, before 60
    assert store.holding(0, 6, 0, 10, b"body") == []


def test_a_checkpoint_replaces_the_one_before(store: Store) -> None:
    for position in (3, 6):
        with store.unit() as unit:
            unit.checkpoint(1, Checkpoint(position, "plan", b"data %d" % position))
    assert store.read_checkpoint(1) == Checkpoint(6, "plan", b"data 6")
    assert store.read_checkpoint(2) is None
    assert store.counts()["checkpoints"] == 1


def test_the_newest_fact_of_a_customer_is_that_of_all_her_identifiers(store: Store) -> None:
    filled(store)
    assert store.newest(1) == (4, 0)
    assert store.newest(99) is None
    with store.unit() as unit:
        unit.assign([3], 1, 7)
        add(unit, 8, 3, COOKIE)
    assert store.newest(1) == (8, 7)
    assert store.newest(3) is None  # whom nobody is any more
    with store.unit() as unit:
        know(unit, Identifier("email", "new"), 9)
    assert store.newest(9) == (0, 0)


def test_plans_are_kept_oldest_first_and_each_says_all_it_carries_when_it_is_asked(store: Store) -> None:
    plans = [StoredPlan(number, f"digest{number}", number, 5, "ann", "why", b'{"x":1}', b"{}") for number in (1, 2)]
    for plan in plans:
        with store.unit() as unit:
            unit.append_change(plan.position, "plan", plan.digest)
            unit.add_plan(plan)
    entries = store.plans()
    assert entries == [plan.entry for plan in plans]
    assert [type(entry) for entry in entries] == [PlanEntry, PlanEntry], "what plans say stays where it is"
    assert [store.plan(entry.number) for entry in entries] == plans
    with pytest.raises(LookupError, match="no plan 3"):
        store.plan(3)


def tell(unit: Unit, position: int) -> None:
    unit.append_change(position, "incident", "IOS-481")
    unit.add_workspace_fact(position, fact_id(position), b"told %d" % position)


def test_workspace_facts_are_kept_oldest_first_and_have_their_place_in_the_change_log(store: Store) -> None:
    filled(store)
    with store.unit() as unit:
        tell(unit, 7)
        tell(unit, 8)
    with store.unit() as unit:
        add(unit, 9)
        tell(unit, 10)
    assert store.workspace_facts() == [Row(7, b"told 7"), Row(8, b"told 8"), Row(10, b"told 10")]
    assert store.log(5, 5) == [
        (6, b"body 6"), (7, b"told 7"), (8, b"told 8"), (9, b"body 9"), (10, b"told 10")
    ]  # fmt: skip
    assert store.head()[0] == 10
    assert store.counts()["facts"] == 6
    assert list(store.check()) == []


def keys_of(store: Store) -> list[tuple[str, bytes]]:
    return [(key.touchpoint, key.hash) for key in store.keys()]


def test_of_a_touchpoints_keys_the_newest_two_stay(store: Store) -> None:
    for number, name in enumerate(["chat", "chat", "ivr", "chat", "chat"]):
        with store.unit() as unit:
            unit.add_key(Key(name, b"%d" % number, number), 2)
    assert sorted(keys_of(store)) == [("chat", b"3"), ("chat", b"4"), ("ivr", b"2")]


def test_revoking_removes_a_touchpoints_keys_and_says_how_many(store: Store) -> None:
    with store.unit() as unit:
        for number, name in enumerate(["chat", "chat", "ivr"]):
            unit.add_key(Key(name, b"%d" % number, number), 2)
    with store.unit() as unit:
        assert unit.revoke("chat") == 2
        assert unit.revoke("nobody") == 0
    assert keys_of(store) == [("ivr", b"2")]


# Its own books.


def test_counts_tell_facts_identifiers_customers_and_checkpoints(store: Store) -> None:
    filled(store)
    with store.unit() as unit:
        unit.assign([3], 1, 6)
        unit.checkpoint(1, Checkpoint(6, "p", b""))
    counts = store.counts()
    assert (counts["facts"], counts["identifiers"], counts["customers"], counts["checkpoints"]) == (5, 3, 2, 1)


def test_a_sound_store_has_no_faults(store: Store) -> None:
    filled(store)
    assert list(store.check()) == []


def test_a_hole_in_the_change_log_is_found(store: Store) -> None:
    filled(store)
    with store.unit() as unit:
        add(unit, 9)
    assert any("hole" in fault for fault in store.check())


def test_a_workspace_fact_without_a_place_in_the_change_log_is_found(store: Store) -> None:
    filled(store)
    with store.unit() as unit:
        add(unit, 7)
        unit.add_workspace_fact(7, fact_id(7), b"told")
    assert any("workspace facts without a change" in fault for fault in store.check())


def test_a_fact_without_a_leaf_is_found(store: Store) -> None:
    filled(store)
    with store.unit() as unit:
        add(unit, 7, leaf=42)
    assert any("without a leaf" in fault for fault in store.check())


def test_an_identifier_without_a_customer_is_found(store: Store) -> None:
    filled(store)
    with store.unit() as unit:
        know(unit, Identifier("email", "x@y.org"), 4, customer=42)
    assert any("without a customer" in fault for fault in store.check())


def test_each_store_has_its_own_incarnation(store: Store, tmp_path: Path) -> None:
    assert len({store.incarnation, MemoryStore().incarnation}) == 2


# Books of ordinals.


def test_a_book_is_kept_replaced_and_dropped_with_its_unit(store: Store) -> None:
    one, other = StoredBook("app", "b", b"1"), StoredBook("app", "a", b"2")
    with store.unit() as unit:
        unit.keep_book(one)
        unit.keep_book(other)
        unit.keep_book(StoredBook("ivr", "a", b"3"))
        assert store.books() == []
    assert store.books() == [other, one, StoredBook("ivr", "a", b"3")]
    with store.unit() as unit:
        unit.keep_book(StoredBook("app", "b", b"4"))
        unit.drop_book("ivr", "a")
        unit.drop_book("ivr", "never")
    assert store.books() == [other, StoredBook("app", "b", b"4")]
    with pytest.raises(RuntimeError, match="on purpose"), store.unit() as unit:
        unit.keep_book(StoredBook("app", "b", b"5"))
        unit.drop_book("app", "a")
        raise RuntimeError("on purpose")
    assert store.books() == [other, StoredBook("app", "b", b"4")]


# What was known when.


def test_what_was_known_at_an_instant_is_all_up_to_a_position(store: Store) -> None:
    with store.unit() as unit:
        know(unit, ANN, 1)
        for position, received_at in ((1, 100), (2, 100), (4, 250), (5, 300)):
            unit.append(position, fact_id(position), 1, bucket_of(ANN), (position, 0), received_at, b"body")
        unit.append_change(3, "plan", "d")
        unit.add_plan(StoredPlan(1, "d", 3, 200, "", "", b"{}", b"{}"))
        unit.append_change(6, "incident", "IOS-481")
    known = {instant: store.known_at(instant) for instant in (0, 99, 100, 199, 200, 249, 250, 299, 300, 10**18)}
    assert known == {0: 0, 99: 0, 100: 2, 199: 2, 200: 3, 249: 3, 250: 4, 299: 4, 300: 6, 10**18: 6}


def test_of_an_empty_store_nothing_was_known(store: Store) -> None:
    assert store.known_at(10**18) == 0


def test_a_verdict_changes_and_what_a_link_is_does_not(store: Store) -> None:
    filled(store)
    link = LinkRow(1, 3, 50, fact_id(5), 5, "SEPARATED")
    with store.unit() as unit:
        unit.add_links([link])
    with store.unit() as unit:
        unit.judge([LinkRow(1, 3, 50, fact_id(5), 0, "PARTNERS")])
    assert store.links(1) == store.links(3) == [link._replace(verdict="PARTNERS")]
    assert store.verdicts() == {"PARTNERS": 1}
    with store.unit() as unit:
        unit.judge([link._replace(verdict="")])
    assert store.links(3) == [link._replace(verdict="")]
    assert store.verdicts() == {}


def test_links_are_read_as_far_as_asked(store: Store) -> None:
    filled(store)
    rows = [LinkRow(1, 3, 50, fact_id(5), 5), LinkRow(2, 3, 20, fact_id(6), 6), LinkRow(1, 2, 90, fact_id(2), 2)]
    with store.unit() as unit:
        unit.add_links(rows)
    assert sorted(store.links(3)) == sorted(rows[:2])
    assert store.links(3, 0, Until(at=49)) == [rows[1]]
    assert store.links(3, 0, Until(position=5)) == [rows[0]]
    assert store.links(3, 0, Until(at=50, position=6)) == store.links(3)
    assert store.links(3, 1, Until(at=20)) == [rows[1]], "as many of those that count, not of all"
    assert store.links(3, 0, Until(at=19)) == []
    with store.unit() as unit:
        assert unit.links(1, 0, Until(at=50)) == [rows[0]]
