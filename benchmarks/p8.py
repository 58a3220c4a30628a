"""P8: fan-out. 100 streams of 100 customers, 5,000 changes a second: how long until a stream has what was acknowledged.

Two patterns. *Each her own*: 10,000 customers, each watched by one stream, so every change is one frame to send. *All
the same*: 100 customers, each watched by all 100 streams, so every change is a hundred frames, and as many changes a
second as make 5,000 frames. Where changes come faster than a stream is written to, they conflate: a frame holds all.
"""

from __future__ import annotations

import tempfile
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

from .hub import HubProcess, file_facts
from .measure import Line, Report, Series, canary, percentile
from .workers import Worker, status_of, wait_for

STREAMS: Final = 100
EACH: Final = 100
FRAMES: Final = 5_000
"""A second, were there no conflation."""
SEEDED: Final = 4
FLAT: Final = 1.1
"""Resident memory at the end, to that at the beginning: at most."""


def run(*, quick: bool = False) -> Report:
    """Measures."""
    rounds, seconds = (3, 4) if quick else (5, 10)
    report = Report(
        "P8", f"fan-out: {STREAMS} streams of {EACH} customers each, {FRAMES:,} changes for a stream a second",
        f"hub, load and streams in a process each, streams on {STREAMS // 25} connections; {seconds} s a round,"
        f" {rounds} rounds; no pins",
    )  # fmt: skip
    canaries = [canary()]
    for title, shared in (("each her own", False), ("all the same", True)):
        with ExitStack() as stack:
            _pattern(stack, report, title, rounds, seconds, shared=shared)
        canaries.append(canary())
    report.canary = Series(canaries)
    return report


def _pattern(stack: ExitStack, report: Report, title: str, rounds: int, seconds: int, *, shared: bool) -> None:
    customers = EACH if shared else STREAMS * EACH
    watched = [
        [n + 1 for n in range(EACH)] if shared else [stream * EACH + n + 1 for n in range(EACH)]
        for stream in range(STREAMS)
    ]
    rate = FRAMES / STREAMS if shared else FRAMES
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="segue-p8-")))
    hub = stack.enter_context(HubProcess(folder))
    load, ears = stack.enter_context(Worker("fan_load")), stack.enter_context(Worker("fan_ears"))
    load.ask("connect", address=hub.address, key=hub.key)
    load.ask("seed", customers=customers, each=SEEDED)
    ears.ask("open", address=hub.address, key=hub.key_of("other"), customers=watched)
    _round(load, ears, hub, customers, rate, seconds, 0, shared=shared)  # warm
    before = _conflated(hub)
    figures: dict[str, list[float]] = {}
    for number in range(rounds):
        for name, value in _round(load, ears, hub, customers, rate, seconds, number + 1, shared=shared).items():
            figures.setdefault(name, []).append(value)
    changes, frames = int(sum(figures["changes"])), int(sum(figures["frames"]))
    told = load.ask("told")
    stored = file_facts(hub.store)["facts"]
    if stored != sum(told.values()):
        raise RuntimeError(f"{sum(told.values())} facts were told, {stored} are stored")
    watchers = STREAMS if shared else 1
    report.verified.append(
        f"{title}: each of {STREAMS} streams ended at the newest version of each of its {EACH} customers, none went"
        " back;"
        f" {changes} changes for {changes * watchers} frames, {frames} sent, as {changes * watchers - frames} conflated"
        f" (the hub counts {_conflated(hub) - before}, as what comes together in a batch is one change to it)"
    )
    series = {name: Series(values) for name, values in figures.items()}
    report.lines += [
        Line("P8", f"{title}: acknowledged until received, p99, ms", series["p99_ms"], needed=50, at_least=False,
             target="under 50 ms"),
        Line("P8", f"{title}: p50, ms", series["p50_ms"]),
        Line("P8", f"{title}: told until received, p99, ms", series["told_p99_ms"]),
        Line("P8", f"{title}: changes/s", series["rate"], needed=rate * 0.98, target=f"{rate:,.0f}"),
        Line("P8", f"{title}: hub MB at the end to the beginning of a round", series["memory"], needed=FLAT,
             at_least=False, target="flat: at most 1.1"),
        Line("P8", f"{title}: hub's processor, share of one core", series["processor"]),
        Line("P8", f"{title}: batches refused, and sent again when the hub said", series["refused"]),
    ]  # fmt: skip
    report.notes[f"hub, {title}"] = hub.status()


def _round(
    load: Worker, ears: Worker, hub: HubProcess, customers: int, rate: float, seconds: int, seed: int, *, shared: bool
) -> dict[str, float]:
    resident = [status_of(hub.pid)["rss_mb"]]
    ended = threading.Event()

    def look() -> None:
        while not ended.wait(0.5):
            resident.append(status_of(hub.pid)["rss_mb"])

    watch = threading.Thread(target=look, daemon=True)
    watch.start()
    used, began = _processor(hub.pid), time.monotonic()
    sent = load.ask("run", customers=customers, rate=rate, seconds=seconds, seed=seed)
    used, took = _processor(hub.pid) - used, time.monotonic() - began
    frames: list[Any] = []
    told = load.ask("told")

    def all_there() -> bool:
        frames.extend(ears.ask("heard"))
        newest = ears.ask("newest")
        return all(told[name] == facts for stream in newest for name, facts in stream.items())

    wait_for("the newest version of every customer on every stream", all_there, 60)
    ended.set()
    watch.join()
    waits, since_told = _waits(sent["facts"], frames, STREAMS if shared else 1)
    return {
        "p50_ms": percentile(waits, 0.5), "p99_ms": percentile(waits, 0.99),
        "told_p99_ms": percentile(since_told, 0.99), "rate": len(sent["facts"]) / sent["seconds"],
        "changes": len(sent["facts"]), "frames": len(frames), "memory": max(resident[1:], default=resident[0]) /
        resident[0], "processor": used / took, "refused": sent["refused"],
    }  # fmt: skip


def _waits(facts: list[Any], frames: list[Any], watchers: int) -> tuple[list[float], list[float]]:
    """Milliseconds until each stream had each change, since it was acknowledged and since it was told.

    A frame may overtake the acknowledgement: then it waited for nothing.
    """
    had: dict[tuple[int, int], list[tuple[int, float]]] = {}
    for stream, customer, at, count in frames:
        had.setdefault((customer, stream), []).append((count, at))
    streams: dict[int, list[list[tuple[int, float]]]] = {}
    for (customer, _), heard in had.items():
        streams.setdefault(customer, []).append(heard)
    waits, since_told = [], []
    for customer, which, told, acknowledged in facts:
        heard_by = streams.get(customer, [])
        if len(heard_by) != watchers:
            raise RuntimeError(f"customer {customer} changed, and {len(heard_by)} of {watchers} streams heard of it")
        for heard in heard_by:
            at = next(at for count, at in heard if count >= which)
            waits.append(max(0.0, at - acknowledged) * 1000)
            since_told.append((at - told) * 1000)
    return waits, since_told


def _conflated(hub: HubProcess) -> int:
    """As the hub counts it, over all of its streams."""
    return sum(int(instance["conflated"]) for instance in hub.overview()["instances"])


def _processor(pid: int) -> float:
    """Seconds of processor that a process used so far."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100
