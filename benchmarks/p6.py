"""P6: cold reads. A customer who is on disk and not in the hub's memory: by one call, over the stream, 32 at once.

The hub runs as `segue-hub serve` on a store of P7's that it has just been started on, so no context is live; each
customer is asked for once, and kept as the hub keeps one that it let go of. That every read came from disk is checked
by the hub's own counts, and every context by its contents. The pages of the file may be in the system's cache, as may
be those of the peers. A bare gRPC server that answers as many bytes says how much of it is gRPC's.
"""

from __future__ import annotations

import random
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

from .growth import EACH, FULL, QUICK, keep_all, stores
from .hub import HubProcess
from .measure import Line, Report, Series, paired_ratio, pairs
from .progress import step
from .stores import PACKAGES, Server, binary, free_port, install
from .workers import ROOT, Worker

AT_ONCE: Final = 32
BOOKMARKS: Final = 20
"""Customers at most that the hub looks at beside those asked for: what a stream holds at a bookmark, each 10 s."""
KEYS: Final = 100_000
"""Values in Redis; fewer than ours, which is to its favour."""
FEAST_KEYS: Final = 5_000


def run(*, quick: bool = False, install_peers: bool = False) -> Report:
    """Measures.

    Args:
        quick: fewer customers, and fewer rounds.
        install_peers: installs Redis where it is missing.
    """
    rounds, reads, customers = (3, 400, QUICK[-1]) if quick else (5, 1500, FULL[-1])
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="segue-p6-")))
        store = stack.enter_context(stores((customers,)))[customers]
        everybody = random.Random(customers).sample(range(1, customers + 1), reads * 3 * (rounds + 2))
        keep_all(store, everybody)
        hub = stack.enter_context(HubProcess(store.parent))
        report = Report(
            "P6", "cold read: a customer on disk, not in the hub's memory",
            f"hub, client and peers in a process each, one connection; {customers:,} customers of {EACH}"
            f" facts, {reads} reads by each way a round, each customer once, {rounds} rounds; no pins",
        )  # fmt: skip
        reader = stack.enter_context(Worker("reader"))
        reader.ask("connect", address=hub.address, key=hub.key, each=EACH)
        reader.ask("open_stream")
        chosen = iter(everybody)
        sides, asked = _ours(reader, chosen, reads)
        step("warms up")
        sides["unary"]()
        size = int(sides["unary"]()["bytes"])
        sides["stream"]()
        sides["at_once"]()
        sides |= _bare(stack, reader, reads, size)
        sides |= _redis(stack, report, reads, size, install_peers=install_peers)
        sides |= _feast(stack, report, folder, reads)
        before, counted = _folds(hub), asked[0]
        series, report.canary = pairs(rounds, sides)
        _verify(report, before, _folds(hub), asked[0] - counted)
        report.notes["bytes of a context, on the wire"] = size
        report.notes["hub"] = hub.status()
        reader.ask("close")
    _lines(report, series)
    return report


def _ours(reader: Worker, chosen: Any, reads: int) -> tuple[dict[str, Callable[[], Mapping[str, float]]], list[int]]:
    """Our sides; and how many customers they asked for."""
    asked = [0]

    def side(call: str, count: int, **more: int) -> Callable[[], Mapping[str, float]]:
        def read() -> Mapping[str, float]:
            asked[0] += count
            found: dict[str, float] = reader.ask(call, customers=[next(chosen) for _ in range(count)], **more)
            return found

        return read

    count = reads // AT_ONCE * AT_ONCE
    return {
        "unary": side("unary", reads), "stream": side("stream", reads), "at_once": side("at_once", count, size=AT_ONCE)
    }, asked  # fmt: skip


def _bare(stack: ExitStack, reader: Worker, reads: int, size: int) -> dict[str, Callable[[], Mapping[str, float]]]:
    """What gRPC takes by itself: the same bytes of a server that does nothing else."""
    command = [sys.executable, "-m", "benchmarks.relay_server"]
    server = stack.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT))
    stack.callback(server.kill)
    assert server.stdout is not None
    reader.ask("connect_bare", port=int(server.stdout.readline()))
    reader.ask("bare", count=reads // 4, size=size)
    return {"bare": lambda: reader.ask("bare", count=reads, size=size)}


def _redis(
    stack: ExitStack, report: Report, reads: int, size: int, *, install_peers: bool
) -> dict[str, Callable[[], Mapping[str, float]]]:
    if install_peers:
        install("redis")
    if not binary("redis"):
        report.skipped.append(f"redis: not installed (apt-get install {PACKAGES['redis']}, or --install-peers)")
        return {}
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="segue-p6-redis-")))
    server = stack.enter_context(Server("redis", folder))
    worker = stack.enter_context(Worker("reader_peer", peer=True))
    report.verified.append(worker.ask("connect_redis", where=server.where, keys=KEYS, size=size))
    chance = random.Random(1)

    def keys() -> list[int]:
        return [chance.randrange(KEYS) for _ in range(reads // AT_ONCE * AT_ONCE)]

    worker.ask("get", keys=keys())
    return {
        "get": lambda: worker.ask("get", keys=keys()),
        "pipelined": lambda: worker.ask("pipelined", keys=keys(), size=AT_ONCE),
    }


def _feast(stack: ExitStack, report: Report, folder: Path, reads: int) -> dict[str, Callable[[], Mapping[str, float]]]:
    where = folder / "feast"
    where.mkdir()
    try:
        worker = stack.enter_context(Worker("feast_peer", peer=True, peers="feast"))
        step("feast serve fills its store and starts")
        told = worker.ask("start", folder=str(where), port=free_port(), keys=FEAST_KEYS)
    except (OSError, RuntimeError, subprocess.CalledProcessError) as error:
        report.skipped.append(f"feast serve: {error}")
        return {}
    report.verified.append(told)
    stack.callback(worker.ask, "stop")
    chance, count = random.Random(2), max(AT_ONCE, reads // 8)

    def keys() -> list[int]:
        return [chance.randrange(1, FEAST_KEYS + 1) for _ in range(count)]

    worker.ask("read", keys=keys(), size=1)
    return {
        "feast": lambda: worker.ask("read", keys=keys(), size=1),
        "feast_at_once": lambda: worker.ask("read", keys=keys() * 4, size=AT_ONCE),
    }


def _folds(hub: HubProcess) -> dict[str, int]:
    found: dict[str, int] = hub.overview()["folds"]
    return found


def _verify(report: Report, before: dict[str, int], after: dict[str, int], asked: int) -> None:
    """Every read came from disk, or nothing counts."""
    told = {name: after[name] - before[name] for name in after}
    beside = told["splices"] + told["loads"] - asked
    if not 0 <= beside <= BOOKMARKS or told["refolds"]:
        raise RuntimeError(f"{asked} customers were asked for, the hub read from disk: {told}")
    report.verified.append(
        f"all {asked} customers asked for were read from disk, none was in memory: {told['splices']} as stored,"
        f" {told['loads']} decoded; each context is of who was asked for, with all her facts and a version"
    )


def _lines(report: Report, series: Mapping[str, Mapping[str, Series]]) -> None:
    unary, stream, at_once = (series[name] for name in ("unary", "stream", "at_once"))
    bare = series["bare"]["p50_us"]
    for found, title in ((unary, "unary"), (stream, "over the stream")):
        ratio = paired_ratio(found["p50_us"], bare)
        report.lines.append(Line("P6", f"{title}: p50, us", found["p50_us"], bare, "bare gRPC, same bytes", ratio))
    if "get" in series:
        get = series["get"]["p50_us"]
        report.lines.append(Line("P6", "bare gRPC: p50, us", bare, get, "Redis GET", paired_ratio(bare, get)))
    if "get" in series:
        get, pipelined = series["get"]["p50_us"], series["pipelined"]["per_second"]
        for found, title, most in ((unary, "unary", 6.0), (stream, "over the stream", 3.0)):
            ratio = paired_ratio(found["p50_us"], get)
            report.lines.append(
                Line("P6", f"{title}: p50, us", found["p50_us"], get, "Redis GET", ratio, most, at_least=False,
                     target=f"at most {most:.0f}x")
            )  # fmt: skip
        ratio = paired_ratio(at_once["per_second"], pipelined)
        report.lines.append(
            Line("P6", "32 at once, keys/s", at_once["per_second"], pipelined, "Redis, 32 pipelined", ratio, 0.5,
                 target="at least 0.5x")
        )  # fmt: skip
    for found, name, title in ((unary, "feast", "unary"), (at_once, "feast_at_once", "32 at once")):
        if name in series:
            theirs = series[name]["p50_us"]
            report.lines.append(
                Line("P6", f"{title}: p50, us", found["p50_us"], theirs, "feast serve",
                     paired_ratio(found["p50_us"], theirs), 0.5, at_least=False, target="at most 0.5x")
            )  # fmt: skip
    for found, title in ((unary, "unary"), (stream, "over the stream"), (at_once, "32 at once")):
        report.lines.append(Line("P6", f"{title}: p99, us", found["p99_us"]))
