"""The import command against a hub: every row is explained, rejects are written down with row and cure."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from segue_hub.cli import main
from segue_hub.importing.progress import Progress
from segue_hub.importing.run import Import
from segue_hub.testing import RunningHub, run_hub

from tests.serving import free_port

MAPPING = """
source: visits
zone: Europe/Berlin
native_id: [id]
identifiers: {account: {column: who}}
skip:
  - {when: 'row.what == "ping"', reason: a robot}
facts:
  - event: {column: what}
    at: {column: when, format: "%d.%m.%Y %H:%M"}
    properties: {amount: {column: amount, as: double}}
  - trait: value_tier
    value: {column: tier}
    at: {column: when, format: "%d.%m.%Y %H:%M"}
"""
FILE = """id;when;who;what;amount;tier
1;04.05.2026 09:00;A-1;page.seen;;high

2;04.05.2026 09:01;A-1;ping;;
3;5th of May;A-2;page.seen;;
4;04.05.2026 09:02;;page.seen;;
5;04.05.2026 09:03;A-3;page.seen
6;04.05.2026 09:04;A-3;page.seen;much;
7;04.05.2026 09:05;A-4;;;
8;04.05.2026 09:06;A-4;page.sene;1.5;low
9;04.05.2026 09:07;A-4;page.seen;1.5;low
"""
PLAN = {
    "vocabulary.yaml": """
identifiers: {account: {priority: 1}}
events: {page.seen: {}}
traits: {value_tier: {type: string}}
channels: {web: {}}
unknown_events: reject
""",
    "touchpoints.yaml": "importer: {channel: web, writes: ['page.*', 'trait:*']}\n",
}


@pytest.fixture
def hub() -> Iterator[RunningHub]:
    with run_hub(PLAN) as running:
        yield running


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("visits.csv").write_text(FILE, encoding="utf-8")
    Path("visits.yaml").write_text(MAPPING + 'reads: {delimiter: ";"}\n', encoding="utf-8")
    return tmp_path


def run(hub: RunningHub, *options: str) -> Result:
    key = hub.key("importer")
    command = ["import", "visits.csv", "--mapping", "visits.yaml", "--hub", hub.address, "--key", key, *options]
    return CliRunner().invoke(main, command)


def said(hub: RunningHub, *options: str) -> dict[str, Any]:
    done = run(hub, "--json", *options)
    assert done.exit_code == 0, done.output
    return dict(json.loads(done.stdout))


def rejects(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "visits.csv.rejects.jsonl").read_text(encoding="utf-8").splitlines()]


def test_every_row_is_kept_skipped_or_rejected_each_once_with_its_reason(hub: RunningHub, folder: Path) -> None:
    found = said(hub)
    refused = "page.sene: type: no event is called 'page.sene'. Did you mean 'page.seen'?"
    assert found == {
        "rows": 9,
        "kept": 2,
        "facts": 6,
        "skipped": {"a robot": 1, "nothing to say: no fact applies": 1},
        "rejected": {
            "when: '5th of May' is no time": 1, "page.seen: names nobody": 1, "4 values for 6 columns": 1,
            "amount: 'much' is no double": 1, refused: 1,
        },
        "rejected_rows": 5,
        "results": {"ACCEPTED": 5, "REJECTED": 1},
    }  # fmt: skip
    assert [(reject["row"], reject["reason"]) for reject in rejects(folder)] == [
        (3, "when: '5th of May' is no time"), (4, "page.seen: names nobody"), (5, "4 values for 6 columns"),
        (6, "amount: 'much' is no double"), (8, refused),
    ]  # fmt: skip
    assert all(reject["cure"] for reject in rejects(folder))


def test_a_second_import_adds_nothing_and_writes_the_rejects_once(hub: RunningHub, folder: Path) -> None:
    first, told = said(hub), rejects(folder)
    assert said(hub) == first | {"results": {"DUPLICATE": 5, "REJECTED": 1}}
    assert rejects(folder) == told


def test_a_corrected_file_leaves_no_rejects_behind(hub: RunningHub, folder: Path) -> None:
    said(hub)
    lines = FILE.splitlines()
    (folder / "visits.csv").write_text("\n".join([lines[0], lines[1], lines[-1]]), encoding="utf-8")
    assert said(hub)["results"] == {"DUPLICATE": 4}
    assert not (folder / "visits.csv.rejects.jsonl").exists()


def test_a_dry_run_explains_the_same_rows_and_touches_nothing(hub: RunningHub, folder: Path) -> None:
    before = {path.name for path in folder.iterdir()}
    done = run(hub, "--dry-run", "--json")
    found = json.loads(done.stdout)
    assert (found["rows"], found["rejected_rows"], found["results"]) == (9, 4, {})
    assert "row 3: when: '5th of May' is no time. Write it as %d.%m.%Y %H:%M" in done.stderr
    assert {path.name for path in folder.iterdir()} == before
    assert hub.hub.ingest.counts["ACCEPTED"] == 0


def test_people_are_told_the_same_in_words(hub: RunningHub, folder: Path) -> None:
    done = run(hub)
    assert "9 rows: 2 kept, 2 skipped, 5 rejected" in done.stdout
    assert "5 accepted" in done.stdout
    assert "rejects are in visits.csv.rejects.jsonl" in done.stdout


def test_what_was_remembered_for_another_hub_is_not_skipped_here(hub: RunningHub, folder: Path) -> None:
    progress = folder / "visits.csv.import"
    for remembered in ('{"key": "another", "rows": 9}', '{"rows": 9}', "[]", "no JSON", ""):
        progress.write_text(remembered, encoding="utf-8")
        assert said(hub)["rows"] == 9
        assert not progress.exists()


def test_an_import_that_was_interrupted_begins_anew_where_the_store_at_that_address_is_another_one(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    port, progress = free_port(), folder / "visits.csv.import"
    with monkeypatch.context() as interrupted:  # killed just before its end: what is done is remembered
        interrupted.setattr(Progress, "forget", lambda self: None)
        with run_hub(PLAN, port=port) as first:
            assert said(first)["results"]["ACCEPTED"] == 5
            assert json.loads(progress.read_text(encoding="utf-8"))["rows"] == 9
            assert said(first)["rows"] == 0, "the same store has them"
    with run_hub(PLAN, port=port) as fresh:
        assert fresh.address == first.address
        found = said(fresh)
        assert (found["rows"], found["results"]["ACCEPTED"]) == (9, 5)
        assert fresh.hub.ingest.counts["ACCEPTED"] == 5
    assert not progress.exists()


def test_a_store_that_is_replaced_while_an_import_runs_is_told_and_the_next_run_begins_anew(
    hub: RunningHub, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = Import.run

    def run_on_two_stores(self: Import, *arguments: Any) -> Any:
        tally = whole(self, *arguments)
        monkeypatch.setattr(hub.hub.store, "incarnation", "of a restored backup")
        return tally

    with monkeypatch.context() as replaced:
        replaced.setattr(Import, "run", run_on_two_stores)
        done = run(hub)
    assert done.exit_code == 3
    assert "has another store than when this began; run the same command again" in done.stderr
    assert said(hub)["rows"] == 9


def test_a_hub_that_never_answers_is_told_and_the_import_can_be_run_again(folder: Path) -> None:
    command = ["import", "visits.csv", "--mapping", "visits.yaml", "--hub", "127.0.0.1:1", "--patience", "0.1"]
    done = CliRunner().invoke(main, command)
    assert done.exit_code == 3
    assert "run the same command again to go on" in done.stderr


@pytest.mark.parametrize("key", ["", "wrong"])
def test_a_wrong_key_is_told(hub: RunningHub, folder: Path, key: str) -> None:
    command = ["import", "visits.csv", "--mapping", "visits.yaml", "--hub", hub.address, "--key", key]
    done = CliRunner(env={"SEGUE_KEY": ""}).invoke(main, command)
    assert done.exit_code == 1
    assert "Traceback" not in done.output
