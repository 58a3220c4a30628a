"""One run: a hub, its clients, what they do and what strikes them; then all is quiet, and the outcome is taken.

Owns `run`, and that nothing outlives it.
"""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import threading
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import segue

from tests.calling import calling, event
from tests.faults.histories import plans
from tests.faults.histories.administrator import Administrator
from tests.faults.histories.asker import Asker
from tests.faults.histories.checks import READ
from tests.faults.histories.client import Client
from tests.faults.histories.history import History
from tests.faults.histories.host import Host
from tests.faults.histories.outcome import Heard, Outcome
from tests.faults.histories.reader import Reader
from tests.faults.histories.teller import Teller
from tests.faults.histories.trouble import Trouble
from tests.faults.watcher import Watcher
from tests.faults.wire_cutter import wire_cutter
from tests.serving import Serving, environment
from tests.waiting import eventually

STRIKES = 8
CALM = 300
"""Operations of a history without faults."""
TOUCHPOINTS = ("teller", "host", "asker", "reader", "desk", "eye")


def hub_at(folder: Path, how: str = "whole") -> Serving:
    """The hub of a history."""
    hub = Serving(folder)
    hub.command = [sys.executable, "-m", "tests.faults.histories.hub", how]
    return hub


def run(folder: Path, seed: int, how: str = "whole", strikes: int = STRIKES) -> tuple[Outcome, list[str]]:
    """Makes one history.

    Args:
        folder: of its own.
        seed: says what happens.
        how: the hub is.
        strikes: how many faults; without any there are no hosts either, and the history is short.

    Returns:
        The outcome, and what `segue-hub store check` says that is wrong.
    """
    with ExitStack() as stack:
        outcome = _run(folder, seed, how, strikes, stack)
    return outcome, checked(outcome.store)


def checked(store: Path) -> list[str]:
    """What `segue-hub store check` says that is wrong."""
    done = subprocess.run(
        [sys.executable, "-m", "segue_hub", "store", "check", str(store)], capture_output=True, env=environment(),
        check=False, text=True,
    )  # fmt: skip
    return [] if done.returncode == 0 and "sound" in done.stdout else [f"store check: {done.stdout}{done.stderr}"]


def _run(folder: Path, seed: int, how: str, strikes: int, stack: ExitStack) -> Outcome:
    chance = random.Random(seed)
    made = plans.write(folder)
    hub = hub_at(folder, how)
    cutter = stack.enter_context(wire_cutter(hub.port))
    history = History(folder / "history.jsonl")
    stack.callback(history.close)
    ways = [hub.address, f"127.0.0.1:{cutter.port}"]
    hosts: list[Host] = []
    trouble = Trouble(hub, cutter, hosts, random.Random(chance.random()))
    stack.callback(_stopped, hub)
    trouble.start(usual=True)
    digests = []
    for plan in (made[1], made[2], made[0]):
        hub.push(plan)
        with hub.admin() as admin:
            digests.append(json.loads(_status(admin))["plan"]["digest"])
    keys = {name: hub.key(name) for name in TOUCHPOINTS}
    admin_key = hub.admin_key
    with calling(hub.address, keys["teller"]) as caller:
        first = [
            event("noted", name, channel="web", number=0) for name in [*plans.LISTS, *plans.PEOPLE, *plans.HOLDERS]
        ]
        assert set(caller.statuses(*first)) == {"ACCEPTED"}
    hosts += _hosts(folder, ways, keys, seed) if strikes else []
    for host in hosts:
        stack.callback(_gone, host)
        host.start()
    heard: list[Heard] = []
    desk = segue.Touchpoint("desk", hub=ways[1], key=keys["desk"], state=folder / "desk")
    stack.callback(desk.close)
    desk.watch("waiting", lambda tellings: heard.extend(map(_heard, tellings)), cursor="living")
    watchers = [Watcher(way, keys["eye"], [*plans.LISTS, *plans.PEOPLE]) for way in ways]
    stack.callback(lambda: [watcher.abandon() for watcher in watchers])

    def more(number: int = 0) -> dict[str, Any]:
        return {"history": history, "chance": random.Random(chance.random()), "address": ways[number % 2]}

    tellers = [Teller(f"teller{n}", key=lambda: keys["teller"], errands=n == 0, **more(n)) for n in range(3)]
    administrator = Administrator("administrator", key=lambda: admin_key, plans=made, keys=keys, pace=0.4, **more())
    clients: list[Client] = [
        *tellers, administrator, *(Reader(f"reader{n}", key=lambda: keys["reader"], **more(n)) for n in range(2)),
        *(Asker(f"asker{n}", key=lambda: keys["asker"], **more(n)) for n in range(2)),
    ]  # fmt: skip
    stack.callback(lambda: [client.stopping.set() for client in clients])
    eventually(lambda: all(host.ready for host in hosts), 60)
    for thread in [*watchers, *clients]:
        thread.start()
    quiet = threading.Event()
    for _ in range(strikes):
        quiet.wait(chance.uniform(0.1, 0.7))  # the instant of the next fault: chance, no wait for anything
        for watcher in watchers:
            watcher.key = keys["eye"]
        trouble.strike()
    if strikes:
        quiet.wait(chance.uniform(0.1, 0.7))
        trouble.kill()
        trouble.start(usual=True)
    else:
        eventually(lambda: history.counts()["ok"] >= CALM and len(tellers[0].deadlines) > 10, 60)
    for client in [administrator, *(c for c in clients if c is not administrator)]:
        client.end()
    for watcher in watchers:
        watcher.key = keys["eye"]
    outcome = Outcome(history, trouble, hub.store, tellers, administrator.said, watchers=watchers, narrow=digests[0])
    outcome.administered |= {fact.id: fact for fact in first}
    for host in hosts:
        if host.kind == "host":
            host.end()
    _await_errands(outcome, heard, hosts)
    _quiet(outcome, hub, keys, watchers)
    desk.close()
    for host in hosts:
        if host.kind == "desk":
            host.end()
    assert hub.stop() == 0
    trouble.lives[-1][1] = time.time_ns() // 1000
    outcome.hosts = [host.lines() for host in hosts if host.kind == "host"]
    outcome.listeners = {"living": heard, "host": _heard_by(hosts)} if hosts else {"living": heard}
    return outcome


def _hosts(folder: Path, ways: list[str], keys: dict[str, str], seed: int) -> list[Host]:
    kinds = ("host", "host", "desk")
    return [Host(kind, ways[n % 2], keys[kind], folder / f"host{n}", seed + n) for n, kind in enumerate(kinds)]


def _status(admin: Any) -> bytes:
    from segue.v1 import admin_service_pb2

    return bytes(admin.admin.GetStatus(admin_service_pb2.GetStatusRequest(), metadata=admin.metadata).document)


def _heard(telling: segue.Telling) -> Heard:
    at = int(telling.at.timestamp() * 1_000_000 + 0.5)
    name = telling.identifiers[0].value if telling.identifiers else ""
    return Heard(telling.id, name, telling.left, at, time.time_ns() // 1000, 1)


def _heard_by(hosts: list[Host]) -> list[Heard]:
    return [
        Heard(line["heard"], line["name"], line["left"], line["at"], line["wall"], line["life"])
        for host in hosts if host.kind == "desk" for line in host.lines() if "heard" in line
    ]  # fmt: skip


def _await_errands(outcome: Outcome, heard: list[Heard], hosts: list[Host]) -> None:
    """Until everybody heard of everything, or had time enough: the checks say what is missing."""
    log, _ = outcome.log()
    there = {fact.id for _, fact in log}
    wanted = {name for name, (id_, _) in outcome.deadlines.items() if id_ in there}

    def level() -> bool:
        all_heard = [list(heard), *([_heard_by(hosts)] if hosts else [])]
        return all(wanted <= {one.name for one in each} for each in all_heard)

    with suppress(AssertionError):
        eventually(level, 25)


def _quiet(outcome: Outcome, hub: Serving, keys: dict[str, str], watchers: list[Watcher]) -> None:
    """What is true once nothing happens any more, told to all who watch."""
    eventually(lambda: hub.status()["sweep"]["state"] == "idle", 30)
    with calling(hub.address, keys["eye"]) as reader:
        names = [*plans.LISTS, *plans.PEOPLE]
        found = [reader.context(name) for name in names]
        outcome.truth = {n: (c.version, c.view, c.customer) for n, c in enumerate(found, 1)}
    with calling(hub.address, keys["reader"]) as reader:
        for name in READ:
            context = reader.context(name)
            sections = {section.name: json.loads(section.data) for section in context.sections}
            outcome.final[name] = {"version": context.version, "facts": sections["envelope"][2]}
    for watcher in watchers:
        with suppress(AssertionError):  # the checks say what is wrong
            watcher.finish(outcome.truth)


def _stopped(hub: Serving) -> None:
    if hub.process is not None and hub.process.poll() is None:
        hub.process.send_signal(signal.SIGCONT)
        hub.process.kill()
        hub.process.wait(10)


def _gone(host: Host) -> None:
    if host.process is not None and host.process.poll() is None:
        host.signal(signal.SIGCONT)
        host.kill()
