"""An import in the middle of which the hub, or the import itself, is killed: nothing is lost, nothing counted twice."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.real_log import LogHub, assert_every_row_is_explained, ended
from tests.waiting import eventually

pytestmark = [pytest.mark.fault, pytest.mark.timeout(180)]

CALLS = 6_000
HEADER = [
    "vru+line", "call_id", "customer_id", "priority", "type", "date", "vru_entry", "vru_exit", "vru_time", "q_start",
    "q_exit", "q_time", "outcome", "ser_start", "ser_exit", "ser_time", "server",
]  # fmt: skip


def call(number: int) -> list[str]:
    """One call like the bank's: every third hangs up in the queue, every fiftieth is nobody's."""
    hour, minute = number // 60 % 24, number % 60
    begins, queued, answered = (f"{hour}:{minute:02}:{second}" for second in ("07", "20", "40"))
    outcome = "PHANTOM" if number % 50 == 0 else "HANG" if number % 3 == 0 else "AGENT"
    served = [answered, f"{hour}:{minute:02}:59", "19", "DORIT"]
    if outcome != "AGENT":
        served = ["0:00:00", "0:00:00", "0", "NO_SERVER"]
    return ["AA01", str(number), str(number % 700 + 1), "1", "PS", f"9902{number // 1440 + 1:02}", begins, queued, "13",
            queued, answered, "20", outcome, *served]  # fmt: skip


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "calls.txt"
    rows = [HEADER, *map(call, range(CALLS))]
    path.write_text("".join("\t".join(row) + "\r\n" for row in rows), encoding="utf-8", newline="")
    return path


@pytest.fixture
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LogHub]:
    running = LogHub(tmp_path_factory.mktemp("hub"), "bank")
    yield running
    running.stop()


OUTCOMES = Counter(call(number)[12] for number in range(CALLS))
KEPT = OUTCOMES["HANG"] + OUTCOMES["AGENT"]
TYPES = {
    **dict.fromkeys(("call.started", "ivr.exited", "queue.joined", "queue.left"), KEPT),
    **dict.fromkeys(("agent.connected", "agent.ended"), OUTCOMES["AGENT"]),
    "call.abandoned": OUTCOMES["HANG"],
}


def remembered(hub: LogHub, file: Path) -> int:
    """Rows that the import remembers as done; 0 before it remembers any."""
    try:
        return int(json.loads((hub.folder / f"{file.name}.import").read_text(encoding="utf-8"))["rows"])
    except FileNotFoundError:
        return 0


def assert_complete(hub: LogHub, file: Path) -> None:
    assert hub.fact_types() == TYPES
    report: dict[str, Any] = hub.report()["call"]
    assert (report["started"], report["completed"], report["failed"]) == (KEPT, OUTCOMES["AGENT"], OUTCOMES["HANG"])
    assert not (hub.folder / f"{file.name}.import").exists()


def test_the_hub_is_killed_twice_and_the_import_waits_goes_on_and_is_exact(hub: LogHub, file: Path) -> None:
    importing = hub.importing(file)
    for rows in (500, 3_000):
        eventually(lambda least=rows: remembered(hub, file) > least, 60)  # type: ignore[misc]
        assert importing.poll() is None
        hub.kill()
        hub.start()
    said = ended(importing)
    assert_every_row_is_explained(said)
    assert (said["rows"], said["kept"]) == (CALLS, KEPT)
    assert said["results"]["ACCEPTED"] + said["results"].get("DUPLICATE", 0) == sum(TYPES.values())
    assert_complete(hub, file)


def test_a_killed_import_goes_on_after_the_row_it_remembered(hub: LogHub, file: Path) -> None:
    importing = hub.importing(file)
    eventually(lambda: remembered(hub, file) > 1_000, 60)
    assert importing.poll() is None
    importing.kill()
    importing.communicate()
    done = remembered(hub, file)
    assert 1_000 < done < CALLS
    again = hub.importing(file)
    said = ended(again)
    assert_every_row_is_explained(said)
    assert said["rows"] == CALLS - done
    assert_complete(hub, file)


def test_an_import_that_gave_the_hub_up_can_be_run_again(hub: LogHub, file: Path) -> None:
    importing = hub.importing(file, "--patience", "0.5")
    eventually(lambda: remembered(hub, file) > 500, 60)
    hub.kill()
    _, told = importing.communicate(timeout=60)
    assert importing.returncode == 3
    assert "run the same command again" in told
    hub.start()
    hub.imported(file)
    assert_complete(hub, file)


def test_a_killed_import_begins_anew_on_a_store_that_was_wiped_meanwhile(hub: LogHub, file: Path) -> None:
    importing = hub.importing(file)
    eventually(lambda: remembered(hub, file) > 500, 60)
    importing.kill()
    importing.communicate()
    hub.kill()
    hub.wipe()
    hub.start()
    hub.prepare()
    assert hub.imported(file)["rows"] == CALLS
    assert_complete(hub, file)


def test_another_file_of_the_same_name_and_size_is_not_taken_for_the_interrupted_one(hub: LogHub, file: Path) -> None:
    importing = hub.importing(file)
    eventually(lambda: remembered(hub, file) > 500, 60)
    importing.kill()
    importing.communicate()
    lines = file.read_text(encoding="utf-8").splitlines()
    file.write_text("\r\n".join([lines[0], *reversed(lines[1:]), ""]), encoding="utf-8", newline="")
    assert hub.imported(file)["rows"] == CALLS
    assert_complete(hub, file)
