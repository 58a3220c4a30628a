"""Trouble: the faults that strike a history, in the order and at the instants that chance says.

Owns `Trouble`: what is done to the hub, to hosts and to the line between, and how often each was. After each all is as
it should be again, but for what the hub's next life is like.
"""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from tests.faults.failing import injected
from tests.faults.histories.host import Host
from tests.faults.wire_cutter import WireCutter
from tests.serving import Serving

LIBRARY = next(iter(sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))), None)
SORTS = ("usual", "slow", "tight", "few", *(("clock",) if LIBRARY is not None else ()))
TIGHT = ("message_bytes=65536", "queue_bytes=65536", "queue_ms=50", "calls=5", "calls_per_touchpoint=2")


class Trouble:
    """What goes wrong.

    Args:
        hub: not started yet.
        cutter: the line that some clients use.
        hosts: that may be struck.
        chance: says what and when.

    Attributes:
        counts: by kind.
        lives: of the hub: (began, ended, offset of its clock), by the machine's clock, microseconds.
        slowest: seconds until the hub served again, at most.
    """

    def __init__(self, hub: Serving, cutter: WireCutter, hosts: Sequence[Host], chance: random.Random) -> None:
        self.hub, self.cutter, self.hosts, self.chance = hub, cutter, hosts, chance
        self.counts: Counter[str] = Counter()
        self.lives: list[list[int]] = []
        self.slowest = 0.0
        self._command, self._more = hub.command, hub.more
        self._pausing = threading.Event()

    def start(self, *, usual: bool = False) -> None:
        """A life of the hub begins, with chance for what it is like."""
        self.hub.command, self.hub.more, self.hub.variables = self._command, [*self._more], {"PYTHONPATH": _path()}
        offset, sort = 0, "usual" if usual else self.chance.choice(SORTS)
        if sort == "slow":
            self.hub.command = [*injected("delay_exit=30000"), *self._command]
        elif sort == "tight":
            self.hub.more += [part for limit in TIGHT for part in ("--limit", limit)]
        elif sort == "few":
            self.hub.more += ["--heads", "3"]
        elif sort == "clock":
            offset = self.chance.choice([-2, 2])
            self.hub.variables |= {
                "LD_PRELOAD": str(LIBRARY), "FAKETIME": f"{offset:+d}", "FAKETIME_DONT_FAKE_MONOTONIC": "1",
                "DONT_FAKE_MONOTONIC": "1",
            }  # fmt: skip
        self.counts[f"hub_{sort}"] += sort != "usual"
        began = time.monotonic()
        self.lives.append([time.time_ns() // 1000, 0, offset * 1_000_000])
        self.hub.start()
        self.slowest = max(self.slowest, time.monotonic() - began)

    def kill(self) -> None:
        """The hub's life ends, without a word."""
        self.hub.kill()
        self.lives[-1][1] = time.time_ns() // 1000

    def latest(self, wall: int) -> int:
        """The latest that any clock of the hub showed by an instant of the machine's."""
        return max(min(wall, ended or wall) + offset for began, ended, offset in self.lives if began <= wall)

    def strike(self) -> None:
        """One fault."""
        fault = self.chance.choice(
            [self.hub_killed, self.hub_killed, self.hub_paused, self.host_killed, self.host_paused, self.latency,
             self.black_hole, self.reset, self.cut_after, self.cut_answers]
        )  # fmt: skip
        self.counts[fault.__name__] += 1
        fault()

    def _lasts(self, least: float, most: float) -> None:
        self._pausing.wait(self.chance.uniform(least, most))  # how long a fault lasts: chance, no wait for anything

    def hub_killed(self) -> None:
        self.kill()
        self._lasts(0, 0.3)
        self.start()

    def hub_paused(self) -> None:
        assert self.hub.process is not None
        self.hub.process.send_signal(signal.SIGSTOP)
        self._lasts(0.1, 1.0)
        self.hub.process.send_signal(signal.SIGCONT)

    def host_killed(self) -> None:
        host = self.chance.choice(self.hosts)
        host.kill()
        host.start()

    def host_paused(self) -> None:
        host = self.chance.choice(self.hosts)
        host.signal(signal.SIGSTOP)
        self._lasts(0.1, 1.0)
        host.signal(signal.SIGCONT)

    def latency(self) -> None:
        self.cutter.delay = self.chance.uniform(0.02, 0.2)
        self._mended()

    def black_hole(self) -> None:
        self.cutter.hold(flows=False)
        self._mended()

    def reset(self) -> None:
        self.cutter.cut()

    def cut_after(self) -> None:
        self.cutter.cut_after = self.chance.randrange(500, 20_000)
        self._mended()

    def cut_answers(self) -> None:
        self.cutter.cut_answers = True
        self._mended()

    def _mended(self) -> None:
        self._lasts(0.2, 1.0)
        self.cutter.delay, self.cutter.cut_after, self.cutter.cut_answers = 0.0, 0, False
        self.cutter.cut()
        self.cutter.hold(flows=True)


def _path() -> str:
    """Where the hub of a history is found: the tests', and wherever this process finds what it imports."""
    return os.pathsep.join([str(Path(__file__).resolve().parents[3]), os.environ.get("PYTHONPATH", "")])
