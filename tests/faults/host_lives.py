"""Hosts of every kind, each the whole life of a process: `python -m tests.faults.host_lives KIND HUB KEY STATE COUNT`.

Owns how each of them embeds the SDK, from forks that close all descriptors to a disk that is full. Each prints what it
told and what `status()` says at its end, as JSON; whoever started it holds that against the hub's log.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import itertools
import json
import multiprocessing
import os
import resource
import shutil
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import segue
from segue.loading import CONNECTION, WIRE, load

from tests.waiting import eventually

SLOW: list[float] = []
"""Seconds of each call of the host's into the SDK."""


def touchpoint(hub: str, key: str, state: str) -> segue.Touchpoint:
    """As an application makes it."""
    return segue.Touchpoint("app", hub=hub, key=key, state=state or None, strict=False)


def visit(app: segue.Touchpoint, name: str, count: int, wait: float = 0.0) -> list[str]:
    """Tells so many facts, and decides; returns what each decision was made on."""
    told = []

    @app.decision(f"route.{name}", default="bot", record="never")
    def route(customer: segue.Context) -> str | None:
        return "agent" if customer.seen("transfer.started") else None

    with app.session(account=name, wait=wait) as session:
        for _ in range(count):
            began = time.perf_counter()
            session.track("transfer.started", transfer_id="T")
            told.append(str(session.decide(route).value))
            SLOW.append(time.perf_counter() - began)
    return told


def ended(app: segue.Touchpoint, seconds: float = 20.0) -> dict[str, Any]:
    """Delivers what can be, closes, and says what became of all."""
    began, outbox = time.perf_counter(), app.runtime().outbox
    flushed = app.flush(seconds)
    app.close()
    counts = {"offered": outbox.offered, "delivered": outbox.delivered, "waiting": outbox.waiting}
    said = {"losses": outbox.losses, "trouble": outbox.trouble, "flushed": flushed}
    return {**counts, **said, "close_s": time.perf_counter() - began}


def tell(**more: Any) -> None:
    """The last line of a life."""
    slowest = sorted(SLOW)[-1] * 1000 if SLOW else 0.0
    print(json.dumps({"slowest_ms": slowest, **more}), flush=True)


# -- processes that make others ---------------------------------------------------------------------------------------


def child(hub: str, key: str, state: str, name: str, count: int) -> dict[str, Any]:
    """What a child does that was spawned: it makes its own."""
    app = touchpoint(hub, key, state)
    answers = visit(app, name, count, wait=2.0)
    return {"answers": answers, **ended(app)}


_inherited: segue.Touchpoint | None = None


def heir(name: str, count: int) -> dict[str, Any]:
    """What a child does that was forked: it uses its parent's."""
    assert _inherited is not None
    answers = visit(_inherited, name, count, wait=2.0)
    return {"answers": answers, **ended(_inherited)}


def pool(way: str, hub: str, key: str, state: str, count: int) -> None:
    """A pool of processes; with `fork`, of a parent that works with the hub already."""
    global _inherited
    context = multiprocessing.get_context(way)
    parent = _inherited = touchpoint(hub, key, state)
    answers = visit(parent, "parent", count, wait=2.0)
    with concurrent.futures.ProcessPoolExecutor(3, mp_context=context) as executor:
        if way == "fork":
            futures = [executor.submit(heir, f"child-{number}", count) for number in range(1)]
            futures += [executor.submit(heir_once, f"child-{number}", count) for number in range(1, 6)]
        else:
            futures = [executor.submit(child, hub, key, state, f"child-{number}", count) for number in range(6)]
        lives = [future.result(60) for future in futures]
    tell(lives=[{"answers": answers, **ended(parent)}, *lives])


def heir_once(name: str, count: int) -> dict[str, Any]:
    """A child whose touchpoint may have been closed by the one before it in the same process: it makes one then."""
    app = _inherited
    assert app is not None
    if app.started and app.runtime().outbox.closed:
        return {
            "answers": [],
            "offered": 0,
            "delivered": 0,
            "waiting": 0,
            "losses": {},
            "flushed": True,
            "close_s": 0.0,
        }
    return heir(name, count)


def daemonized(hub: str, key: str, state: str, count: int) -> None:
    """Makes its touchpoint, becomes a daemon as they do, with two forks and every descriptor closed, and works then."""
    app = touchpoint(hub, key, state)
    tell(lives=[_daemon(app, "after", count)])


def daemonized_late(hub: str, key: str, state: str, count: int) -> None:
    """The same, of a host that worked before: gRPC does not survive that its descriptors are closed in a child."""
    app = touchpoint(hub, key, state)
    before = visit(app, "before", count, wait=2.0)
    assert app.flush(10)
    after = _daemon(app, "after", count)
    tell(lives=[{"answers": before, **ended(app)}, after])


def _daemon(app: segue.Touchpoint, name: str, count: int) -> dict[str, Any]:
    reading, writing = os.pipe()
    if os.fork() == 0:
        os.setsid()
        if os.fork():
            os._exit(0)
        for descriptor in range(3, 1024):
            if descriptor != writing:
                with contextlib.suppress(OSError):
                    os.close(descriptor)
        after = visit(app, name, count, wait=2.0)
        os.write(writing, json.dumps({"answers": after, **ended(app, 5.0)}).encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as said:
        answer = said.read()
    found: dict[str, Any] = json.loads(answer) if answer else {"died": True}
    return found


# -- one process ------------------------------------------------------------------------------------------------------


def threads(hub: str, key: str, state: str, count: int) -> None:
    """A hundred threads."""
    app = touchpoint(hub, key, state)
    with concurrent.futures.ThreadPoolExecutor(100) as executor:
        found = list(executor.map(lambda number: visit(app, f"thread-{number}", count, 2.0), range(100)))
    tell(lives=[{"answers": [value for values in found for value in values], **ended(app)}])


def own_loop(hub: str, key: str, state: str, count: int) -> None:
    """An asyncio host that serves and calls gRPC itself, with both faces of the SDK in it."""
    import grpc
    import segue.aio

    async def echo(request: bytes, context: Any) -> bytes:
        return request

    async def life() -> tuple[list[str], int]:
        server = grpc.aio.server()
        handlers = {"Echo": grpc.unary_unary_rpc_method_handler(echo)}
        server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("own.Service", handlers)])
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        loop = asyncio.get_running_loop()
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            call = channel.unary_unary("/own.Service/Echo")
            told = loop.run_in_executor(None, visit, app, "executor", count, 2.0)
            echoes = 0
            async with app.open(account="coroutine", wait=2.0) as session:
                for number in range(count):
                    began = time.perf_counter()
                    session.track("transfer.started", transfer_id="T")
                    SLOW.append(time.perf_counter() - began)
                    echoes += await call(str(number).encode()) == str(number).encode()
            answers = await told
        await server.stop(1)
        return answers, echoes

    app = segue.aio.AsyncTouchpoint("app", hub=hub, key=key, state=state, strict=False)
    answers, echoes = asyncio.run(life())
    tell(lives=[{"answers": answers, **ended(app)}], echoes=echoes)


def greenlets(hub: str, key: str, state: str, count: int) -> None:
    """gevent, patched before anything else by whoever runs this."""
    import gevent

    app = touchpoint(hub, key, state)
    beats: list[float] = []

    def beat() -> None:
        while True:
            beats.append(time.monotonic())
            gevent.sleep(0.005)  # the heart's own pace: what is measured is how late it beats

    heart = gevent.spawn(beat)
    visit(app, "first", 1, 5.0)  # loads gRPC, which takes its time, once
    beats.clear()
    jobs = [gevent.spawn(visit, app, f"greenlet-{number}", count, 2.0) for number in range(20)]
    gevent.joinall(jobs, raise_error=True)
    life = ended(app)
    heart.kill()
    gaps = [later - earlier for earlier, later in itertools.pairwise(beats)]
    tell(lives=[{"answers": [value for job in jobs for value in job.value], **life}], longest_gap_s=max(gaps))


def unattended(hub: str, key: str, state: str, count: int) -> None:
    """Ends without a word, while daemon threads still tell: what they told and is not on disk is counted nowhere."""
    app = touchpoint(hub, key, state)
    visit(app, "main", count, 2.0)

    def forever() -> None:
        while True:
            visit(app, "daemon", 1)

    for _ in range(4):
        threading.Thread(target=forever, daemon=True).start()
    time.sleep(0.2)  # so that they are at it when the interpreter ends
    tell(lives=[])


def state_gone(hub: str, key: str, state: str, count: int) -> None:
    """Somebody cleans up the state folder under a living host."""
    app = touchpoint(hub, key, state)
    visit(app, "before", count, 2.0)
    assert app.flush(10)
    shutil.rmtree(state)
    answers = visit(app, "after", count, 2.0)
    tell(lives=[{"answers": answers, **ended(app)}])


def few_descriptors(hub: str, key: str, state: str, count: int) -> None:
    """No descriptor is left, at first; then there is room again."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (8, hard))
    taken: list[int] = []
    try:
        while True:
            taken.append(os.dup(0))
    except OSError:
        resource.setrlimit(resource.RLIMIT_NOFILE, (len(taken) + 4, hard))
    app = touchpoint(hub, key, state)
    answers = visit(app, "poor", count)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    for descriptor in taken:
        os.close(descriptor)
    answers += visit(app, "rich", count, 2.0)
    tell(lives=[{"answers": answers, **ended(app, 40.0)}])


def few_threads(hub: str, key: str, state: str, count: int, room: int = 4) -> None:
    """There is room for so many megabytes of stacks, at first: for no thread, or for ours and not for gRPC's.

    gRPC that can begin no thread ends the process.
    """
    load(WIRE)  # what is imported later needs memory too
    load(CONNECTION)
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    app = touchpoint(hub, key, state)
    taken = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    resource.setrlimit(resource.RLIMIT_AS, (taken + room * 1_000_000, hard))
    answers = visit(app, "poor", count)
    eventually(lambda: app.status()["trouble"] or app.status()["last_error"])
    trouble = f"{app.status()['trouble']} {app.status()['last_error']}"
    resource.setrlimit(resource.RLIMIT_AS, (soft, hard))

    def tried_again() -> bool:
        app.session(account="rich", wait=0).close()
        return not app.status()["trouble"]

    eventually(tried_again)
    answers += visit(app, "rich", count, 2.0)
    tell(lives=[{"answers": answers, **ended(app, 40.0), "trouble": trouble}])


def few_threads_for_good(hub: str, key: str, state: str, count: int) -> None:
    """There is never room for a thread: what was told goes to the disk when the host closes, for the next process."""
    load(WIRE)
    app = touchpoint(hub, key, state)
    taken = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    resource.setrlimit(resource.RLIMIT_AS, (taken + 4_000_000, resource.getrlimit(resource.RLIMIT_AS)[1]))
    answers, outbox = visit(app, "poor", count), app.runtime().outbox
    trouble = app.status()["trouble"]
    app.close()
    counts = {"offered": outbox.offered, "delivered": 0, "waiting": outbox.waiting, "losses": outbox.losses}
    tell(lives=[{"answers": answers, **counts, "trouble": trouble}])


def plain(hub: str, key: str, state: str, count: int) -> None:
    """As a script does it; what is hostile is around it."""
    app = touchpoint(hub, key, state)
    answers = visit(app, "plain", count, 2.0)
    tell(lives=[{"answers": answers, **ended(app, 5.0)}])


KINDS: dict[str, Callable[[str, str, str, int], None]] = {
    "spawn": lambda *about: pool("spawn", *about),
    "forkserver": lambda *about: pool("forkserver", *about),
    "fork": lambda *about: pool("fork", *about),
    "daemonized": daemonized, "daemonized_late": daemonized_late, "threads": threads, "own_loop": own_loop,
    "greenlets": greenlets, "plain": plain, "unattended": unattended, "state_gone": state_gone,
    "few_descriptors": few_descriptors, "few_threads": few_threads, "few_threads_for_good": few_threads_for_good,
    "few_threads_of_grpc": lambda *about: few_threads(*about, room=100),
}  # fmt: skip

if __name__ == "__main__":
    kind, address, secret, place, times = sys.argv[1:]
    if kind == "greenlets":
        from gevent import monkey

        monkey.patch_all()
    Path("/proc/self/comm").write_text(f"segue-{kind}"[:15])
    KINDS[kind](address, secret, place, int(times))
