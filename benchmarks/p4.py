"""P4: one fact alone, acknowledged. One call with one fact, its answer, then the next; the hub has nothing else to do.

The acknowledgement comes after the hub's commit with synchronous=FULL, its fold, and everything else that P3 says of
it. The peer is Redis XADD with AOF `always`, one by one over one connection: stored and fsynced, nothing more.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

from .hub import HubProcess, file_facts
from .measure import Line, Report, paired_ratio, pairs
from .stores import PACKAGES, Server, binary, install
from .workers import Worker

CUSTOMERS = 1_000


def run(*, quick: bool = False, install_peers: bool = False) -> Report:
    """Measures."""
    rounds, facts = (3, 500) if quick else (7, 2_000)
    report = Report(
        "P4", "one fact alone, acknowledged: durable and folded, the hub idle",
        f"hub in one process, the caller in another, one connection, one call at a time; {CUSTOMERS} customers,"
        f" {facts} facts a round, {rounds} pairs; no pins",
    )  # fmt: skip
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="segue-p4-")))
        hub, load = stack.enter_context(HubProcess(folder)), stack.enter_context(Worker("load"))
        load.ask("connect", address=hub.address, key=hub.key)
        sent, peer = [0], _redis(stack, report, install_peers=install_peers)

        def ours() -> Mapping[str, float]:
            load.ask("prepare", facts=facts, customers=CUSTOMERS, first=0, seed=sent[0] + 1, batch=1)
            found: dict[str, float] = load.ask("run", in_flight=1)
            sent[0] += int(found["facts"])
            return {"p50_ms": found["p50_ms"], "p99_ms": found["p99_ms"]}

        def theirs() -> Mapping[str, float]:
            assert peer is not None
            peer.ask("prepare", facts=facts, customers=CUSTOMERS, seed=sent[0])
            alone: dict[str, float] = peer.ask("xadd_alone")
            return alone

        sides = {"ours": ours} if peer is None else {"ours": ours, "redis": theirs}
        for side in sides.values():
            side()  # warm
        series, report.canary = pairs(rounds, sides)
        stored = file_facts(hub.store)
        if stored["facts"] != sent[0] or stored["journal"] != "wal":
            raise RuntimeError(f"{sent[0]} facts were acknowledged, the file says {stored}")
        report.verified.append(f"{sent[0]} acknowledged = {sent[0]} rows in the file, journal WAL")
        report.verified.append("the hub opens its store with synchronous FULL, or not at all")
    mine, its = series["ours"], series.get("redis")
    ratio = paired_ratio(mine["p50_ms"], its["p50_ms"]) if its else None
    report.lines += [
        Line("P4", "p50, ms", mine["p50_ms"], its["p50_ms"] if its else None, "Redis XADD, AOF always, one by one",
             ratio, 3.0 if ratio else None, at_least=False, target="at most 3x"),
        Line("P4", "p99, ms", mine["p99_ms"], its["p99_ms"] if its else None, "Redis XADD, AOF always, one by one"),
    ]  # fmt: skip
    return report


def _redis(stack: ExitStack, report: Report, *, install_peers: bool) -> Worker | None:
    if install_peers:
        install("redis")
    if not binary("redis"):
        report.skipped.append(f"redis: not installed (apt-get install {PACKAGES['redis']}, or --install-peers)")
        return None
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="segue-p4-redis-")))
    server = stack.enter_context(Server("redis", folder))
    worker = stack.enter_context(Worker("stores_peer", peer=True))
    report.verified.append(worker.ask("redis", where=server.where) + "; entries counted after each round")
    return worker
