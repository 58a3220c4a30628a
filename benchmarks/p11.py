"""P11: what the SDK costs the host's own threads: `track` and `decide`, each call timed, with a hub and without one.

A host calls at a steady pace, as a request thread does, while our own threads journal, publish and keep the replica in
the same interpreter. Beside it, in the same rounds, a call that only counts, about as long as `track`: what a busy
machine alone does to a thread. The same inside hosts, with what importing takes, threads and memory: `p11_hosts`.
The promise is p99.9 at most 1 ms; the machine's own share of it is told by that peer.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import segue
from segue.domain.context import Context

from .hub import HubProcess
from .measure import Line, Report, Series, canary, percentile
from .p11_hosts import hosts, imports

PACE: Final = 1_000
"""Calls each second."""
SHARES: Final = (("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999))


def _route(customer: Context) -> Any:
    return "agent" if customer.seen("ivr", within="1h") else None


def _count(_: int) -> int:
    return sum(range(2_000))


def _paced(call: Callable[[int], object], count: int) -> list[float]:
    """Milliseconds of each call, begun at a steady pace."""
    took, due = [], time.perf_counter()
    for number in range(count):
        due += 1 / PACE
        while (left := due - time.perf_counter()) > 0:
            time.sleep(left)
        began = time.perf_counter_ns()
        call(number)
        took.append((time.perf_counter_ns() - began) / 1e6)
    return took


def run(*, quick: bool = False) -> Report:
    """Measures."""
    rounds, count = (2, 1_000) if quick else (5, 10_000)
    report = Report(
        "P11", "what the SDK costs a host's thread, in milliseconds of a call",
        f"one host thread, {PACE:,} calls a second, {rounds} rounds of {count:,} calls each, hub in another process",
    )  # fmt: skip
    canaries = [canary()]
    with tempfile.TemporaryDirectory(prefix="segue-p11-") as folder:
        with HubProcess(Path(folder)) as hub:
            imports(report, 3 if quick else 7)
            hosts(report, hub, Path(folder), 1 if quick else 3, 1_000 if quick else 4_000)
            touchpoint = segue.Touchpoint("bench", hub=hub.address, key=hub.key, state=Path(folder) / "sdk")
            question = touchpoint.decision("bench.route", default="bot")(_route)
            session = touchpoint.session(account="A-1", wait="5s")
            calls: dict[str, Callable[[int], object]] = {
                "track": lambda number: session.track("call.started", number=number),
                "decide": lambda _: session.decide(question),
            }
            _measure(report, "hub there", calls, rounds, count)
            if not touchpoint.flush(60):
                raise RuntimeError("the hub did not take what was told")
            stored = touchpoint.status()["delivered"]
        _measure(report, "hub gone", calls, rounds, count)
        status = touchpoint.status()
        touchpoint.close()
    kept = status["delivered"] + status["waiting"] + sum(status["losses"].values())
    if kept != status["offered"]:
        raise RuntimeError(f"kept + delivered + lost is {kept}, offered {status['offered']}")
    report.verified.append(
        f"{status['offered']:,} facts offered: {stored:,} delivered, {status['waiting']:,} wait on disk"
    )
    report.canary = Series([*canaries, canary()])
    return report


def _measure(
    report: Report, where: str, calls: dict[str, Callable[[int], object]], rounds: int, count: int
) -> None:  # fmt: skip
    found: dict[str, list[list[float]]] = {name: [] for name in (*calls, "counting")}
    for _ in range(rounds):
        for name, call in (*calls.items(), ("counting", _count)):
            found[name].append(_paced(call, count))
    for name in calls:
        for shown, share in SHARES:
            ours, idle = (Series([percentile(one, share) for one in found[side]]) for side in (name, "counting"))
            promised = {"needed": 1.0, "at_least": False, "target": "1 ms"} if shown == "p99.9" else {}
            line: dict[str, Any] = {"peer": idle, "peer_name": "counting", **promised}
            report.lines.append(Line("P11", f"{name}, {where}, {shown}", ours, **line))
