"""A year of an IT company's incidents, imported whole: every figure of the hub is that of SQL over the raw file."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest

from . import incidents_sql
from .real_log import LogHub, assert_adds_nothing, assert_every_row_is_explained, assert_same_figures, real, shuffled

pytestmark = [pytest.mark.data, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def file() -> Path:
    return real("uci498_incidents/incident_event_log.zip")


@pytest.fixture(scope="module")
def unpacked(file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    with zipfile.ZipFile(file) as archive:
        (name,) = archive.namelist()
        return Path(archive.extract(name, tmp_path_factory.mktemp("unpacked")))


@pytest.fixture(scope="module")
def db(unpacked: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    with incidents_sql.read(unpacked) as found:
        yield found


@pytest.fixture(scope="module")
def hub(file: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LogHub]:
    running = LogHub(tmp_path_factory.mktemp("incidents"), "incidents")
    yield running
    running.stop()


@pytest.fixture(scope="module")
def said(hub: LogHub, file: Path) -> dict[str, Any]:
    return hub.imported(file)


@pytest.fixture(scope="module")
def report(hub: LogHub, said: dict[str, Any]) -> dict[str, Any]:
    return hub.report()


def counted(db: duckdb.DuckDBPyConnection, query: str) -> Any:
    found = db.execute(query).fetchone()
    assert found is not None
    return found[0]


def test_every_row_is_kept_or_skipped_with_its_reason(db: duckdb.DuckDBPyConnection, said: dict[str, Any]) -> None:
    assert_every_row_is_explained(said)
    known = counted(db, "select count(*) from raw where caller_id <> '?'")
    assert said == {
        "rows": counted(db, "select count(*) from raw"),
        "kept": known,
        "facts": known,
        "skipped": {"no caller: nobody to know": counted(db, "select count(*) from raw where caller_id = '?'")},
        "rejected": {},
        "rejected_rows": 0,
        "results": {"ACCEPTED": known},
    }
    assert (said["rows"], said["kept"]) == (141_712, 141_683)


def test_the_log_holds_the_facts_of_the_file_by_type(
    db: duckdb.DuckDBPyConnection, hub: LogHub, said: dict[str, Any]
) -> None:
    assert hub.fact_types() == dict(db.execute("select type, count(*) from facts group by 1").fetchall())


def test_incidents_and_reopenings_are_those_that_sql_recognises(
    db: duckdb.DuckDBPyConnection, report: dict[str, Any]
) -> None:
    assert_same_figures(report, incidents_sql.report(db))


def test_a_closed_incident_starts_anew_or_is_absorbed_where_it_had_just_closed(
    db: duckdb.DuckDBPyConnection, report: dict[str, Any]
) -> None:
    """TI3: what comes within five minutes of the goal is an echo; what comes later is a journey of its own."""
    keys = counted(db, "select count(distinct (customer, key)) from incident_walk where journey > 0")
    restarts = counted(db, "select count(*) from incident_journeys where journey > 1")
    assert restarts > 0
    assert report["incident"]["started"] == keys + restarts


def test_incidents_that_were_reopened_are_those_of_the_raw_file(
    db: duckdb.DuckDBPyConnection, report: dict[str, Any]
) -> None:
    reopened = "select count(distinct (caller_id, number)) from raw where caller_id <> '?' and reopen_count <> '0'"
    assert report["reopening"]["started"] == report["reopening"]["running"] == counted(db, reopened) == 275


def test_callers_with_several_incidents_at_once_are_those_that_sql_finds(
    db: duckdb.DuckDBPyConnection, report: dict[str, Any]
) -> None:
    found = report["several_at_once"]
    callers = counted(db, "select count(distinct customer) from several")
    assert found["customers"] == found["started"] == found["running"] == callers


def test_one_that_outlasts_many_others_counts_no_interaction_less_than_there_were(
    db: duckdb.DuckDBPyConnection, report: dict[str, Any]
) -> None:
    """A journey remembers an interaction while it is among the customer's newest 32: one that comes back after more
    others counts again, so that here, where one journey meets hundreds of incidents, the figure is an upper bound. It
    is exact in all other maps.
    """
    exact = dict(
        db.execute(
            "select channel, count(*) from (select distinct customer, key, lower(replace(channel, ' ', '_')) as channel"
            " from several s join facts f using (customer, key, instant, seq)) group by 1"
        ).fetchall()
    )
    found = report["several_at_once"]["interactions"]
    assert set(found) == set(exact)
    assert all(found[channel] >= count for channel, count in exact.items())


def test_the_same_file_again_adds_nothing(
    hub: LogHub, file: Path, said: dict[str, Any], report: dict[str, Any]
) -> None:
    assert hub.imported(file) == said | {"results": {"DUPLICATE": said["facts"]}}
    assert hub.report() == report


def test_the_same_rows_in_another_order_add_nothing(
    hub: LogHub, unpacked: Path, said: dict[str, Any], report: dict[str, Any], tmp_path: Path
) -> None:
    with unpacked.open(encoding="utf-8", newline="") as text:
        other = shuffled(text.readlines(), tmp_path / "shuffled.csv.gz", one_in=4)
    assert_adds_nothing(hub.imported(other), said["rows"] // 4)
    assert hub.report() == report
