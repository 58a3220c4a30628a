"""What the SQLite store promises beyond the ports: one process, FULL, migrations, reopening, a full disk."""

from __future__ import annotations

import random
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import apsw
import pytest
from segue.domain.identifier import Identifier
from segue_hub.storage.ports import (
    Checkpoint,
    IdTaken,
    Key,
    Leaf,
    StoreBroken,
    StoredPlan,
    StoreFull,
    StoreMissing,
    bucket_of,
)
from segue_hub.storage.sqlite import SqliteStore, StoreInUse, leaf_index
from segue_hub.storage.sqlite.schema import migrate, migrations

from tests.conformance.test_storage import ANN, COOKIE, add, everything, fact_id, filled, know


def test_a_second_open_is_refused_while_the_first_lives(tmp_path: Path) -> None:
    path = tmp_path / "segue.db"
    first = SqliteStore(path)
    with pytest.raises(StoreInUse, match="in use by another process"):
        SqliteStore(path)
    first.close()
    SqliteStore(path).close()


def test_every_connection_is_wal_and_full(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "segue.db")
    for connection in (store._writer, store._reader):
        assert next(connection.execute("PRAGMA synchronous")) == (2,)
        assert next(connection.execute("PRAGMA journal_mode")) == ("wal",)
    store.close()


def test_reopening_keeps_everything(tmp_path: Path) -> None:
    path = tmp_path / "segue.db"
    store = SqliteStore(path)
    filled(store)
    with store.unit() as unit:
        unit.checkpoint(1, Checkpoint(6, "plan", b"data"))
        unit.add_plan(StoredPlan(1, "d", 3, 0, "ann", "", b"{}", b"{}"))
        unit.add_key(Key("chat", b"hash", 7), 2)
        unit.append_change(7, "incident", "IOS-481")
        unit.add_workspace_fact(7, fact_id(7), b"told")
    before, incarnation = everything(store), store.incarnation
    store.close()
    again = SqliteStore(path)
    assert everything(again) == before
    assert again.incarnation == incarnation
    assert list(again.check()) == []
    again.close()


def test_an_identifier_that_stands_there_twice_is_found(tmp_path: Path) -> None:
    """No index says so any more: the one that finds an identifier has in it whose it is."""
    store = SqliteStore(tmp_path / "segue.db")
    filled(store)
    with store.unit() as unit:
        know(unit, ANN, 4)
    assert list(store.check()) == ["1 identifiers that stand there twice"]
    store.close()


def schema_of(path: Path) -> list[tuple[object, ...]]:
    connection = apsw.Connection(str(path))
    rows = list(connection.execute("SELECT type, name, sql FROM sqlite_schema ORDER BY 1, 2"))
    rows += list(connection.execute("PRAGMA user_version"))
    connection.close()
    return rows


@pytest.mark.parametrize("start", [number for number, _ in migrations()])
def test_a_file_migrated_from_any_version_has_the_schema_of_a_fresh_one(tmp_path: Path, start: int) -> None:
    fresh, old = tmp_path / "fresh.db", tmp_path / "old.db"
    SqliteStore(fresh).close()
    connection = apsw.Connection(str(old))
    for number, text in migrations():
        if number <= start:
            connection.execute(text)
            connection.execute(f"PRAGMA user_version = {number}")
    migrate(connection)
    connection.close()
    assert schema_of(old) == schema_of(fresh)


def test_migrations_are_numbered_without_gaps() -> None:
    assert [number for number, _ in migrations()] == list(range(1, len(migrations()) + 1))


def test_a_file_of_a_newer_hub_is_refused_and_let_go(tmp_path: Path) -> None:
    path = tmp_path / "segue.db"
    SqliteStore(path).close()
    connection = apsw.Connection(str(path))
    connection.execute("PRAGMA user_version = 9999")
    connection.close()
    for _ in range(2):
        with pytest.raises(StoreBroken, match="upgrade the hub"):
            SqliteStore(path)


def test_a_file_that_is_no_store_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "segue.db"
    path.write_bytes(b"this is a text, not a database. " * 200)
    with pytest.raises(StoreBroken, match="cannot be opened as a store"):
        SqliteStore(path)


def test_a_damaged_page_is_found(tmp_path: Path) -> None:
    path = tmp_path / "segue.db"
    store = SqliteStore(path)
    filled(store)
    store._writer.execute("DROP INDEX identifiers_by_customer")  # an index that lost a row is what check has to see
    store._writer.execute("CREATE INDEX identifiers_by_customer ON identifiers (customer) WHERE number < 2")
    store._writer.execute("PRAGMA writable_schema = 1")
    store._writer.execute(
        "UPDATE sqlite_schema SET sql = 'CREATE INDEX identifiers_by_customer ON identifiers (customer)'"
        " WHERE name = 'identifiers_by_customer'"
    )
    store.close()
    again = SqliteStore(path)
    assert any("SQLite" in fault for fault in again.check())
    again.close()


def test_facts_are_found_by_their_leaf_wherever_the_index_has_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Entries move from the newest into the small table and from there into the large one, a bucket at a time; a unit
    that raises moves none.
    """
    monkeypatch.setattr(leaf_index, "NEWEST", 16)
    monkeypatch.setattr(leaf_index, "EVERY", 3)
    names = [Identifier("account", f"A-{number}") for number in range(40)]
    wanted: dict[int, list[int]] = {number: [] for number in range(40)}
    store, position, chance = SqliteStore(tmp_path / "segue.db"), 0, random.Random(7)
    for round_ in range(60):
        if round_ == 30:
            store.close()
            store = SqliteStore(tmp_path / "segue.db")
        fails, added = round_ % 7 == 6, []
        with suppress(IdTaken), store.unit() as unit:
            for _ in range(chance.randrange(1, 12)):
                position += 1
                leaf = chance.randrange(40)
                add(unit, position, leaf, names[leaf])
                added.append((leaf, position))
            if fails:
                unit.append(position + 1, fact_id(1), 1, 0, (0, 0), 0, b"another of this id")
        if fails:
            position -= len(added)
        else:
            for leaf, at in added:
                wanted[leaf].append(at)
        after = chance.randrange(position + 1)
        for leaf, positions in wanted.items():
            found = store.facts([Leaf(leaf, bucket_of(names[leaf]))], after)
            assert sorted(row.position for row in found) == [at for at in positions if at > after]
            between = store.facts([Leaf(leaf, bucket_of(names[leaf]), after * 10, after * 10 + 300)])
            assert sorted(row.position for row in between) == [at for at in positions if after <= at < after + 30]
    tables = ("leaf_index", "fresh_leaf_index", "newest_leaf_index")
    (moved,), (fresh,), (newest,) = (next(store._writer.execute(f"SELECT count(*) FROM {table}")) for table in tables)
    assert moved > 50
    assert fresh > 50
    assert 0 < newest < 20
    assert moved + fresh + newest == position
    assert not any("find" in fault for fault in store.check())
    store._writer.execute("DELETE FROM leaf_index WHERE position = (SELECT min(position) FROM leaf_index)")
    faults = [fault for fault in store.check() if "find" in fault]
    assert faults == ["1 facts that their leaf does not find, or finds twice"]
    store.close()


def test_of_a_log_a_hundred_times_as_long_ten_times_as_many_entries_move_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(leaf_index, "EVERY", 3)
    monkeypatch.setattr(leaf_index, "SHORT", 1_000)
    moved: list[int] = []

    def run(sql: str, values: tuple[int, ...] = ()) -> None:
        moved.extend(values if sql == "settle" else ())

    names = ("index_leaves", "freshen_leaves", "drop_freshened_leaves", "settle_leaves", "drop_settled_leaves")
    statements = dict.fromkeys(names, "") | {"settle_leaves": "settle"}
    index = leaf_index.LeafIndex(run, statements)
    for last, moves in ((12, 4), (999, 4), (100_000, 0), (100_012, 0), (100_024, 1), (100_036, 0), (100_048, 1)):
        moved.clear()
        index.add(last - 11, last, 12)
        assert len(moved) == moves, last


def test_a_full_disk_refuses_the_unit_whole_and_takes_the_next_once_there_is_space(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "segue.db")
    filled(store)
    before = everything(store)
    (pages,) = next(store._writer.execute("PRAGMA page_count"))
    store._writer.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(StoreFull, match="no space left"), store.unit() as unit:
        know(unit, Identifier("email", "x@y.org"), 4)
        for position in range(7, 400):
            unit.append(position, fact_id(position), 1, bucket_of(ANN), (position, 0), 0, b"x" * 200)
    assert everything(store) == before
    store._writer.execute("PRAGMA max_page_count = 1000000")
    with store.unit() as unit:
        add(unit, 7)
    assert store.head()[0] == 7
    assert list(store.check()) == []
    store.close()


@pytest.mark.parametrize("which", ["segue.db", "segue.db-wal"])
def test_a_store_whose_file_was_removed_takes_nothing_until_it_is_back(tmp_path: Path, which: str) -> None:
    """Counterexample: it went on in a file without a name, and what it acknowledged went with its process."""
    store = SqliteStore(tmp_path / "segue.db")
    filled(store)
    before = store.head(), store.log(0, 100), store.resolve(ANN)
    (tmp_path / which).rename(tmp_path / "elsewhere")
    for _ in range(2):
        with pytest.raises(StoreMissing, match=which), store.unit() as unit:
            add(unit, 7)
    (tmp_path / which).write_bytes(b"")  # another one
    with pytest.raises(StoreMissing, match=which), store.unit() as unit:
        add(unit, 7)
    assert (store.head(), store.log(0, 100), store.resolve(ANN)) == before, "what is in it can be read"
    (tmp_path / "elsewhere").replace(tmp_path / which)
    with store.unit() as unit:
        add(unit, 7)
    store.close()
    again = SqliteStore(tmp_path / "segue.db")
    assert again.head()[0] == 7
    assert list(again.check()) == []
    again.close()


_LIMITED = """
import resource, signal, sys
from pathlib import Path
from segue_hub.storage.ports import StoreBroken, StoreFull
from segue_hub.storage.sqlite import SqliteStore
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
store = SqliteStore(Path(sys.argv[1]))
kept = 0
resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, resource.RLIM_INFINITY))
for number in range(1, 2000):
    try:
        with store.unit() as unit:
            for part in range(10):
                position = kept + part + 1
                unit.append(position, position.to_bytes(16, "big"), 1, 0, (position, 0), 0, b"x" * 500)
    except (StoreFull, StoreBroken) as error:
        print(type(error).__name__, kept, store.head()[0])
        break
    kept += 10
"""


def test_where_the_file_may_not_grow_what_was_acknowledged_is_kept_and_no_part_of_the_rest(tmp_path: Path) -> None:
    path = tmp_path / "segue.db"
    done = subprocess.run(
        [sys.executable, "-c", _LIMITED, str(path)], capture_output=True, text=True, timeout=60, check=True
    )
    error, kept, head = done.stdout.split()
    assert error in ("StoreFull", "StoreBroken")
    assert int(kept) == int(head) > 0
    again = SqliteStore(path)
    assert again.head()[0] == int(kept)
    assert again.counts()["facts"] == int(kept)
    again.close()


def test_a_store_that_broke_refuses_every_unit_after(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "segue.db")
    filled(store)
    with pytest.raises(StoreBroken), store.unit() as unit:
        add(unit, 7)
        raise apsw.IOError("fsync failed, on purpose")
    with pytest.raises(StoreBroken, match="on purpose"), store.unit():
        pass
    assert store.resolve(COOKIE) is not None
    store.close()
