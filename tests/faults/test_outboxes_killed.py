"""Hosts that die with facts in their hands, children that outlive them, and many that adopt at once (promise 6).

kept + delivered + reported lost = offered, between processes; and the hub says of each dead one what never arrived. The
last test is the negative control: a fact taken out of a dead process's outbox is found missing.
"""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import segue
from segue import journal
from segue.wire import fact_from_bytes
from segue_hub.storage.sqlite import SqliteStore
from segue_hub.testing import RunningHub, run_hub

from tests.faults.ledgers import Writer
from tests.joining import EXAMPLE
from tests.serving import environment, serving
from tests.waiting import eventually

pytestmark = pytest.mark.fault


@pytest.fixture
def hub() -> Iterator[RunningHub]:
    with run_hub(EXAMPLE) as running:
        yield running


def started(text: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", text, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env=environment(),
    )  # fmt: skip


def ended(process: subprocess.Popen[str], say: str = "") -> int:
    """Lets a process end; its exit code."""
    process.communicate(say, timeout=20)
    return process.returncode


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def sequences(hub: RunningHub) -> dict[str, Any]:
    found: dict[str, Any] = hub.hub.overview.plain()["sequences"]
    return found


def adopted(hub: RunningHub, state: Path) -> segue.Touchpoint:
    """The next process's touchpoint, with everything delivered and told."""
    app = segue.Touchpoint("app", hub=hub.address, key=hub.key("app"), state=state)
    app.runtime()
    assert app.flush(20), app.status()
    return app


_DIES_WITH_FACTS_IN_HAND = """
import os, sys, threading, segue
app = segue.Touchpoint("app", hub=sys.argv[1], key=sys.argv[2], state=sys.argv[3])
with app.session(account="K-1", wait=5) as session:
    for _ in range(20):
        session.track("transfer.failed", transfer_id="T")
    assert app.flush(10)
    outbox = app.runtime().outbox
    outbox._insert = lambda batch: threading.Event().wait()  # a disk that hangs
    for _ in range(int(sys.argv[4])):
        session.track("transfer.failed", transfer_id="T")
    print(outbox.name, outbox._ordinals[1].handed_out, outbox._ordinals[1].reserved, flush=True)
    os._exit(9)
"""


@pytest.mark.parametrize("in_hand", [0, 7])
def test_facts_that_a_killed_host_had_not_journalled_are_in_doubt_at_the_hub_and_no_more_than_those_of_the_block(
    hub: RunningHub, tmp_path: Path, in_hand: int
) -> None:
    dies = started(_DIES_WITH_FACTS_IN_HAND, hub.address, hub.key("app"), str(tmp_path), str(in_hand))
    name, handed_out, reserved = line(dies).split()
    assert ended(dies) == 9
    assert sequences(hub)["producers"] == []  # nobody knows yet that it is dead
    app = adopted(hub, tmp_path)
    (found,) = sequences(hub)["producers"]
    assert (found["producer"], found["arrived"], found["ended"]) == (f"{name}.analytics", 20, True)
    assert (found["missing"], found["lost"]) == (0, {})
    assert int(handed_out) == 20 + in_hand
    assert in_hand <= found["doubtful"] == int(reserved) - 20
    assert app.status()["offered"] == 0
    app.close()
    assert list(tmp_path.glob("*.outbox")) == list(tmp_path.glob("*.lock")) == []


def test_a_host_that_was_killed_while_it_rested_leaves_no_doubt(
    hub: RunningHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = """
import os, sys, time, segue
from segue import runtime
runtime.STATUS_EVERY = 0.05
app = segue.Touchpoint("app", hub=sys.argv[1], key=sys.argv[2], state=sys.argv[3])
with app.session(account="K-2", wait=5) as session:
    session.track("transfer.failed", transfer_id="T")
    assert app.flush(10)
    ordinals = app.runtime().outbox._ordinals[1]
    while ordinals.reserved > ordinals.handed_out:
        time.sleep(0.01)  # between looks at that condition
    runtime = app.runtime()
    runtime._errands += [runtime._housekeep, lambda: print("rests", flush=True)]  # on the worker, whose the outbox is
    sys.stdin.read()
"""
    rests = started(text, hub.address, hub.key("app"), str(tmp_path))
    assert line(rests) == "rests"
    rests.kill()
    ended(rests)
    adopted(hub, tmp_path).close()
    assert sequences(hub)["producers"] == []
    assert sequences(hub)["touchpoints"]["app"]["arrived"] == 1


_FORKS = """
import os, sys, segue
app = segue.Touchpoint("app", hub="", state=sys.argv[1])
with app.session(account="K-3") as session:
    for _ in range(int(sys.argv[2])):
        session.track("transfer.failed", transfer_id="T")
    session.track("transfer.failed", transfer_id="T", durable=True)
    child = os.fork()
    if child == 0:
        os.read(0, 1)  # lives until it is let go, and never uses the touchpoint
        os._exit(0)
    print(child, flush=True)
    os.waitpid(child, 0)
"""


def test_a_child_that_outlives_its_parent_does_not_keep_the_parents_outbox_from_being_adopted(
    hub: RunningHub, tmp_path: Path
) -> None:
    """Regression: the child shares the open file of the parent's lock, so the lock lived as long as the child."""
    parent = started(_FORKS, str(tmp_path), "9")
    child = int(line(parent))
    (orphan,) = tmp_path.glob("*.outbox")
    parent.kill()
    parent.wait(20)
    os.kill(child, 0)  # it lives
    app = adopted(hub, tmp_path)
    assert (app.status()["offered"], app.status()["delivered"]) == (10, 10)
    assert not orphan.exists()
    os.kill(child, 0)
    ended(parent, "x")
    app.close()


def test_a_parents_outbox_stays_its_own_while_it_lives_whatever_its_children_do(tmp_path: Path) -> None:
    """The other half: a child that closes its copy of the lock, or ends, does not let go of the parent's."""
    parent = started(_FORKS, str(tmp_path), "9")
    child = int(line(parent))
    app = segue.Touchpoint("app", hub="", state=tmp_path)
    assert app.flush(10)  # it has looked for orphans, and there is nothing to deliver
    assert app.status()["offered"] == 0
    os.kill(child, signal.SIGKILL)
    assert ended(parent) == 0
    app.close()


_FORKS_EARLY = """
import os, sys, threading, segue
app = segue.Touchpoint("app", hub="", state=sys.argv[1])
session = app.session(account="K-4")
session.track("transfer.failed", transfer_id="T")  # the worker is opening the outbox right now
children = []
for _ in range(20):
    child = os.fork()
    if child == 0:
        os.read(0, 1)
        os._exit(0)
    children.append(child)
session.track("transfer.failed", transfer_id="T", durable=True)
print(*children, flush=True)
os._exit(9)
"""


def test_no_child_keeps_the_lock_of_an_outbox_that_was_being_opened_when_it_was_forked(tmp_path: Path) -> None:
    parent = started(_FORKS_EARLY, str(tmp_path))
    children = line(parent).split()
    parent.wait(20)
    app = segue.Touchpoint("app", hub="", state=tmp_path)
    runtime = app.runtime()
    eventually(lambda: runtime.outbox.waiting == 2)
    for child in children:
        os.kill(int(child), 0)
    assert ended(parent, "x" * len(children)) == 9
    app.close()


_LEAVES = """
import sys, segue
app = segue.Touchpoint("app", hub="", state=sys.argv[1])
with app.session(account="K-5") as session:
    for _ in range(int(sys.argv[2]) - 1):
        session.track("transfer.failed", transfer_id="T")
    session.track("transfer.failed", transfer_id="T", durable=True)
print("told", flush=True)
sys.stdin.readline()
app.close()
"""
_ADOPTS = """
import sys, segue
from segue import outbox
app = segue.Touchpoint("app", hub="", state=sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
runtime = app.runtime()
runtime.close()
box = runtime.outbox
print(box.offered, box.waiting, sum(box.losses.values()), box.trouble or "-", flush=True)
"""


def facts_in(folder: Path) -> Counter[bytes]:
    """All facts of all outboxes, as they lie on disk."""
    found: Counter[bytes] = Counter()
    for path in folder.glob("*.outbox"):
        other = sqlite3.connect(f"{path.as_uri()}?mode=rw", uri=True)
        try:
            found.update(id_ for (id_,) in other.execute("SELECT id FROM facts"))
        finally:
            other.close()
    return found


def test_many_that_adopt_the_same_orphans_at_once_take_each_fact_once_and_leave_no_empty_file(tmp_path: Path) -> None:
    """Regression: whoever came second to an orphan left an empty `.outbox` file behind."""
    counts = [3, 1, 4, 1, 5, 9]
    leaving = [started(_LEAVES, str(tmp_path), str(count)) for count in counts]
    assert [line(process) for process in leaving] == ["told"] * len(counts)
    assert [ended(process, "go\n") for process in leaving] == [0] * len(counts)
    assert len(list(tmp_path.glob("*.outbox"))) == len(counts)
    before = facts_in(tmp_path)
    assert len(before) == sum(counts)
    for _ in range(3):
        adopters = [started(_ADOPTS, str(tmp_path)) for _ in range(5)]
        assert [line(adopter) for adopter in adopters] == ["ready"] * 5
        for adopter in adopters:
            assert adopter.stdin is not None
            adopter.stdin.write("go\n")
            adopter.stdin.flush()
        said = [line(adopter).split() for adopter in adopters]
        assert [ended(adopter) for adopter in adopters] == [0] * 5
        assert all(offered == waiting for offered, waiting, *_ in said)
        assert {(lost, trouble) for _, _, lost, trouble in said} == {("0", "-")}
        assert sum(int(waiting) for _, waiting, *_ in said) >= sum(counts)  # one that ended early was adopted again
        assert facts_in(tmp_path) == before
        assert all(path.stat().st_size for path in tmp_path.glob("*.outbox"))
        assert {path.stem for path in tmp_path.glob("*.lock")} == {path.stem for path in tmp_path.glob("*.outbox")}


def test_f1_after_killed_hubs_and_hosts_the_books_are_the_log(tmp_path: Path) -> None:
    seed = int(os.environ.get("SEGUE_SEED") or random.SystemRandom().randrange(1 << 32))
    print(f"SEGUE_SEED={seed}", end=" ")
    chance = random.Random(seed)
    with serving(tmp_path) as hub:
        folder = tmp_path / "host"
        folder.mkdir()
        writer = Writer(hub.address, hub.key("app"), folder, "W-9")
        try:
            writer.start()
            eventually(lambda: writer.lines() > 20, 20)
            for cycle in range(5):
                time.sleep(chance.uniform(0.02, 0.4))  # the instant of the kill: chance, no wait for anything
                if cycle % 2:
                    hub.kill()
                    hub.start()
                lines = writer.lines()
                writer.kill()
                writer.start()
                eventually(lambda lines=lines: writer.lines() > lines + 10, 20)  # type: ignore[misc]
        finally:
            writer.stop()
        ledger = writer.ledger()
        assert ledger.ended[-1] == (0, 0)
        sums = hub.status()["sequences"]["touchpoints"]["app"]
        assert hub.stop() == 0
        opened = SqliteStore(hub.store)
        log = {fact_from_bytes(body).id.hex() for _, body in opened.log(0, 10_000_000) if body is not None}
        opened.close()
        never = [id_ for id_ in ledger.told if id_ not in log]
        print(f"F1: {len(log)} facts, {len(never)} died unjournalled; the hub says {sums}")
        assert sums["arrived"] == len(log)
        assert (sums["missing"], sums["untracked"]) == (0, 0)
        certain = sum(sums["lost"].values())
        assert certain <= len(never)
        assert not ledger.kept & set(never)


def test_control_a_fact_taken_out_of_a_dead_hosts_outbox_is_found_missing(hub: RunningHub, tmp_path: Path) -> None:
    assert ended(started(_LEAVES, str(tmp_path), "9"), "go\n") == 0
    (path,) = tmp_path.glob("*.outbox")
    other = sqlite3.connect(path)
    other.execute("DELETE FROM facts WHERE ordinal IN (4, 9)")
    other.commit()
    other.close()
    app = adopted(hub, tmp_path)
    (found,) = sequences(hub)["producers"]
    assert (found["arrived"], found["lost"], found["gaps"], found["doubtful"]) == (7, {"ended": 2}, [[4, 4], [9, 9]], 0)
    app.close()


def test_an_outbox_that_was_half_made_when_power_failed_is_adopted_and_gone(hub: RunningHub, tmp_path: Path) -> None:
    """Regression: where a table was not made yet, every host after said that it could not be read, for ever."""
    statements = [text for text in journal.SCHEMA.split(";") if text.strip()]
    for count in range(len(statements)):
        path = tmp_path / f"app.1.{count}.outbox"
        half = sqlite3.connect(path)
        half.execute("PRAGMA journal_mode = WAL")
        for text in statements[:count]:
            half.execute(text)
        half.commit()
        half.close()
    app = adopted(hub, tmp_path)
    assert app.runtime().outbox.trouble == ""
    assert [path.name for path in tmp_path.glob("app.1.*.outbox")] == []
    app.close()
