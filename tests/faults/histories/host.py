"""A host: a process with the SDK in it, which may be killed or stand still at any moment.

Owns the host's own life (`python -m tests.faults.histories.host ...`), `Host`, which starts it again, and its reading.
What it tells is a line of JSON in a file of its own, written by one system call before or after what it says: `told`
(offered now), `kept` (it was journalled), `sent` (an action went out into a place), `heard` (of an audience), `ended`.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from tests.serving import environment

ROOT = Path(__file__).resolve().parents[3]


def _listen(touchpoint: Any, say: Any) -> None:
    """Hears who waits, by a cursor."""

    def hear(tellings: list[Any]) -> None:
        for t in tellings:
            at = int(t.at.timestamp() * 1_000_000 + 0.5)
            say(heard=t.id, name=t.identifiers[0].value if t.identifiers else "", left=t.left, at=at)

    touchpoint.watch("waiting", hear, cursor="host")


def live() -> None:
    """One life."""
    import segue
    from segue.wake import Latch

    kind, address, key, state, ledger, life, seed = sys.argv[1:]
    chance, stopping = random.Random(f"{seed} {life}"), Latch()  # an `Event` is nothing for a signal handler
    file = os.open(ledger, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())

    def say(**line: Any) -> None:
        os.write(file, (json.dumps({"life": int(life), "wall": time.time_ns() // 1000, **line}) + "\n").encode())

    touchpoint = segue.Touchpoint(kind, hub=address, key=key, state=state, strict=False)
    if kind == "desk":
        _listen(touchpoint, say)
        say(ready=True)
        stopping.wait(threading.TIMEOUT_MAX)
        touchpoint.close()
        return
    fresh: list[str] = []
    touchpoint.listeners.append(lambda fact: (say(told=fact.id.hex()), fresh.append(fact.id.hex())))

    @touchpoint.decision("offer", default=None, record="always")
    def offer(c: segue.Context) -> segue.Action:
        return segue.Action("offer", topic=str(c.count("noted")), purpose="marketing")

    lists = [touchpoint.session(account=f"L-{number}", wait=0) for number in range(4)]
    cards = [touchpoint.session(card=f"k{number}", wait=0) for number in range(3)]
    say(ready=True)
    number = 0
    while not stopping.is_set():
        number += 1
        sort = chance.random()
        if sort < 0.75:
            durable = chance.random() < 0.3
            on_disk = chance.choice(lists).track("noted", number=number, durable=durable)
            if on_disk and not touchpoint.runtime().outbox.unjournalled:
                say(kept=fresh)
                fresh.clear()
        elif sort < 0.8:
            touchpoint.link(*chance.sample(["account=a0", "email=e1", "phone=p2", "cookie=c3"], 2))
        elif sort < 0.85:
            touchpoint.runtime().need()
            say(status=touchpoint.status()["connection"])
        else:
            decision = chance.choice(cards).decide(offer)
            if not decision.allowed:
                continue
            try:
                with decision.act() as place:
                    say(sent=place.id.hex())
            except segue.HeldBack as held:
                say(held=str(held))
        stopping.wait(chance.uniform(0, 0.04))
    whole = touchpoint.flush(45)
    status = touchpoint.status()
    touchpoint.close()
    say(ended=whole, **{name: status[name] for name in ("offered", "delivered", "waiting", "losses", "refused_here")})


class Host:
    """One host; its file survives its lives."""

    def __init__(self, kind: str, address: str, key: str, folder: Path, seed: int) -> None:
        folder.mkdir()
        self.kind, self.address, self.key, self.folder, self.seed = kind, address, key, folder, seed
        self.path = folder / "ledger"
        self.lives = 0
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.lives += 1
        more = [self.kind, self.address, self.key, str(self.folder / "state"), str(self.path), str(self.lives),
                str(self.seed)]  # fmt: skip
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.faults.histories.host", *more], cwd=ROOT, env=environment(), stderr=log
            )

    @property
    def ready(self) -> bool:
        """Whether this life has begun."""
        return any(line["life"] == self.lives and "ready" in line for line in self.lines())

    def signal(self, number: int) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def kill(self) -> None:
        self.signal(signal.SIGKILL)
        assert self.process is not None
        self.process.wait(10)

    def end(self) -> None:
        """Delivers what it has, and ends."""
        self.signal(signal.SIGCONT)
        self.signal(signal.SIGTERM)
        assert self.process is not None
        self.process.wait(60)

    def lines(self) -> list[dict[str, Any]]:
        """What it told; a line that a kill cut short says nothing."""
        whole = self.path.read_text().splitlines(keepends=True) if self.path.exists() else []
        return [json.loads(line) for line in whole if line.endswith("\n")]


if __name__ == "__main__":
    live()
