"""F4 and F5: a disk that cannot keep what it is given, and one that is full.

Promise 1 (acknowledged is kept). F4: an fsync fails (`strace` injects EIO, once or from then on, in the log or where
the log is written back): the hub says so by its health and stops, and what it acknowledged is there when it starts
again. F5: a real file system of 16 MB is full: facts are refused, reads and streams stay up, and once there is space
facts are taken again, without a restart.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest
from segue.v1 import admin_service_pb2

from tests.calling import calling, event, refusal
from tests.faults.failing import Asking, failing_syncs, in_store, prepared, watched
from tests.faults.scene import HUB
from tests.faults.trial import Trial
from tests.faults.watched import log_in
from tests.serving import Serving, free_port
from tests.streaming import streaming
from tests.waiting import eventually
from tests.watch_checks import atomic

pytestmark = [pytest.mark.fault, pytest.mark.trial]

CYCLES_A_DISK = 10
"""How often one disk of 16 MB is filled: what the hub keeps of each time, a megabyte and more, has to fit on it too."""


def broken_by(hub: Serving, key: str, before: list[str], writers: int = 3) -> dict[str, float]:
    """Runs a hub until its disk fails; gives how long it took to stop, after all that must hold was asserted."""
    usual, hub.command = hub.command, [*before, sys.executable, "-c", HUB, "FULL"]
    hub.start()
    assert hub.process is not None
    with watched(hub.address) as health:
        eventually(lambda: health.serving)
        asking = [Asking(hub.address, key, f"E-{number}") for number in range(writers)]
        for one in asking:
            one.start()
        assert hub.process.wait(60) == 1
        ended = time.monotonic()
        for one in asking:
            one.join(30)
        eventually(lambda: not health.serving)
    refusals = [when for one in asking for (_, reason), when in one.refused if reason == "STORE_BROKEN"]
    assert refusals, [one.refused for one in asking]
    told = min(refusals)
    acked = [id_ for one in asking for id_, _ in one.acked]
    after = [id_ for one in asking for id_, sent in one.acked if sent > told]
    assert after == []
    hub.command = usual
    hub.start()
    with calling(hub.address, key) as app:
        assert app.statuses(event("transfer.started", "account=E-0", transfer_id="T")) == ["ACCEPTED"]
    assert hub.stop() == 0
    ids, unsound = in_store(hub.store)
    counted = Counter(ids)
    lost, doubled = [id_ for id_ in acked if not counted[id_]], [i for i, n in counted.items() if n > 1]
    assert (lost, doubled, unsound) == ([], [], [])
    return {"stopped": ended - told, "acknowledged": len(acked)}


@pytest.mark.parametrize("file", ["segue.db-wal", "segue.db"])
def test_f4_a_hub_whose_fsync_fails_says_so_stops_and_loses_nothing(tmp_path: Path, file: str) -> None:
    """Regression: a failed sync of the store itself, when the log was written back, went by unnoticed."""
    trial = Trial(f"F4 fsync of {file} fails", small=2, ci=12, long=100)
    hub, key = prepared(tmp_path)
    slowest = acknowledged = 0.0
    for cycle in range(trial.size):
        first = trial.chance.randint(2, 40) if file.endswith("wal") else trial.chance.randint(1, 4)
        when = f"error=EIO:when={first}{'+' if cycle % 2 else ''}"
        found = broken_by(hub, key, failing_syncs(hub.store.with_name(file), when))
        slowest, acknowledged = max(slowest, found["stopped"]), acknowledged + found["acknowledged"]
    trial.report(cycles=trial.size, acknowledged=int(acknowledged), lost=0, doubled=0, slowest_stop_s=round(slowest, 2))
    assert acknowledged > 0


@contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """A file system of 16 MB."""
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(folder)], check=False)
    if mounted.returncode:
        pytest.skip("a small file system cannot be mounted here: run as root, or where user namespaces are allowed")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=False)


def fill(path: Path, left: int) -> None:
    """Takes all space of a file system but a little."""
    space = os.statvfs(path.parent)
    with path.open("wb") as filler:
        os.posix_fallocate(filler.fileno(), 0, max(4096, space.f_bavail * space.f_frsize - left))


def healthz(hub: Serving) -> int:
    try:
        with urllib.request.urlopen(f"{hub.http}/healthz", timeout=5) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def refused_key(hub: Serving) -> None:
    """Regression: what is no fact was refused without a code."""
    refused = None
    with hub.admin() as admin:
        for number in range(500):  # a small one may still find space
            request = admin_service_pb2.AddTouchpointRequest(touchpoint=f"t{number}")
            try:
                admin.admin.AddTouchpoint(request, metadata=admin.metadata, timeout=20)
            except grpc.RpcError as error:
                refused = refusal(error)
                break
    assert refused == ("RESOURCE_EXHAUSTED", "STORE_FULL")


@dataclass
class Filled:
    """What came of a disk that was full again and again."""

    acked: list[str]
    ids: list[str]
    unsound: list[str]
    back: float
    healthy: float


def filled(hub: Serving, disk: Path, folder: Path, cycles: int, chance: random.Random) -> Filled:
    """One process of a hub, whose disk is filled and emptied so many times."""
    slowest = healthy = 0.0
    hub.folder = folder
    hub.start()
    hub.push()
    key = hub.key("app")
    assert hub.process is not None
    process = hub.process.pid
    acked: list[str] = []
    with calling(hub.address, key) as app, streaming(app) as stream, watched(hub.address) as health:
        (first,) = facts = [event("transfer.started", "account=F-1", transfer_id="T")]
        assert app.statuses(first) == ["ACCEPTED"]
        acked += [fact.id.hex() for fact in facts]
        stream.subscribe(1, "account=F-1")
        stream.frame(1, lambda frame: frame.HasField("context"))
        for _ in range(cycles):
            fill(disk / "filler", chance.randint(0, 200_000))
            asking = Asking(hub.address, key, "F-2", batch=20, size=2000)
            asking.start()
            eventually(lambda asking=asking: asking.refused, 20)  # type: ignore[misc]
            eventually(lambda: not health.serving)
            assert healthz(hub) == 503
            refused_key(hub)
            version = app.context("account=F-1").version
            assert version > 0
            assert not stream.ended.is_set()
            asking.end()
            assert {why for why, _ in asking.refused} == {("RESOURCE_EXHAUSTED", "STORE_FULL")}
            acked += [id_ for id_, _ in asking.acked]
            (disk / "filler").unlink()
            freed = time.monotonic()
            again = Asking(hub.address, key, "F-1", batch=1)
            again.start()
            eventually(lambda again=again: again.acked, 20)  # type: ignore[misc]
            slowest = max(slowest, again.acked[0][1] - freed)
            again.end()
            eventually(lambda: health.serving, 20)
            healthy = max(healthy, health.heard[-1][1] - freed)
            assert healthz(hub) == 200
            acked += [id_ for id_, _ in again.acked]
            newest = app.context("account=F-1").version
            stream.frame(1, lambda frame, wanted=newest: frame.context.version == wanted)  # type: ignore[misc]
        assert not stream.ended.is_set()
    assert hub.process.pid == process
    assert hub.process.poll() is None
    assert hub.stop() == 0
    ids, unsound = in_store(hub.store)
    unsound += atomic(stream.history, log_in(hub.store))
    return Filled(acked, ids, unsound, slowest, healthy)


def test_f5_a_full_disk_refuses_facts_serves_reads_and_takes_facts_again_without_a_restart(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        in_namespace(test_f5_a_full_disk_refuses_facts_serves_reads_and_takes_facts_again_without_a_restart.__name__)
        return
    trial = Trial("F5 disk full", small=2, ci=10, long=50)
    slowest = healthy = 0.0
    acknowledged = lost = doubled = 0
    unsound: list[str] = []
    for first in range(0, trial.size, CYCLES_A_DISK):
        place = tmp_path / f"{first}"
        place.mkdir()
        with small_disk(place / "disk") as disk:
            hub = Serving(disk, http_port=free_port())
            try:
                found = filled(hub, disk, place, min(CYCLES_A_DISK, trial.size - first), trial.chance)
            finally:  # none is left behind where something did not hold
                if hub.process is not None and hub.process.poll() is None:
                    hub.kill()
        counted = Counter(found.ids)
        acknowledged += len(found.acked)
        lost += sum(not counted[id_] for id_ in found.acked)
        doubled += sum(n > 1 for n in counted.values())
        unsound += found.unsound
        slowest, healthy = max(slowest, found.back), max(healthy, found.healthy)
    trial.report(
        cycles=trial.size,
        acknowledged=acknowledged,
        lost=lost,
        doubled=doubled,
        slowest_back_s=round(slowest, 2),
        slowest_healthy_s=round(healthy, 2),
    )
    assert (lost, doubled, unsound) == (0, 0, [])


def in_namespace(test: str) -> None:
    """The same test, where this user may mount a file system of its own."""
    done = subprocess.run(
        ["unshare", "-Urm", sys.executable, "-m", "pytest", "-q", "-s", "--timeout", "0", f"{__file__}::{test}"],
        check=False, capture_output=True, text=True,
    )  # fmt: skip
    if "unshare" in done.stderr:
        pytest.skip("a small file system cannot be mounted here: run as root, or where user namespaces are allowed")
    print(done.stdout)
    assert done.returncode == 0, done.stdout
