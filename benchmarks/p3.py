"""P3: durable ingest over gRPC, with everything that the hub does to a fact before it acknowledges.

The hub runs as `segue-hub serve` on SQLite with synchronous=FULL, three maps and ten audiences in force; the load
generator is a process of its own on the same cores. Each customer is made known first, then facts of customers at
random are timed. The peers only store: Redis XADD with AOF `always`, PostgreSQL COPY, both 256 at a time.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path

from . import durability, progress
from .hub import HubProcess, file_facts
from .load import BATCH
from .measure import Line, Report, Series, paired_ratio, pairs
from .stores import PACKAGES, Server, binary, install
from .workers import Worker

IN_FLIGHT = 8
CALLS = {"redis": "xadd", "postgres": "copy"}


def run(*, quick: bool = False, install_peers: bool = False) -> Report:
    """Measures."""
    rounds, customers, facts = (3, 10_000, 20_000) if quick else (5, 100_000, 100_000)
    report = Report(
        "P3", "durable ingest over gRPC: validated, deduplicated, resolved, folded, fsynced, readable, acknowledged",
        f"hub in one process (event loop and writer thread), load generator in another, {IN_FLIGHT} batches of 256 in"
        f" flight; {customers} customers, {facts} facts a round, {rounds} rounds; no pins",
    )  # fmt: skip
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="segue-p3-")))
        hub = stack.enter_context(HubProcess(folder))
        load = stack.enter_context(Worker("load"))
        load.ask("connect", address=hub.address, key=hub.key)
        sides: dict[str, Callable[[], Mapping[str, float]]] = {}
        peers = _peers(stack, report, install_peers=install_peers)
        load.ask("prepare", facts=customers, customers=customers, first=1, seed=1)
        seeded = load.ask("run", in_flight=IN_FLIGHT)
        report.notes["first facts of new customers, facts/s"] = round(seeded["per_second"])
        sent = [int(seeded["facts"])]

        def ours() -> Mapping[str, float]:
            load.ask("prepare", facts=facts, customers=customers, first=0, seed=len(sent) + 1)
            found: dict[str, float] = load.ask("run", in_flight=IN_FLIGHT)
            sent.append(int(found["facts"]))
            return found

        sides["ours"] = ours
        for name, worker in peers.items():
            sides[name] = _peer_side(worker, CALLS[name], facts, customers)
        series, report.canary = pairs(rounds, sides)
        sent.append(_durable(report, hub, load, customers, quick=quick, install_peers=install_peers))
        _verify(report, hub, load, sum(sent), customers)
        report.notes["hub"] = hub.status()
        hub.stop()
        on_disk = file_facts(hub.store)
        if on_disk["facts"] != sum(sent):
            raise RuntimeError(f"{on_disk['facts']} facts in the file after the end, {sum(sent)} were acknowledged")
        report.notes["bytes per fact on disk (closed; identifiers, indexes and checkpoints included)"] = round(
            on_disk["bytes"] / on_disk["facts"]
        )
    _lines(report, series)
    return report


def _durable(report: Report, hub: HubProcess, load: Worker, customers: int, *, quick: bool, install_peers: bool) -> int:
    """The very hub that was measured acknowledges only what is on the disk; returns how many facts that took."""
    progress.step("durability: the hub under strace")
    if install_peers:
        install("strace")
    if reason := durability.unavailable():
        report.skipped.append(f"fdatasync before acknowledgement, seen from outside: {reason}")
        return 0
    load.ask("prepare", facts=durability.BATCHES * BATCH, customers=customers, first=0, seed=0)
    accepted, seen = durability.require(hub.pid, durability.journal_of(hub), load)
    report.verified.append(seen)
    for fault in durability.FAULTS * (not quick):  # quick leaves the controls to the tests
        with tempfile.TemporaryDirectory(prefix="segue-p3-control-") as folder:
            report.verified.append(durability.refuses(fault, Path(folder)))
    return accepted


def _peers(stack: ExitStack, report: Report, *, install_peers: bool) -> dict[str, Worker]:
    found: dict[str, Worker] = {}
    for name in CALLS:
        if install_peers:
            install(name)
        if not binary(name):
            report.skipped.append(f"{name}: not installed (apt-get install {PACKAGES[name]}, or --install-peers)")
            continue
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix=f"segue-p3-{name}-")))
        try:
            server = stack.enter_context(Server(name, folder))
        except (OSError, RuntimeError) as error:
            report.skipped.append(f"{name}: did not start ({error})")
            continue
        worker = stack.enter_context(Worker("stores_peer", peer=True))
        report.verified.append(worker.ask(name, where=server.where) + "; rows counted after each round")
        found[name] = worker
    return found


def _peer_side(worker: Worker, call: str, facts: int, customers: int) -> Callable[[], Mapping[str, float]]:
    seed = [0]

    def side() -> Mapping[str, float]:
        seed[0] += 1
        worker.ask("prepare", facts=facts, customers=customers, seed=seed[0])
        return {"per_second": worker.ask(call)}

    return side


def _verify(report: Report, hub: HubProcess, load: Worker, sent: int, customers: int) -> None:
    """What was acknowledged is in the file, and folded into contexts that can be read."""
    stored = file_facts(hub.store)
    if stored["facts"] != sent or stored["journal"] != "wal":
        raise RuntimeError(
            f"{sent} facts were acknowledged, {stored['facts']} are stored (journal {stored['journal']})"
        )
    read = 0
    for customer in (1, 2, customers // 3, customers // 2, customers - 1, customers):
        context = hub.read(f"A-{customer:07d}")
        sections = {section.name: json.loads(section.data) for section in context.sections}
        folded, told = sections["envelope"][2], load.ask("told", customer=customer)
        if folded != told or not context.version:
            raise RuntimeError(f"customer {customer} has {folded} facts in its context, {told} were sent")
        read += folded
    report.verified.append(f"{sent} acknowledged = {sent} rows in the file, before and after the hub's end")
    report.verified.append(f"6 contexts read through gRPC hold all of their {read} facts, with a version")
    report.verified.append("the hub opens no store whose synchronous is not FULL; the file's journal is WAL")


def _lines(report: Report, series: Mapping[str, Mapping[str, Series]]) -> None:
    ours = series["ours"]
    for name, title in (("redis", "Redis XADD, AOF always, 256"), ("postgres", "PostgreSQL COPY, 256")):
        if name in series:
            peer = series[name]["per_second"]
            ratio = paired_ratio(ours["per_second"], peer)
            report.lines.append(
                Line("P3", "facts/s", ours["per_second"], peer, title, ratio, 0.6, target="0.6x (goal after: 1.0x)")
            )
    report.lines += [
        Line("P3", "facts/s, floor", ours["per_second"], needed=20_000, target="at least 20,000"),
        Line("P3", "acknowledgement p50, ms", ours["p50_ms"]),
        Line("P3", "acknowledgement p99, ms", ours["p99_ms"], needed=100, at_least=False, target="under 100 ms"),
    ]
