"""Records of people with published duplicates, imported whole: who is one, held against the truth and against SQL.

The keys are those of `examples/imports/people`; DuckDB makes the same keys of the raw file and joins what has one in
common, with nothing of Segue in it. Where no limit bites, both are equal to the last pair.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import networkx as nx
import pytest
from segue_hub.checking.plan_check import read_directory
from segue_hub.storage.sqlite import SqliteStore

from .real_log import IMPORTS, LogHub, assert_every_row_is_explained, real

pytestmark = [pytest.mark.data, pytest.mark.timeout(300)]

SETS = {"dataset3": ("dataset3.csv",), "dataset4": ("dataset4a.csv", "dataset4b.csv")}
KEYS = {
    "number": ["soc_sec_id"],
    "name_birth": ["given_name", "surname", "date_of_birth"],
    "surname_birth": ["surname", "date_of_birth", "postcode"],
    "given_birth": ["given_name", "date_of_birth", "postcode"],
    "name_place": ["given_name", "surname", "postcode"],
}
Parts = set[frozenset[str]]
"""Who is one, as sets of record ids."""


def pairs(parts: Iterable[Iterable[object]]) -> int:
    """How many pairs of records are held to be one."""
    return sum(size * (size - 1) // 2 for size in (sum(1 for _ in part) for part in parts))


@dataclass(frozen=True)
class Figures:
    """How well the parts are the people, pair by pair."""

    precision: float
    recall: float

    @property
    def f1(self) -> float:
        return 2 * self.precision * self.recall / (self.precision + self.recall)

    def __str__(self) -> str:
        return f"precision {self.precision:.4f}, recall {self.recall:.4f}, F1 {self.f1:.4f}"


def person(record: str) -> str:
    """Whom a record is about, by the publisher: `rec-17-dup-2` is 17."""
    return record.split("-")[1]


def figures(parts: Parts) -> Figures:
    people: dict[str, list[str]] = defaultdict(list)
    for record in (record for part in parts for record in part):
        people[person(record)].append(record)
    right = sum(
        size * (size - 1) // 2 for part in parts for size in Counter(person(record) for record in part).values()
    )
    return Figures(right / pairs(parts), right / pairs(people.values()))


def by_sql(files: Iterable[Path]) -> Parts:
    """Records with a key in common, and so on, from the raw files."""
    db = duckdb.connect()
    db.execute("create table raw as select * from read_csv($files, header=true, all_varchar=true)",
               {"files": [str(file) for file in files]})  # fmt: skip
    columns = {name.strip(): name for name, *_ in db.execute("describe raw").fetchall()}
    graph = nx.Graph()
    graph.add_nodes_from(record for (record,) in db.execute("select rec_id from raw").fetchall())
    for parts in KEYS.values():
        made = " || '/' || ".join(f"""nullif(trim("{columns[part]}"), '')""" for part in parts)
        sharing = f"select list(rec_id) from (select rec_id, {made} as key from raw) where key is not null group by key"
        for (records,) in db.execute(sharing).fetchall():
            graph.add_edges_from((records[0], other) for other in records[1:])
    return {frozenset(part) for part in nx.connected_components(graph)}


class Registry(LogHub):
    """The hub that took a set in."""

    def take(self, files: Iterable[Path]) -> None:
        for file in files:
            said = self.imported(file)
            assert_every_row_is_explained(said)
            assert said["kept"] == said["rows"] == said["facts"]

    def parts(self) -> Parts:
        """Who is one, read from the store of a hub that stopped for a moment."""
        self.stop_only()
        store, after, found = SqliteStore(self.store), 0, set[frozenset[str]]()
        try:
            while numbers := store.customers(after, 500):
                after = numbers[-1]
                for number in numbers:
                    records = [name.value for name, _ in store.members(number) if name.kind == "record"]
                    if records:
                        found.add(frozenset(records))
        finally:
            store.close()
        self.start()
        return found

    def stop_only(self) -> None:
        """Without the log that the next one writes on."""
        super(LogHub, self).stop()

    def limited(self, numbers: int, folder: Path) -> None:
        """Puts the plan in force with another limit of numbers, and waits until all is decided by it."""
        files = read_directory(IMPORTS / "people" / "plan")
        files["vocabulary.yaml"] = files["vocabulary.yaml"].replace("per_customer: 3", f"per_customer: {numbers}")
        folder.mkdir()
        for name, text in files.items():
            (folder / name).write_text(text)
        self.command("plan", "push", str(folder))
        swept = _eventually(lambda: self.sweep()["state"] == "idle")
        assert swept

    def sweep(self) -> dict[str, Any]:
        return dict(self.json("status")["sweep"])


def _eventually(condition: Any) -> bool:
    from tests.waiting import eventually

    return bool(eventually(condition, 120))


@pytest.fixture(scope="module", params=list(SETS))
def taken(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Registry]]:
    files = [real(f"identity_febrl/{name}") for name in SETS[request.param]]
    hub = Registry(tmp_path_factory.mktemp(request.param), "people")
    try:
        hub.take(files)
        yield request.param, hub
    finally:
        hub.stop()


FLOORS = {"dataset3": (1.0, 0.97, 0.985), "dataset4": (0.999, 0.98, 0.989)}
"""Precision, recall and F1 that these keys reach at least."""


def test_people_are_found_as_well_as_the_keys_allow_and_as_sql_finds_them(taken: tuple[str, Registry]) -> None:
    name, hub = taken
    parts = hub.parts()
    found = figures(parts)
    print(f"{name}: {sum(map(len, parts))} records, {len(parts)} people, {found}")
    precision, recall, f1 = FLOORS[name]
    assert found.precision >= precision
    assert found.recall >= recall
    assert found.f1 >= f1
    assert parts == by_sql(real(f"identity_febrl/{file}") for file in SETS[name])


@pytest.mark.parametrize("taken", ["dataset3"], indirect=True)
def test_the_number_alone_finds_fewer_and_glues_nobody(taken: tuple[str, Registry], tmp_path: Path) -> None:
    """One number a customer: whoever has another one is another person, also where the number is misspelt."""
    name, hub = taken
    before = hub.parts()
    hub.limited(1, tmp_path / "strict")
    strict = figures(hub.parts())
    refused = hub.json("status")["links_refused"]
    print(f"{name}, one number a customer: {strict}, refused {refused}")
    assert strict.precision == 1.0
    assert 0.85 <= strict.recall < figures(before).recall
    hub.limited(3, tmp_path / "again")
    assert hub.parts() == before
