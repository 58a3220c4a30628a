"""F3: power fails at any moment; what was acknowledged is there after, once, and the files are sound.

Promises 1 (acknowledged is kept), 2 (once) and 6 (never silent). `kill -9` does not test this: the page cache survives
it. So a scene of real processes is recorded (`tests.faults.scene` under `strace`), the disk is rebuilt as it would be
at every moment (`tests.faults.disk`), and each state is opened by the hub's own store and the SDK's own outbox. The
control does the same with `synchronous = NORMAL`, and must lose what was acknowledged: a test must be able to fail.
"""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from segue.outbox import Outbox
from segue.wire import fact_from_bytes
from segue_hub.storage.sqlite import SqliteStore

from tests.faults.disk import Disk
from tests.faults.trace import Step, steps, traced
from tests.faults.trial import Trial

pytestmark = [pytest.mark.fault, pytest.mark.trial]


@dataclass(frozen=True)
class Recovered:
    """What is read back from one disk.

    Attributes:
        ids: of facts, each as often as it stands there.
        problems: what is wrong with the files.
    """

    ids: Counter[str]
    problems: tuple[str, ...]


def stored(folder: Path) -> Recovered:
    """What the hub's store has after a failure, and whether it is sound."""
    if not (folder / "segue.db").exists():
        return Recovered(Counter(), ())
    store = SqliteStore(folder / "segue.db")
    try:
        ids = Counter(fact_from_bytes(body).id.hex() for _, body in store.log(0, 1_000_000) if body is not None)
        return Recovered(ids, tuple(store.check()))
    finally:
        store.close()


def waiting(folder: Path) -> Recovered:
    """What the next host finds in the outboxes that the failure left, and whether it could read them all."""
    outbox = Outbox(folder, "app", 1_000_000, 512 * 1024 * 1024)
    outbox.open()
    try:
        ids = Counter(row.id.hex() for row in outbox.take(1_000_000, 512 * 1024 * 1024))
        return Recovered(ids, (outbox.trouble,) if outbox.trouble else ())
    finally:
        outbox.close()


@dataclass
class Powerless:
    """Opens states of disks; what was opened once is not opened again."""

    place: Path
    seen: dict[bytes, Recovered] = field(default_factory=dict)

    def recovered(self, files: dict[str, bytes], folder: str, read: object) -> Recovered:
        """One folder's part of a state, as its own product reads it."""
        own = {path.removeprefix(folder): data for path, data in files.items() if path.startswith(folder)}
        digest = hashlib.blake2b(repr(read).encode())
        for path, data in sorted(own.items()):
            digest.update(f"{path} {len(data)}\n".encode())
            digest.update(data)
        key = digest.digest()
        if key not in self.seen:
            with tempfile.TemporaryDirectory(dir=self.place) as temporary:
                for path, data in own.items():
                    target = Path(temporary) / path.lstrip("/")
                    if path:
                        target.parent.mkdir(parents=True, exist_ok=True)
                        target.write_bytes(data)
                self.seen[key] = read(Path(temporary))  # type: ignore[operator]
        return self.seen[key]


@dataclass
class Verdict:
    """What was found over many states."""

    states: int = 0
    losing: int = 0
    lost: Counter[str] = field(default_factory=Counter)
    doubled: int = 0
    unsound: list[str] = field(default_factory=list)


def judged(recording: list[Step], folder: Path, count: int, chance: random.Random, place: Path) -> Verdict:
    """About `count` states of a recording, spread over all its moments."""
    disk, verdict, opened = Disk(), Verdict(), Powerless(place)
    hub, host, ledger = (f"{folder}/{part}" for part in ("disk/hub/", "disk/host/state/", "ledger"))
    acked: set[str] = set()
    kept: set[str] = set()
    share = count / max(1, sum(step.path != ledger and not step.path.endswith("-shm") for step in recording))
    for step in recording:
        if step.path == ledger:
            for line in step.data.decode().splitlines():
                word, id_ = line.split()
                (acked if word == "acked" else kept).add(id_)
            continue
        if step.path.endswith("-shm"):
            continue  # made anew from the log by whoever opens it first
        disk.take(step)
        for _ in range(int(share) + (chance.random() < share % 1)):
            files = disk.after_failure(chance)
            in_hub = opened.recovered(files, hub, stored)
            in_host = opened.recovered(files, host, waiting)
            lost = {id_ for id_ in acked if not in_hub.ids[id_]}
            lost |= {id_ for id_ in kept if not in_hub.ids[id_] and not in_host.ids[id_]}
            verdict.states += 1
            verdict.losing += bool(lost)
            verdict.lost.update(lost)
            verdict.doubled += sum(times > 1 for ids in (in_hub.ids, in_host.ids) for times in ids.values())
            verdict.unsound += [*in_hub.problems, *in_host.problems]
    return verdict


@contextmanager
def memory() -> Iterator[Path]:
    """A folder that is no real disk, where there is one: states are many, and gone at once."""
    shared = Path("/dev/shm")
    place = Path(tempfile.mkdtemp(dir=shared if os.access(shared, os.W_OK) else None))
    try:
        yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)


def recorded(folder: Path, mode: str) -> list[Step]:
    """The scene's steps."""
    (folder / "disk").mkdir()
    code = traced([sys.executable, "-m", "tests.faults.scene", str(folder), mode], folder / "trace")
    assert code == 0, [path.read_text() for path in folder.glob("*.log")]
    return list(steps(folder / "trace", folder))


def acknowledged(recording: Iterable[Step], word: str) -> int:
    """How many lines of the ledger say so."""
    return sum(step.data.decode().count(word) for step in recording if step.path.endswith("/ledger"))


def test_f3_when_power_fails_nothing_acknowledged_is_lost_or_doubled(tmp_path: Path) -> None:
    """Regressions: the names of new folders were not synced, so a whole outbox or store could be gone; and an outbox
    whose tables were made in part was never adopted."""
    trial = Trial("F3 hub and outbox", small=400, ci=20_000, long=100_000)
    recording = recorded(tmp_path, "FULL")
    with memory() as place:
        verdict = judged(recording, tmp_path, trial.size, trial.chance, place)
    acked, kept = acknowledged(recording, "acked"), acknowledged(recording, "kept")
    trial.report(
        states=verdict.states, acknowledged=acked, journalled=kept, lost=len(verdict.lost), doubled=verdict.doubled,
        unsound=len(verdict.unsound),
    )  # fmt: skip
    assert (acked, kept) == (96, 84)
    assert verdict.states > trial.size * 0.9
    assert (verdict.lost, verdict.doubled, verdict.unsound) == (Counter(), 0, [])


def test_control_with_synchronous_normal_a_power_failure_loses_what_was_acknowledged(tmp_path: Path) -> None:
    trial = Trial("F3 control, synchronous NORMAL", small=200, ci=2_000, long=10_000)
    recording = recorded(tmp_path, "NORMAL")
    with memory() as place:
        verdict = judged(recording, tmp_path, trial.size, trial.chance, place)
    trial.report(states=verdict.states, losing=verdict.losing, lost=len(verdict.lost))
    assert verdict.losing > verdict.states / 10
