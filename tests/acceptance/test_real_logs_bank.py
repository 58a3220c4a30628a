"""A month of a bank's contact centre, imported whole: every figure of the hub is that of SQL over the raw file."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest

from . import bank_sql
from .real_log import LogHub, assert_adds_nothing, assert_every_row_is_explained, assert_same_figures, real, shuffled

pytestmark = [pytest.mark.data, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def file() -> Path:
    return real("anonymous_bank_ivr_1999_02/data_anonymous_bank_february.txt.gz")


@pytest.fixture(scope="module")
def db(file: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    with bank_sql.read(file) as found:
        yield found


@pytest.fixture(scope="module")
def hub(file: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LogHub]:
    running = LogHub(tmp_path_factory.mktemp("bank"), "bank")
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
    phantoms = counted(db, "select count(*) from raw where outcome = 'PHANTOM'")
    assert said == {
        "rows": counted(db, "select count(*) from raw"),
        "kept": counted(db, "select count(*) from calls"),
        "facts": counted(db, "select count(*) from facts"),
        "skipped": {"phantom: the line rang, nobody called": phantoms},
        "rejected": {},
        "rejected_rows": 0,
        "results": {"ACCEPTED": counted(db, "select count(*) from facts")},
    }
    assert (said["rows"], said["kept"], phantoms) == (33_344, 33_066, 278)


def test_the_log_holds_the_facts_that_sql_unfolds_by_type(
    db: duckdb.DuckDBPyConnection, hub: LogHub, said: dict[str, Any]
) -> None:
    assert hub.fact_types() == dict(db.execute("select type, count(*) from facts group by 1").fetchall())


def test_calls_and_repeat_calls_are_those_that_sql_recognises(
    db: duckdb.DuckDBPyConnection, report: dict[str, Any]
) -> None:
    assert_same_figures(report, bank_sql.report(db))


def test_customers_abandoned_calls_and_repeats_within_a_day_are_those_of_the_raw_file(
    db: duckdb.DuckDBPyConnection, report: dict[str, Any]
) -> None:
    """Said once more without journeys, straight from the rows."""
    assert report["call"]["customers"] == counted(db, "select count(distinct customer) from calls")
    assert report["call"]["failed"] == counted(db, "select count(*) from raw where outcome = 'HANG'")
    repeats = """
        select count(*) from (
          select entered - lag(entered) over (partition by customer order by entered, number) as since from calls
        ) where since < 24 * 3600 * 1000000::bigint
    """
    assert report["repeat_call"]["started"] == counted(db, repeats)


def test_the_same_file_again_adds_nothing(
    hub: LogHub, file: Path, said: dict[str, Any], report: dict[str, Any]
) -> None:
    assert hub.imported(file) == said | {"results": {"DUPLICATE": said["facts"]}}
    assert hub.report() == report


def test_the_same_rows_in_another_order_add_nothing(
    hub: LogHub, file: Path, said: dict[str, Any], report: dict[str, Any], tmp_path: Path
) -> None:
    with gzip.open(file, "rt", encoding="utf-8", newline="") as text:
        other = shuffled(text.readlines(), tmp_path / "shuffled.txt.gz", one_in=4)
    assert_adds_nothing(hub.imported(other), said["rows"] // 4)
    assert hub.report() == report


def test_the_route_of_every_call_of_the_month_is_that_of_sql(
    db: duckdb.DuckDBPyConnection, hub: LogHub, said: dict[str, Any]
) -> None:
    routed = json.loads(hub.run("examples.imports.bank.ask", "--json"))
    for answer in ("callback", "agent", "menu"):
        calls = db.execute(f"select key from ({bank_sql.ROUTES}) where route = '{answer}' order by key").fetchall()
        assert set(routed[answer]) == {call for (call,) in calls}, answer
        assert len(routed[answer]) == len(calls)
    assert sum(map(len, routed.values())) == said["kept"]


def test_asked_at_every_call_the_command_answers_what_sql_does(
    db: duckdb.DuckDBPyConnection, hub: LogHub, said: dict[str, Any], tmp_path: Path
) -> None:
    """`segue replay --ask-at`, with the importer's own key: of another process, and of nothing but the wire."""
    out = tmp_path / "answers.jsonl"
    asking = ("--ask-at", "event=call.started", "--with", "examples/imports/bank/route.py:route")
    report = json.loads(hub.run("segue", "replay", *asking, "--answers", str(out), "--json"))
    answers = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    assert report["asked"] == len(answers) == said["kept"]
    assert (report["failed"], report["not_asked"], report["reads_besides"]) == (0, {}, [])
    routes = dict(db.execute(f"select key, route from ({bank_sql.ROUTES})").fetchall())
    assert {answer["interaction"]: answer["answer"] for answer in answers} == routes
