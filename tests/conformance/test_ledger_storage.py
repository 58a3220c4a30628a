"""What every store promises of the ledger (storage/ledger_ports.py): one suite for memory and SQLite."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from segue.domain.instant import NEVER
from segue_hub.storage.ledger_ports import NOBODY, KeptAudience, Standing, StoredCursor, Telling
from segue_hub.storage.memory import MemoryStore
from segue_hub.storage.ports import Store
from segue_hub.storage.sqlite import SqliteStore

STUCK, QUIET = KeptAudience(1, "stuck", "b1"), KeptAudience(2, "quiet")
EXPORT = StoredCursor(1, "crm", "export", 1, 1, 5)


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    made: Store = MemoryStore() if request.param == "memory" else SqliteStore(tmp_path / "segue.db")
    yield made
    made.close()


def telling(number: int, customer: int = 7, *, left: bool = False, reason: str = "") -> Telling:
    return Telling(number, customer, left, number * 10, reason)


def listening(store: Store) -> None:
    """Two audiences, and a cursor of the first."""
    with store.unit() as unit:
        unit.ledger.keep_audience(STUCK)
        unit.ledger.keep_audience(QUIET)
        unit.ledger.keep_cursor(EXPORT)


def everything(store: Store) -> Any:
    ledger = store.ledger
    return (ledger.kept_audiences(), ledger.cursors(), ledger.tellings(1, 0, 1000), ledger.wake_ups((-1, 0), 1000),
            ledger.ledger_counts(), [ledger.standing(n) for n in range(20)])  # fmt: skip


def test_a_fresh_store_has_told_nobody_anything(store: Store) -> None:
    ledger = store.ledger
    assert ledger.kept_audiences() == ledger.cursors() == ledger.tellings(1, 0, 10) == []
    assert ledger.wake_ups((-1, 0), 10) == ledger.members_of(1, 0, 10) == []
    assert ledger.standing(7) == NOBODY
    assert ledger.waiting(1) == 0
    assert ledger.ledger_counts() == {"members": 0, "tellings": 0, "wake_ups": 0}


def test_what_a_unit_writes_is_read_once_it_ends_and_not_at_all_where_it_raises(store: Store) -> None:
    listening(store)
    before = everything(store)
    with pytest.raises(RuntimeError, match="on purpose"), store.unit() as unit:
        ledger = unit.ledger
        ledger.keep_audience(KeptAudience(3, "other", "x"))
        ledger.set_members([(7, 1, 50)])
        ledger.tell(1, [telling(1)])
        ledger.wake([(7, 60)])
        ledger.told(1, 1, 99)
        ledger.drop_cursor(1)
        assert everything(store) == before
        raise RuntimeError("on purpose")
    assert everything(store) == before


def test_an_audience_is_kept_replaced_and_dropped_with_its_members(store: Store) -> None:
    listening(store)
    with store.unit() as unit:
        unit.ledger.set_members([(7, 1, 50), (8, 1, 51), (7, 2, 52)])
        unit.ledger.keep_audience(QUIET._replace(basis="b2"))
    assert store.ledger.kept_audiences() == [STUCK, QUIET._replace(basis="b2")]
    assert store.ledger.standing(7) == Standing(NEVER, {1: 50, 2: 52})
    with store.unit() as unit:
        unit.ledger.drop_audience(1)
    assert [audience.number for audience in store.ledger.kept_audiences()] == [2]
    assert store.ledger.standing(7) == Standing(NEVER, {2: 52})
    assert store.ledger.standing(8) == NOBODY


def test_members_are_set_moved_dropped_and_paged_by_audience(store: Store) -> None:
    with store.unit() as unit:
        unit.ledger.set_members([(customer, 1, customer * 10) for customer in (9, 3, 5)])
        unit.ledger.set_members([(4, 2, 40)])
    with store.unit() as unit:
        unit.ledger.set_members([(3, 1, 99)])
        unit.ledger.drop_members([(5, 1), (5, 2), (77, 1)])
    assert store.ledger.members_of(1, 0, 10) == [3, 9]
    assert store.ledger.members_of(1, 3, 10) == [9]
    assert store.ledger.members_of(1, 0, 1) == [3]
    assert store.ledger.members_of(2, 0, 10) == [4]
    assert store.ledger.standing(3).since == {1: 99}


def test_a_cursor_hears_what_it_is_told_in_order_and_what_it_acknowledged_is_gone(store: Store) -> None:
    listening(store)
    with store.unit() as unit:
        unit.ledger.tell(1, [telling(1), telling(2, left=True, reason="retracted"), telling(3, 8)])
        unit.ledger.tell(1, [])
    assert store.ledger.tellings(1, 0, 10) == [telling(1), telling(2, left=True, reason="retracted"), telling(3, 8)]
    assert store.ledger.tellings(1, 1, 1) == [telling(2, left=True, reason="retracted")]
    assert store.ledger.cursors() == [EXPORT._replace(next=4)]
    with store.unit() as unit:
        unit.ledger.told(1, 2, 77)
        unit.ledger.tell(1, [telling(4)])
    assert [t.number for t in store.ledger.tellings(1, 0, 10)] == [3, 4]
    assert store.ledger.waiting(1) == 2
    assert store.ledger.cursors() == [EXPORT._replace(next=5, heard_at=77)]


def test_a_new_cursor_is_told_of_all_who_are_members_once_its_unit_ends_in_order_of_instants(store: Store) -> None:
    with store.unit() as unit:
        unit.ledger.keep_audience(STUCK)
        unit.ledger.set_members([(7, 1, 50), (8, 1, 40), (9, 1, 45), (5, 2, 1)])
    with store.unit() as unit:
        unit.ledger.set_members([(6, 1, 50)])
        unit.ledger.drop_members([(9, 1)])
        unit.ledger.keep_cursor(EXPORT)
    assert store.ledger.tellings(1, 0, 10) == [
        Telling(1, 8, False, 40, ""), Telling(2, 6, False, 50, ""), Telling(3, 7, False, 50, "")
    ]  # fmt: skip
    assert store.ledger.cursors() == [EXPORT._replace(next=4)]


def test_cursors_are_apart_and_one_that_is_dropped_takes_its_tellings_along(store: Store) -> None:
    listening(store)
    with store.unit() as unit:
        unit.ledger.keep_cursor(EXPORT._replace(number=2, name="ads"))
        unit.ledger.tell(1, [telling(1)])
        unit.ledger.tell(2, [telling(1, 8)])
    with store.unit() as unit:
        unit.ledger.drop_cursor(1)
    assert [cursor.name for cursor in store.ledger.cursors()] == ["ads"]
    assert store.ledger.tellings(1, 0, 10) == []
    assert store.ledger.tellings(2, 0, 10) == [telling(1, 8)]


def test_wake_ups_are_one_a_customer_in_order_and_paged(store: Store) -> None:
    with store.unit() as unit:
        unit.ledger.wake([(customer, 100 - customer % 3) for customer in range(1, 100)])
    with store.unit() as unit:
        unit.ledger.wake([(1, 5), (2, NEVER), (3, 200), (777, NEVER)])
    found, after = [], (-1, 0)
    while page := store.ledger.wake_ups(after, 7):
        found += page
        after = page[-1]
    wanted = {customer: 100 - customer % 3 for customer in range(1, 100)} | {1: 5, 3: 200}
    del wanted[2]
    assert found == sorted((at, customer) for customer, at in wanted.items())
    assert store.ledger.standing(1).wake_at == 5
    assert store.ledger.standing(2).wake_at == NEVER
    assert store.ledger.ledger_counts()["wake_ups"] == 98
    with store.unit() as unit:
        unit.ledger.drop_wake_ups()
    assert store.ledger.wake_ups((-1, 0), 10) == []


def test_who_is_roused_is_asked_at_the_latest_then_and_no_later_than_before(store: Store) -> None:
    with store.unit() as unit:
        unit.ledger.wake([(1, 5), (2, 50)])
    with store.unit() as unit:
        unit.ledger.rouse([1, 2, 3], 20)
    assert store.ledger.wake_ups((-1, 0), 10) == [(5, 1), (20, 2), (20, 3)]


def test_of_what_is_conflated_only_what_makes_a_difference_stays(store: Store) -> None:
    listening(store)
    rows = [telling(1, 7), telling(2, 7, left=True), telling(3, 8), telling(4, 7), telling(5, 8, left=True),
            telling(6, 9, left=True), telling(7, 7, left=True), telling(8, 7)]  # fmt: skip
    with store.unit() as unit:
        unit.ledger.tell(1, rows)
    with store.unit() as unit:
        unit.ledger.conflate(1, 2)
    assert [t.number for t in store.ledger.tellings(1, 0, 10)] == [1, 2, 6, 8]
    assert store.ledger.cursors()[0].next == 9


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.integers(1, 4), st.booleans()), max_size=30), st.integers(0, 12))
def test_whoever_applies_what_was_conflated_ends_with_the_same_members(
    tmp_path_factory: pytest.TempPathFactory, drawn: list[tuple[int, bool]], heard: int
) -> None:
    inside: set[int] = set()
    rows = []
    for customer, _ in drawn:
        rows.append(Telling(len(rows) + 1, customer, customer in inside, 0, ""))
        inside ^= {customer}
    for made in (MemoryStore(), SqliteStore(tmp_path_factory.mktemp("conflate") / "segue.db")):
        store: Store = made
        listening(store)
        with store.unit() as unit:
            unit.ledger.tell(1, rows)
        with store.unit() as unit:
            unit.ledger.conflate(1, heard)
        held: set[int] = set()
        for row in store.ledger.tellings(1, 0, 100):
            assert row.left == (row.customer in held)
            held ^= {row.customer}
        assert held == inside
        behind = store.ledger.tellings(1, heard, 100)
        assert len({row.customer for row in behind}) == len(behind)
        store.close()


def test_a_file_that_is_opened_again_has_the_same_ledger(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "segue.db")
    listening(store)
    with store.unit() as unit:
        unit.ledger.set_members([(7, 1, 50)])
        unit.ledger.tell(1, [telling(1)])
        unit.ledger.wake([(7, 60)])
    before = everything(store)
    store.close()
    again = SqliteStore(tmp_path / "segue.db")
    assert everything(again) == before
    assert list(again.check()) == []
    again.close()


def test_rows_that_belong_to_nothing_are_found(store: Store) -> None:
    listening(store)
    assert list(store.check()) == []
    with store.unit() as unit:
        unit.ledger.set_members([(7, 9, 50)])
        unit.ledger.keep_cursor(EXPORT._replace(number=2, audience=8))
    assert sorted(store.check()) == [
        "1 cursors of audiences that are not kept", "1 members of audiences that nobody watches"
    ]  # fmt: skip
