"""A writing host for fault tests: a process that tells facts and keeps a ledger of each on its own disk.

Owns the script and its reading. A line is on disk before the fact is offered (`told`), and again once `track` with
`durable` returned (`kept`): what stands as kept was journalled, so it may never be lost (FA6).
"""

from __future__ import annotations

import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.serving import environment

_WRITER = """
import faulthandler, os, signal, sys, time
import segue
from segue.wake import Latch

faulthandler.enable()

address, key, state, ledger_path, customer = sys.argv[1:6]
ledger = os.open(ledger_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
stopping = Latch()  # of an `Event` a second SIGTERM in the midst of `set` waited for the first, for ever
signal.signal(signal.SIGTERM, lambda *_: stopping.set())
app = segue.Touchpoint("app", hub=address, key=key, state=state, strict=False)
last = []
app.listeners.append(lambda fact: (last.append(fact.id.hex()), os.write(ledger, f"told {fact.id.hex()}\\n".encode())))
session = app.session(account=customer, wait=0)
while not stopping.is_set():
    session.track("transfer.started", transfer_id="T", durable=len(last) % 5 == 0)
    if len(last) % 5 == 1 and not app.runtime().outbox.unjournalled:  # `durable` waits for a second at most
        for id_ in last[-5:]:
            os.write(ledger, f"kept {id_}\\n".encode())
    time.sleep(float(sys.argv[6]))  # the pace of the host, no wait for anything
app.flush(30)
losses = sum(app.status()["losses"].values())
waiting = app.status()["waiting"]
app.close()
os.write(ledger, f"ended {losses} {waiting}\\n".encode())
"""


@dataclass(frozen=True)
class Ledger:
    """What a writer says it told, and what of it was journalled for certain."""

    told: list[str]
    kept: set[str]
    ended: list[tuple[int, int]]


class Writer:
    """One writing process; `ledger` survives it."""

    def __init__(self, address: str, key: str, folder: Path, customer: str, pause: float = 0.004) -> None:
        ledger = str(folder / f"{customer}.ledger")
        self.arguments = [address, key, str(folder / "state"), ledger, customer, str(pause)]
        self.customer = customer
        self.path = folder / f"{customer}.ledger"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.process = subprocess.Popen([sys.executable, "-c", _WRITER, *self.arguments], env=environment())

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait(10)

    def ask_to_stop(self) -> None:
        """Asks it to deliver what it has and to end."""
        assert self.process is not None
        self.process.terminate()

    def stop(self) -> None:
        """The same, and waits for it. One that does not end says where its threads stand."""
        self.ask_to_stop()
        assert self.process is not None
        try:
            self.process.wait(45)
        except subprocess.TimeoutExpired:
            self.process.send_signal(signal.SIGABRT)
            self.process.wait(10)
            raise

    def lines(self) -> int:
        return self.path.read_bytes().count(b"\n") if self.path.exists() else 0

    def ledger(self) -> Ledger:
        return ledger_at(self.path)


def ledger_at(path: Path) -> Ledger:
    """Reads one; a last line that a kill cut short says nothing."""
    told: list[str] = []
    kept: set[str] = set()
    ended: list[tuple[int, int]] = []
    for line in path.read_text().splitlines(keepends=True) if path.exists() else ():
        word, *rest = line.split()
        if not line.endswith("\n"):
            continue
        if word == "told":
            told.append(rest[0])
        elif word == "kept":
            kept.add(rest[0])
        else:
            ended.append((int(rest[0]), int(rest[1])))
    return Ledger(told, kept, ended)
