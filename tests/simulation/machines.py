"""The machines: a hub and touchpoints, each with clocks of its own, that start, crash and start again.

Owns `Clock`, `HubMachine` and `SdkMachine`. The hub is `segue_hub.app.Hub` with its services, gate and handlers; a
touchpoint is `segue.Touchpoint` with its sessions, runtime, outbox and session machine. Only what their threads do in a
loop is done here by tasks, round by round.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import segue
from segue.clock import System
from segue.config import Config
from segue.runtime import Runtime
from segue.transport import StreamBroken
from segue_hub.app import Hub
from segue_hub.clock import SystemClock
from segue_hub.server.gate import Gate
from segue_hub.settings import Settings

from tests.building import BEGIN
from tests.simulation.loop import Process
from tests.simulation.network import Server, VirtualTransport, Wire


class Clock:
    """A machine's clocks: one that can be set and drifts, one that drifts only."""

    def __init__(self, world: Any, drift: float = 0.0) -> None:
        self._loop = world.loop
        self.rate = 1.0 + drift
        self.set_by = 0

    def ticks(self) -> float:
        """Seconds, rising."""
        return float(self._loop.time() * self.rate)

    def now(self) -> int:
        """Microseconds since 1970, as the machine believes."""
        return BEGIN + int(self.ticks() * 1_000_000) + self.set_by


class HubMachine:
    """The hub's machine. Its disk outlives the process.

    Attributes:
        latest: what a hub's clock has shown at most; one that starts after its machine was set back shows less.
    """

    def __init__(self, world: Any, disk: Any) -> None:
        self.world = world
        self.disk = disk
        self.clock = Clock(world, world.chance.uniform(-1e-4, 1e-4))
        self.process: Process | None = None
        self.hub: Hub | None = None
        self._gate: Gate | None = None
        self._server = Server()
        self.starts = self.latest = 0

    def start(self) -> None:
        """Starts the process."""
        self.starts += 1
        self.process = Process(self.world.loop, f"hub {self.starts}")
        self.world.processes.append(self.process)
        self.process.run(self._begin)
        self.world.note("hub", f"starts at position {self.disk.head()[0]}")

    def _begin(self) -> None:
        system = SystemClock(lambda: self.clock.now() * 1000, lambda: int(self.clock.ticks() * 1e9))

        def clock() -> int:
            now = system()
            self.latest = max(self.latest, now)
            return now

        settings = Settings(store=None, port=0, http_port=None, insecure=True, heads=self.world.heads)
        self.hub = Hub(settings, clock, self.disk)
        self._gate, self._server = Gate(self.hub.touchpoints), Server()
        self.hub.begin(self._server, self._gate)
        assert self.process is not None
        self.process.start(self._broken(self.hub))

    async def _broken(self, hub: Hub) -> None:
        if await hub.wait():
            self.world.loop.outside(0.0, self.world.hub_down, "the store broke")

    def crash(self, why: str) -> None:
        """Ends at once."""
        assert self.process is not None
        self.process.crash()
        self.disk.crashed()
        self.world.note("hub", f"crashes: {why}")

    async def handler(self, path: str, metadata: Any) -> Any:
        """What answers a call, if the gate lets it in."""

        async def found(_: Any) -> Any:
            return self._server.methods[path]

        assert self._gate is not None
        details = SimpleNamespace(method=path, invocation_metadata=metadata)
        return await self._gate.intercept_service(found, details)  # type: ignore[arg-type]


class SdkMachine:
    """A touchpoint's machine. Its folder outlives the process.

    Attributes:
        told: facts that the host told this process.
        adopted: facts of dead processes that wait in the folder.
        kept: ids that were in the journal when a process ended.
    """

    def __init__(self, world: Any, name: str, folder: Path, key: str, rows: int) -> None:
        self.world = world
        self.name = name
        self.clock = Clock(world, world.chance.uniform(-2e-4, 2e-4))
        self.wire = Wire(world, name)
        self._config = Config(touchpoint=name, hub="hub:1", key=key, state=folder, outbox_rows=rows)
        self.process: Process | None = None
        self.touchpoint: segue.Touchpoint | None = None
        self.runtime: Runtime | None = None
        self.sessions: dict[str, Any] = {}
        self._wake: asyncio.Event | None = None
        self.told = self.expected = 0
        self.adoptable = 0
        self.kept: set[bytes] = set()
        self.starts = 0

    def start(self) -> None:
        """Starts the process."""
        self.starts += 1
        self.process = self.wire.process = Process(self.world.loop, f"{self.name} {self.starts}")
        self.world.processes.append(self.process)
        self.process.run(self._begin)
        self.world.note(self.name, "starts")

    def _begin(self) -> None:
        assert self.process is not None
        system = System(self.clock.now, self.clock.ticks, self.world.chance.randbytes)
        runtime = Runtime(self._config, system, lambda config: VirtualTransport(config, self.wire))
        self.runtime, self._wake = runtime, asyncio.Event()
        self.touchpoint = segue.Touchpoint(self.name, hub="hub:1", key=self._config.key, state=self._config.state)
        self.touchpoint.use(runtime)
        self.touchpoint.listeners.append(self._tells)
        self.sessions = {}
        self.told, self.expected = 0, self.adoptable
        self.adoptable = 0
        runtime.outbox.open()
        runtime.need()
        self.process.start(self._work())
        self.process.start(self._stream())

    def _tells(self, fact: Any) -> None:
        self.told += 1
        self.expected += 1
        self.wake()

    def wake(self) -> None:
        """There is something to do."""
        if self._wake is not None:
            self._wake.set()

    async def _work(self) -> None:
        """What the worker's thread does."""
        runtime, wake = self.runtime, self._wake
        assert runtime is not None
        assert wake is not None
        while True:
            waiting = runtime.outbox.waiting or runtime.outbox.unjournalled
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(wake.wait(), 0.25 if waiting else 1.0)
            wake.clear()
            runtime.work()
            self.world.invariants.balanced(self)
            await asyncio.sleep(self.world.chance.uniform(0.0001, 0.002))  # its disk takes a while

    async def _stream(self) -> None:
        """What the stream's thread does."""
        runtime = self.runtime
        assert runtime is not None
        while True:
            began = self.clock.ticks()
            answered = await self._converse(runtime)
            goodbye = runtime.machine.goodbye_ms / 1000
            await asyncio.sleep(runtime.pause(self.clock.ticks() - began, answered, goodbye))

    async def _converse(self, runtime: Runtime) -> bool:
        call: Any = runtime.transport().open_sync()
        answered = False
        runtime.begin(call)
        try:
            while True:
                heard = await call.inbox.get()
                if heard is None or isinstance(heard, StreamBroken):
                    return answered
                answered = True
                goes_on = runtime.hear(heard)
                self.world.invariants.heard(self, heard)
                self.wake()
                if not goes_on:
                    return answered
        finally:
            runtime.hang_up(call)

    def session(self, who: str) -> Any:
        """The session with a customer, opened where there is none."""
        assert self.touchpoint is not None
        if who not in self.sessions:
            kind, _, value = who.partition("=")
            self.sessions[who] = self.touchpoint.session(wait=0, keep="5s", **{kind: value})
        return self.sessions[who]

    def crash(self) -> None:
        """Ends at once: what was not in the journal is gone."""
        assert self.process is not None
        assert self.runtime is not None
        self.process.crash()
        outbox = self.runtime.outbox
        journal, lock = outbox._journal, outbox._file.lock
        self.kept |= self.journalled()
        self.adoptable += sum((+journal.waiting).values()) if journal is not None else 0
        if journal is not None:
            journal._run.close()  # an open transaction is rolled back, as by whoever finds the file
        if lock is not None:
            lock.close()
        self.runtime.persistence.close()
        self.world.note(self.name, f"crashes with {outbox.unjournalled} unjournalled")

    def journalled(self) -> set[bytes]:
        """Ids of facts that are in the journal now: waiting, delivered or refused."""
        journal = self.runtime.outbox._journal if self.runtime is not None else None
        if journal is None:
            return set()
        run = journal._run
        return {id_ for (id_,) in [*run.execute("SELECT id FROM facts"), *run.execute("SELECT id FROM dead")]}

    def refused(self) -> set[bytes]:
        """Ids of facts that the hub will never take."""
        return {id_ for id_, _, _ in self.runtime.outbox.dead()} if self.runtime is not None else set()

    def disk_full(self, full: bool) -> None:
        """There is no space for another page, or there is again."""
        journal = self.runtime.outbox._journal if self.runtime is not None else None
        if journal is not None:
            with contextlib.suppress(sqlite3.Error):
                journal._run.execute(f"PRAGMA max_page_count = {1 if full else 1_000_000}")
