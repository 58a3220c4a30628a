"""Rivals: processes that all want to write to the same customer, and a ledger of what really went out.

Owns the rival's own life (`python -m tests.faults.rivals`) and the harness that tells many of them to go at once. What
a rival sends is one line appended to a file that all share: nothing of Segue's is asked whether it went out.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.serving import environment

ROOT = Path(__file__).resolve().parents[2]
AT_ONCE = 8
"""Processes that start at the same time."""


def live() -> None:
    """One rival: reads an order a line, answers with what became of it."""
    import segue

    hub, key, name, state, ledger = sys.argv[1:]
    touchpoint = segue.Touchpoint(name, hub=hub, key=key, state=state)

    @touchpoint.decision("upsell", default=None, record="never")
    def upsell(c: segue.Context) -> segue.Action:
        return segue.Action("offer.upsell", topic="bandwidth", purpose="marketing")

    def say(**told: Any) -> None:
        print(json.dumps(told), flush=True)

    touchpoint.wait_ready(60)
    say(outcome="ready")
    for line in sys.stdin:
        order = json.loads(line)
        with touchpoint.session(**order["who"], wait=order.get("wait", 2.0)) as session:
            if order.get("together"):
                say(outcome="holds")
                sys.stdin.readline()
            decision = session.decide(upsell)
            began = time.perf_counter()
            try:
                if not decision.allowed:
                    raise segue.HeldBack(decision.verdict.reason, verdict=decision.verdict)
                with decision.act() as place:
                    granted_ms = (time.perf_counter() - began) * 1000
                    if order.get("stalls"):
                        say(outcome="granted", id=place.id.hex())
                        sys.stdin.readline()
                    with Path(ledger).open("ab", buffering=0) as sent:
                        sent.write(f"{json.dumps(order['who'])} {name} {place.id.hex()}\n".encode())
                say(outcome="sent", id=place.id.hex(), ms=granted_ms)
            except segue.HeldBack as held:
                say(
                    outcome="held", holder=held.verdict.holder, until=held.verdict.until, reason=str(held),
                    asked=decision.action is not None, ms=(time.perf_counter() - began) * 1000,
                )  # fmt: skip
    touchpoint.close()


@dataclass
class Rival:
    """One process; `said` are its answers."""

    name: str
    arguments: list[str]
    process: subprocess.Popen[str] = field(init=False)
    said: queue.Queue[dict[str, Any]] = field(init=False)

    def start(self) -> Rival:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.rivals", *self.arguments], cwd=ROOT, text=True, bufsize=1,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment(),
        )  # fmt: skip
        self.said = queue.Queue()
        threading.Thread(target=self._read, args=(self.process, self.said), daemon=True).start()
        return self

    @staticmethod
    def _read(process: subprocess.Popen[str], said: queue.Queue[dict[str, Any]]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            said.put(json.loads(line))
        said.put({"outcome": "gone"})

    def order(self, **order: Any) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(order) + "\n")

    def go_on(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("\n")

    def answer(self, timeout: float = 60) -> dict[str, Any]:
        return self.said.get(timeout=timeout)

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.close()

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(10)
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()


class Rivals:
    """Many of them, with one ledger."""

    def __init__(self, folder: Path, addresses: list[str], keys: dict[str, str], count: int) -> None:
        self.ledger = folder / "sent"
        self.ledger.touch()
        names = sorted(keys)
        self.each = [
            Rival(
                names[number % len(names)],
                [addresses[number % len(addresses)], keys[names[number % len(names)]], names[number % len(names)],
                 str(folder / f"rival{number}"), str(self.ledger)],
            )
            for number in range(count)
        ]  # fmt: skip
        try:
            # A few at a time: all at once they keep each other from starting.
            for start in range(0, count, AT_ONCE):
                wave = self.each[start : start + AT_ONCE]
                for rival in wave:
                    rival.start()
                for rival in wave:
                    assert rival.answer(120)["outcome"] == "ready"
        except BaseException:
            self.close()
            raise

    def attack(self, who: list[dict[str, str]], **order: Any) -> list[dict[str, Any]]:
        """All at once; the answers of all."""
        self.ready(who, **order)
        self.go()
        return [rival.answer() for rival in self.each]

    def ready(self, who: list[dict[str, str]], **order: Any) -> None:
        """Lets all open a session on a customer and stand by."""
        for number, rival in enumerate(self.each):
            rival.order(who=who[number % len(who)], together=True, **order)
        for rival in self.each:
            assert rival.answer()["outcome"] == "holds"

    def go(self) -> None:
        """All at once."""
        for rival in self.each:
            rival.go_on()

    def sent(self) -> list[tuple[str, str, str]]:
        """What went out: (customer, touchpoint, reservation)."""
        lines = self.ledger.read_bytes().decode().splitlines()
        return [(line.rsplit(" ", 2)[0], *line.rsplit(" ", 2)[1:]) for line in lines]  # type: ignore[misc]

    def close(self) -> None:
        for rival in self.each:
            if not hasattr(rival, "process"):
                continue  # it was never started
            rival.signal(signal.SIGCONT) if rival.process.poll() is None else None
            rival.close()


if __name__ == "__main__":
    os.environ.setdefault("PYTHONUNBUFFERED", "1")
    live()
