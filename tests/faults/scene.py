"""A scene for a trace: a hub, hosts that write, one of them killed and adopted, and what each was acknowledged.

Owns `python -m tests.faults.scene FOLDER [NORMAL]`: the real processes, whose disks are under `FOLDER/disk`, a folder
that is there, and a ledger beside it. `acked ID` stands there once the hub answered ACCEPTED, `kept ID` once `track`
with `durable` returned: both written by plain system calls, so that a trace shows them in order with what went to disk.
With NORMAL the databases are opened with `synchronous = NORMAL`: the control, in which acknowledged facts must be lost.
No product has that setting.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from tests.calling import calling, event
from tests.serving import Serving, environment
from tests.waiting import eventually

CUSTOMER = "P-1"
HUB = """
import sys
from segue_hub.storage.sqlite import store
store._CHECKPOINT_PAGES = 60  # so that a short scene has checkpoints too
if sys.argv.pop(1) == "NORMAL":
    opened = store.SqliteStore.__init__
    def opens(self, *arguments, **more):
        opened(self, *arguments, **more)
        self._writer.execute("PRAGMA synchronous = NORMAL")
    store.SqliteStore.__init__ = opens
from segue_hub.cli import main
main()
"""
_HOST = """
import os, sys, time
from segue import journal
mode, address, key, state, ledger, count, ends = sys.argv[1:]
if mode == "NORMAL":
    opened = journal.Journal.__init__
    def opens(self, *arguments, **more):
        opened(self, *arguments, **more)
        self._run.execute("PRAGMA synchronous = NORMAL")
    journal.Journal.__init__ = opens
import segue
ledger = os.open(ledger, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
app = segue.Touchpoint("app", hub=address, key=key, state=state, strict=False)
last = []
app.listeners.append(lambda fact: last.append(fact.id.hex()))
with app.session(account="P-1", wait=0) as session:
    for number in range(int(count)):
        session.track("transfer.started", transfer_id="T", durable=number % 3 == 2)
        if number % 3 == 2:
            while app.runtime().outbox.unjournalled:  # `durable` waits for a second at most
                time.sleep(0.001)  # between looks at that condition
            for id_ in last:
                os.write(ledger, f"kept {id_}\\n".encode())
            last.clear()
    if ends == "closes":
        app.flush(30)
        app.close()
    else:
        print("told", flush=True)
        sys.stdin.read()
"""


_hosts: list[subprocess.Popen[str]] = []


def host(mode: str, folder: Path, address: str, key: str, count: int, ends: str) -> subprocess.Popen[str]:
    """Starts a host."""
    place = [str(folder / "disk" / "host" / "state"), str(folder / "ledger")]
    process = subprocess.Popen(
        [sys.executable, "-c", _HOST, mode, address, key, *place, str(count), ends],
        env=environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    _hosts.append(process)
    return process


def play(folder: Path, mode: str) -> None:
    """The whole scene; nobody outlives it, also where it fails."""
    hub = Serving(folder / "disk" / "hub")
    hub.folder = folder  # its log is no part of the disk
    hub.command = [sys.executable, "-c", HUB, mode]
    try:
        _play(hub, folder, mode)
    finally:
        for process in (*_hosts, hub.process):
            if process is not None:
                process.kill()


def _play(hub: Serving, folder: Path, mode: str) -> None:
    ledger = os.open(folder / "ledger", os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def acked(key: str, batches: int) -> None:
        with calling(hub.address, key) as app:
            for _ in range(batches):
                facts = [event("transfer.started", f"account={CUSTOMER}", transfer_id="T") for _ in range(4)]
                assert app.statuses(*facts) == ["ACCEPTED"] * 4
                for fact in facts:
                    os.write(ledger, f"acked {fact.id.hex()}\n".encode())

    hub.start()
    hub.push()
    key = hub.key("app")
    offline = host(mode, folder, "", "", 24, "waits")
    assert offline.stdout is not None
    assert offline.stdout.readline() == "told\n"
    acked(key, 12)
    offline.kill()
    offline.communicate()
    adopting = host(mode, folder, hub.address, key, 30, "closes")
    adopting.communicate(timeout=60)
    hub.stop()
    hub.start()
    living = host(mode, folder, hub.address, key, 30, "waits")
    assert living.stdout is not None
    assert living.stdout.readline() == "told\n"
    acked(key, 12)
    eventually(lambda: hub.status()["facts_since_start"]["ACCEPTED"] >= 48 + 30, 20)
    living.send_signal(signal.SIGKILL)
    living.communicate()
    hub.kill()


if __name__ == "__main__":
    play(Path(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else "FULL")
