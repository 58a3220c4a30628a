"""F14: hosts of every kind that can be thought of; each is a process of its own (`host_lives`).

Promises 6 and 7: kept + delivered + reported lost = offered in each, the hub's log and books agree, nothing raises into
the host, and no call of it takes long. Where nothing can be kept at all, that is said, and decisions go on.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.faults.test_failing_disk import small_disk
from tests.faults.test_gunicorn import books, swept
from tests.faults.trial import Trial
from tests.faults.watched import log_in
from tests.serving import Serving, environment, serving

pytestmark = [pytest.mark.fault, pytest.mark.trial]

ROOT = Path(__file__).resolve().parents[2]


def lived(
    hub: Serving, kind: str, state: Path | str, count: int, without: Sequence[str] = (), **more: str
) -> dict[str, Any]:
    """Runs a host to its end; what it said last."""
    variables = {name: value for name, value in environment(**more).items() if name not in without}
    done = subprocess.run(
        [sys.executable, "-m", "tests.faults.host_lives", kind, hub.address, hub.key("app"), str(state), str(count)],
        cwd=ROOT, env=variables, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr or "Too many open files" in done.stderr, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def reckoned(trial: Trial, hub: Serving, said: dict[str, Any], expected: int) -> None:
    """Holds what the processes of a host say against the hub's log and books."""
    sums = books(hub)
    hub.stop()
    counted = Counter(fact.id for _, fact in log_in(hub.store))
    lives = said["lives"]
    offered = sum(life["offered"] for life in lives)
    gone = sum(sum(life["losses"].values()) for life in lives)
    waiting = sum(life["waiting"] for life in lives)
    doubled = sum(count - 1 for count in counted.values())
    trial.report(
        processes=len(lives), offered=offered, in_log=len(counted), lost=offered - len(counted) - gone - waiting,
        said_lost=gone, doubled=doubled, missing=sums["missing"], slowest_call_ms=round(said["slowest_ms"], 1),
    )  # fmt: skip
    assert offered == expected
    assert len(counted) == sum(life["delivered"] for life in lives) == offered - gone - waiting
    assert doubled == 0
    assert (sums["missing"], sums["arrived"]) == (0, len(counted))
    assert all(value == "agent" for life in lives for value in life["answers"])  # each reads what it told, at once


@pytest.mark.parametrize(
    ("kind", "processes"),
    [
        ("spawn", 7),
        ("forkserver", 7),
        ("threads", 100),
        ("own_loop", 2),
        ("greenlets", 20),
        ("daemonized", 1),
        ("plain", 1),
    ],
)
def test_f14_a_host_of_this_kind_loses_nothing(kind: str, processes: int, tmp_path: Path) -> None:
    trial = Trial(f"F14 {kind}", small=5, ci=50, long=1_000)
    with serving(tmp_path) as hub:
        said = lived(hub, kind, tmp_path / "state", trial.size)
        extra = 1 if kind == "greenlets" else 0
        reckoned(trial, hub, said, processes * trial.size + extra)
    assert all(life["flushed"] for life in said["lives"])


def test_f14_a_daemon_that_closes_what_grpc_needs_loses_nothing_that_was_kept(tmp_path: Path) -> None:
    """Its connection is gone, as for all who fork with gRPC alive and close everything; gRPC may even end the process.
    What it kept the next one delivers.
    """
    trial = Trial("F14 daemonized late", small=5, ci=50, long=1_000)
    with serving(tmp_path) as hub:
        said = lived(hub, "daemonized_late", tmp_path / "state", trial.size)
        before, after = said["lives"]
        assert before["delivered"] == trial.size
        swept(hub, tmp_path / "state")
        sums = books(hub)
        hub.stop()
        counted = Counter(fact.id for _, fact in log_in(hub.store))
    died = "died" in after
    trial.report(in_log=len(counted), died=int(died), missing=sums["missing"], in_doubt=sums["doubtful"])
    assert sum(count - 1 for count in counted.values()) == 0
    assert (sums["missing"], sums["lost"], sums["arrived"]) == (0, {}, len(counted))
    if not died:
        assert set(after["answers"]) == {"agent"}
        assert after["delivered"] + after["waiting"] == after["offered"] == trial.size
        assert len(counted) == 2 * trial.size


def test_f14_children_that_were_forked_use_what_their_parent_made(tmp_path: Path) -> None:
    trial = Trial("F14 fork", small=5, ci=50, long=1_000)
    with serving(tmp_path) as hub:
        said = lived(hub, "fork", tmp_path / "state", trial.size)
        lives = [life for life in said["lives"] if life["answers"]]
        assert len(lives) >= 2
        reckoned(trial, hub, {**said, "lives": lives}, len(lives) * trial.size)


def test_f14_a_host_that_ends_while_its_daemon_threads_tell_ends(tmp_path: Path) -> None:
    """Nobody closed anything: what was on disk is delivered by the next one, and the rest is in doubt at the hub."""
    trial = Trial("F14 unattended", small=5, ci=50, long=500)
    with serving(tmp_path) as hub:
        lived(hub, "unattended", tmp_path / "state", trial.size)
        swept(hub, tmp_path / "state")
        sums = books(hub)
        hub.stop()
        counted = Counter(fact.id for _, fact in log_in(hub.store))
    trial.report(in_log=len(counted), missing=sums["missing"], in_doubt=sums["doubtful"])
    assert len(counted) >= trial.size
    assert sum(count - 1 for count in counted.values()) == 0
    assert (sums["missing"], sums["arrived"]) == (0, len(counted))


def test_f14_a_state_folder_that_is_removed_under_a_living_host_costs_nothing(tmp_path: Path) -> None:
    trial = Trial("F14 state gone", small=5, ci=50, long=500)
    with serving(tmp_path) as hub:
        said = lived(hub, "state_gone", tmp_path / "state", trial.size)
        reckoned(trial, hub, said, 2 * trial.size)


def test_f14_a_host_without_a_descriptor_to_spare_recovers(tmp_path: Path) -> None:
    trial = Trial("F14 few descriptors", small=5, ci=50, long=500)
    with serving(tmp_path) as hub:
        said = lived(hub, "few_descriptors", tmp_path / "state", trial.size)
        reckoned(trial, hub, said, 2 * trial.size)


@pytest.mark.parametrize("kind", ["few_threads", "few_threads_of_grpc"])
def test_f14_a_host_that_may_have_no_more_threads_is_not_raised_into_nor_ended_and_recovers(
    kind: str, tmp_path: Path
) -> None:
    """Regression: `session` raised RuntimeError; where only gRPC found no thread, gRPC ended the whole process."""
    trial = Trial(f"F14 {kind}", small=5, ci=50, long=500)
    with serving(tmp_path) as hub:
        said = lived(hub, kind, tmp_path / "state", trial.size)
        (life,) = said["lives"]
        assert "no more threads" in life["trouble"]
        reckoned(trial, hub, said, 2 * trial.size)


def test_f14_a_host_that_never_gets_a_thread_leaves_its_facts_to_the_next_process(tmp_path: Path) -> None:
    trial = Trial("F14 no thread ever", small=5, ci=50, long=500)
    with serving(tmp_path) as hub:
        (life,) = lived(hub, "few_threads_for_good", tmp_path / "state", trial.size)["lives"]
        assert "no more threads" in life["trouble"]
        assert (life["offered"], life["waiting"], life["losses"]) == (trial.size, trial.size, {})
        swept(hub, tmp_path / "state")
        sums = books(hub)
        hub.stop()
        counted = Counter(fact.id for _, fact in log_in(hub.store))
    trial.report(in_log=len(counted), missing=sums["missing"])
    assert (len(counted), sum(counted.values())) == (trial.size, trial.size)
    assert (sums["missing"], sums["arrived"]) == (0, trial.size)


@contextmanager
def read_only(folder: Path) -> Iterator[Path]:
    """A file system that nobody can write to, not even root."""
    with small_disk(folder) as disk:
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        yield disk


def test_f14_a_state_folder_that_cannot_be_written_keeps_facts_in_memory_and_says_so(tmp_path: Path) -> None:
    trial = Trial("F14 read-only disk", small=5, ci=50, long=500)
    with serving(tmp_path) as hub, read_only(tmp_path / "disk") as disk:
        said = lived(hub, "plain", disk / "state", trial.size)
        (life,) = said["lives"]
        assert "Read-only file system" in life["trouble"]
        reckoned(trial, hub, said, trial.size)


def test_f14_a_full_state_folder_keeps_facts_in_memory_and_says_so(tmp_path: Path) -> None:
    trial = Trial("F14 full disk", small=5, ci=50, long=500)
    with serving(tmp_path) as hub, small_disk(tmp_path / "disk") as disk:
        space = os.statvfs(disk)
        with (disk / "filler").open("wb") as filler:
            os.posix_fallocate(filler.fileno(), 0, space.f_bavail * space.f_frsize)
        said = lived(hub, "plain", disk / "state", trial.size)
        (life,) = said["lives"]
        assert life["trouble"]
        reckoned(trial, hub, said, trial.size)


def test_f14_without_a_home_state_goes_where_it_can(tmp_path: Path) -> None:
    trial = Trial("F14 no home", small=5, ci=50, long=500)
    with serving(tmp_path) as hub:
        said = lived(hub, "plain", "", trial.size, without=("HOME", "XDG_STATE_HOME", "USER"), TMPDIR=str(tmp_path))
        reckoned(trial, hub, said, trial.size)


def test_control_a_fact_that_a_host_says_it_delivered_and_did_not_is_found(tmp_path: Path) -> None:
    trial = Trial("F14 control", small=5, ci=5, long=5)
    with serving(tmp_path) as hub:
        said = lived(hub, "plain", tmp_path / "state", trial.size)
        (life,) = said["lives"]
        life["offered"] += 1
        life["delivered"] += 1
        with pytest.raises(AssertionError):
            reckoned(trial, hub, said, trial.size + 1)
