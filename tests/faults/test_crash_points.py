"""F2: host and hub are killed at every write, fsync and rename of a script of 200 events, from the outbox to the
acknowledgement.

Promises 1 (acknowledged is kept), 2 (once) and 6 (never silent). `strace` kills the process at its N-th system call of
a kind, for every N that the script has (a sample of them in the smaller sizes); the next host adopts what it left. What
was journalled for certain is in the hub's log, once; and the hub's books miss nothing that was numbered.
"""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from contextlib import suppress
from pathlib import Path

import pytest

from tests.faults.failing import Asking, in_store, prepared
from tests.faults.ledgers import Ledger, ledger_at
from tests.faults.scene import HUB
from tests.faults.trace import strace
from tests.faults.trial import Trial
from tests.serving import environment, serving

pytestmark = [pytest.mark.fault, pytest.mark.trial]

EVENTS = 200
CALLS = "pwrite64,write,fsync,fdatasync,ftruncate,rename,unlink"
_SCRIPT = """
import os, sys, time, segue
address, key, state, ledger, count = sys.argv[1:]
ledger = os.open(ledger, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
app = segue.Touchpoint("app", hub=address, key=key, state=state, strict=False)
last = []
def told(fact):
    last.append(fact.id.hex())
    os.writev(ledger, [f"told {fact.id.hex()}\\n".encode()])  # no call that is counted
app.listeners.append(told)
session = app.session(account="C-1", wait=0)
for number in range(int(count)):
    session.track("transfer.started", transfer_id="T", durable=number % 10 == 9)
    if number % 10 == 9:
        while app.runtime().outbox.unjournalled:  # `durable` waits for a second at most
            time.sleep(0.001)  # between looks at that condition
        os.writev(ledger, [f"kept {id_}\\n".encode() for id_ in last])
        last.clear()
app.flush(30)
losses, waiting = sum(app.status()["losses"].values()), app.status()["waiting"]
app.close()
os.writev(ledger, [f"ended {losses} {waiting}\\n".encode()])
"""


def run(before: list[str], address: str, key: str, folder: Path, count: int) -> int:
    """The script, with something before it; returns its exit code."""
    arguments = [address, key, str(folder / "state"), str(folder / "ledger"), str(count)]
    return subprocess.run(
        [*before, sys.executable, "-c", _SCRIPT, *arguments], env=environment(), check=False, timeout=100,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    ).returncode  # fmt: skip


def killing(call: str, at: int) -> list[str]:
    """Kills the process at one thread's N-th call of a kind."""
    return [
        strace(), "-D", "-f", "-qqq", "-o", "/dev/null", "-e", f"trace={call}", "-e", "signal=none",
        "-e", f"inject={call}:signal=SIGKILL:when={at}",
    ]  # fmt: skip


def points(address: str, key: str, folder: Path) -> list[tuple[str, int]]:
    """Every point of a run that nobody kills: the calls that the busiest thread makes, by kind."""
    folder.mkdir()
    trace = folder / "trace"
    assert run([strace(), "-f", "-qqq", "--seccomp-bpf", "-o", str(trace), "-e", f"trace={CALLS}", "-e", "signal=none"],
               address, key, folder, EVENTS) == 0  # fmt: skip
    calls: dict[str, Counter[str]] = {}
    for line in trace.read_text(errors="replace").splitlines():
        thread, _, rest = line.partition(" ")
        name = rest.strip().partition("(")[0]
        if name in CALLS.split(","):
            calls.setdefault(name, Counter())[thread] += 1
    return [(name, at) for name, counts in sorted(calls.items()) for at in range(1, max(counts.values()) + 1)]


def test_f2_a_host_killed_at_every_write_and_sync_of_its_script_loses_and_doubles_nothing(tmp_path: Path) -> None:
    trial = Trial("F2 crash points", small=4, ci=40, long=100_000)
    killed, ledgers = 0, list[Ledger]()
    with serving(tmp_path) as hub:
        key = hub.key("app")
        every = points(hub.address, key, tmp_path / "whole")
        ledgers.append(ledger_at(tmp_path / "whole" / "ledger"))
        chosen = trial.chance.sample(every, min(trial.size, len(every)))
        for place, (call, at) in enumerate(sorted(chosen)):
            folder = tmp_path / f"{place}"
            folder.mkdir()
            killed += run(killing(call, at), hub.address, key, folder, EVENTS) == -9
            # The next process of this host, to its end: it adopts what is there.
            assert run([], hub.address, key, folder, 1) == 0
            ledgers.append(ledger_at(folder / "ledger"))
            assert ledgers[-1].ended[-1] == (0, 0), (call, at, ledgers[-1].ended)
            assert list((folder / "state").glob("*.outbox")) == [], (call, at)
        books = hub.status()["sequences"]["touchpoints"]["app"]
        assert hub.stop() == 0
        ids, unsound = in_store(hub.store)
    counted = Counter(ids)
    lost = [id_ for ledger in ledgers for id_ in ledger.kept if not counted[id_]]
    doubled = [id_ for id_, times in counted.items() if times > 1]
    told = {id_ for ledger in ledgers for id_ in ledger.told}
    never = len(told - set(ids))
    trial.report(
        points=len(every), tried=len(chosen), killed=killed, facts=len(ids), lost=len(lost), doubled=len(doubled),
        never_journalled=never, missing_in_books=books["missing"],
    )  # fmt: skip
    assert (lost, doubled, unsound) == ([], [], [])
    assert killed >= len(chosen) * 0.8
    assert set(ids) <= told
    assert books["missing"] == 0


def test_f2_a_hub_killed_at_its_writes_and_syncs_keeps_what_it_acknowledged(tmp_path: Path) -> None:
    """Regression: a hub that was told to stop as soon as it served had not begun to listen to that."""
    trial = Trial("F2 crash points of the hub", small=3, ci=30, long=1_000)
    hub, key = prepared(tmp_path)
    usual, killed, acked = hub.command, 0, list[str]()
    for _ in range(trial.size):
        call = trial.chance.choice(["pwrite64", "pwrite64", "fdatasync", "ftruncate", "fsync"])
        at = trial.chance.randint(1, 300 if call == "pwrite64" else 40 if call == "fdatasync" else 2)
        hub.command = [*killing(call, at), sys.executable, "-c", HUB, "FULL"]
        serves = True
        try:
            hub.start()
        except AssertionError:  # killed before it came to serve
            serves = False
        assert hub.process is not None
        if serves:
            asking = Asking(hub.address, key, "C-2")
            asking.start()
            with suppress(subprocess.TimeoutExpired):
                hub.process.wait(1 if call in ("ftruncate", "fsync") else 20)
            hub.stop()
            asking.end()
            acked += [id_ for id_, _ in asking.acked]
        killed += hub.process.wait(20) == -9
    hub.command = usual
    hub.start()
    assert hub.stop() == 0
    ids, unsound = in_store(hub.store)
    counted = Counter(ids)
    lost, doubled = sum(not counted[id_] for id_ in acked), sum(times > 1 for times in counted.values())
    trial.report(points=trial.size, killed=killed, acknowledged=len(acked), lost=lost, doubled=doubled)
    assert (lost, doubled, unsound) == (0, 0, [])
    assert killed > 0
