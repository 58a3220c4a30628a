"""P5: seen elsewhere. From `track` in process A until the replica of process B shows it, durable in between.

Two SDK processes and a hub of their own, against a bare gRPC relay (stream to stream, nothing stored) with the same
two processes at its ends. A's journal, the publish, the hub's fsync, the fold and the push all lie in between.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path

from .hub import HubProcess, file_facts
from .measure import Line, Report, paired_ratio, pairs, percentile
from .workers import ROOT, Worker

CUSTOMERS = 100
RATES = ((100, 3.0), (2000, 4.0))
"""Facts per second, and how many times the relay's p50 is allowed."""


def run(*, quick: bool = False) -> Report:
    """Measures."""
    rounds, seconds = (2, 1) if quick else (5, 5)
    report = Report(
        "P5", "seen elsewhere: track in process A until process B's replica shows it, durable in between",
        f"hub, A and B in a process each, relay in a fourth, its ends in A and B; {CUSTOMERS} customers held,"
        f" {seconds} s a round, {rounds} pairs; no pins",
    )  # fmt: skip
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="segue-p5-")))
        port = _relay(stack)
        hub = stack.enter_context(HubProcess(folder))
        a, b = stack.enter_context(Worker("touch")), stack.enter_context(Worker("touch"))
        for worker, name in ((a, "bench"), (b, "other")):
            state = str(folder / name)
            worker.ask("open", name=name, hub=hub.address, key=hub.key_of(name), state=state, customers=CUSTOMERS)
            worker.ask("relay", port=port)
        done = sum(_rate(report, (a, b), rate, allowed, rounds, seconds) for rate, allowed in RATES)
        stored = file_facts(hub.store)["facts"]
        if stored != done:
            raise RuntimeError(f"{done} facts were tracked, {stored} are stored")
        report.verified.append(f"all {done} facts seen by B once A told them, and {stored} stored; none lost")
        report.notes["hub"] = hub.status()
        for worker in (a, b):
            worker.ask("close")
    return report


def _relay(stack: ExitStack) -> int:
    """Starts the bare relay; returns its port."""
    command = [sys.executable, "-m", "benchmarks.relay_server"]
    relay = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    stack.callback(relay.wait, 10)
    stack.callback(relay.terminate)
    assert relay.stdout is not None
    return int(relay.stdout.readline())


def _rate(
    report: Report, ends: tuple[Worker, Worker], rate: int, allowed: float, rounds: int, seconds: int,
) -> int:  # fmt: skip
    a, b = ends
    count, turn = rate * seconds, [0]

    def segue_side() -> Mapping[str, float]:
        turn[0] += 1
        b.ask("watch", count=count)
        sent = a.ask("track", count=count, rate=rate, round=rate * 1000 + turn[0])
        seen = b.ask("seen", timeout=30)
        told = a.ask("flush")
        if not told["flushed"] or told["losses"]:
            raise RuntimeError(f"A was not acknowledged: {told}")
        return _compared("the replica", sent, seen)

    def relay_side() -> Mapping[str, float]:
        turn[0] += 1
        b.ask("expect", count=count)
        sent = a.ask("say", count=count, rate=rate, round=rate * 1000 + turn[0])
        return _compared("the relay", sent, b.ask("seen", timeout=30))

    sides: dict[str, Callable[[], Mapping[str, float]]] = {"ours": segue_side, "relay": relay_side}
    segue_side()  # warm
    relay_side()
    series, canary = pairs(rounds, sides)
    report.canary = report.canary or canary
    ours, bare = series["ours"], series["relay"]
    report.lines += [
        Line("P5", f"{rate}/s: p50, ms", ours["p50_ms"], bare["p50_ms"], "bare gRPC relay",
             paired_ratio(ours["p50_ms"], bare["p50_ms"]), allowed, at_least=False, target=f"at most {allowed:.0f}x"),
        Line("P5", f"{rate}/s: p99, ms", ours["p99_ms"], bare["p99_ms"], "bare gRPC relay",
             None, 10.0, at_least=False, target="under 10 ms"),
    ]  # fmt: skip
    return count * (rounds + 1)


def _compared(who: str, sent: Mapping[str, float], seen: Mapping[str, float]) -> Mapping[str, float]:
    missing = sent.keys() - seen.keys()
    if missing:
        raise RuntimeError(f"{len(missing)} of {len(sent)} never reached {who}")
    times = [(seen[name] - at) * 1000 for name, at in sent.items()]
    if min(times) < 0:
        raise RuntimeError("something was seen before it was told: the clocks are not shared")
    return {"p50_ms": percentile(times, 0.5), "p99_ms": percentile(times, 0.99)}
