"""A world: machines, wires and actors on one virtual loop, what goes wrong with them, and how it ends.

Owns `World` and `simulate`. Everything that is decided is drawn from the seed; the trace says what happened, and its
digest tells two histories apart.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import random
import shutil
import tempfile
import traceback
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segue.domain.identifier import parse_identifier
from segue.domain.projection import view_of
from segue.sync import READY

from tests.simulation.actors import PEOPLE, Rival, Watcher, act_as_host
from tests.simulation.disk import BROKEN, CRASH_AFTER, CRASH_BEFORE, Disk
from tests.simulation.invariants import Invariants
from tests.simulation.loop import OUTSIDE, Process, StandsStill, VirtualLoop
from tests.simulation.machines import HubMachine, SdkMachine
from tests.simulation.plans import documents

CHAOS = 15.0
"""Seconds in which things go wrong."""
SETTLES = 90.0
"""Seconds in which all has to be quiet after that."""
_SHM = Path("/dev/shm")  # memory, where the machine has it: fsync costs nothing there


@dataclass
class Report:
    """How one history went.

    Attributes:
        digest: of the trace.
        wrong: the anomalies; none where it held.
        counts: what happened how often.
        trace: what happened.
    """

    seed: int
    digest: str
    wrong: list[str]
    counts: dict[str, int]
    trace: list[str]


class World:
    """One simulation.

    Args:
        seed: decides everything.
        disk: what the hub's store is made of.
        watcher: who watches.
    """

    def __init__(
        self, seed: int, folder: Path, disk: type[Disk] = Disk, watcher: type[Watcher] = Watcher
    ) -> None:  # fmt: skip
        self.seed = seed
        self.chance = random.Random(seed)
        self.loop = VirtualLoop(self.chance)
        self.folder = folder
        self.calm = True
        self.lossy = self.chance.choice([0.0, 0.005, 0.03])
        self.heads = self.chance.choice([2, 1000])
        self.winding_down = False
        self.trace: list[str] = []
        self.processes: list[Process] = []
        self.authored: dict[str, set[bytes]] = defaultdict(set)
        self.invariants = Invariants(self)
        self.disk = disk(f"{seed:032x}")
        self.disk.fault = self._fault_at_commit
        self._next_commit = ""
        self._at_rest_since = 0.0
        self.hub = HubMachine(self, self.disk)
        self.sdks: list[SdkMachine] = []
        self.rivals: list[Rival] = []
        self._watcher = watcher
        self.watcher: Watcher

    def note(self, who: str, what: str) -> None:
        """One line of the trace."""
        self.trace.append(f"{self.loop.time():10.4f} {who:8} {what}")

    def fact_id(self) -> bytes:
        """A UUIDv7 of chance and the time."""
        head = (self.hub.clock.now() // 1000).to_bytes(6, "big")
        tail = bytearray(self.chance.randbytes(10))
        tail[0], tail[2] = 0x70 | tail[0] & 0x0F, 0x80 | tail[2] & 0x3F
        return head + bytes(tail)

    def answered(self, wire: Any, path: str, request: Any, answer: Any) -> None:
        """A client got an answer."""
        self.invariants.answered(path, request, answer)
        if path.endswith("/PublishEvents"):
            self.authored[wire.name] |= {fact.id for fact in request.facts}
            told = ",".join(f"{f.id.hex()[:14]}:{r.status}" for f, r in zip(request.facts, answer.results, strict=True))
            self.note(wire.name, f"is answered {told}")

    # -- the story -----------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """The whole of it."""
        self.hub.start()
        await self._as_hub(lambda hub: hub.plans.push(documents()[0], {}, "simulation", ""))
        keys = {name: await self._as_hub(lambda hub, name=name: hub.touchpoints.issue(name)) for name in
                ("web", "ivr", "crm")}  # fmt: skip
        self.watcher = self._watcher(self, keys["crm"])
        self.rivals = [Rival(self, f"rival{number}", keys["crm"]) for number in (1, 2)]
        self.sdks = [SdkMachine(self, name, self.folder / name, keys[name], 100_000) for name in ("web", "ivr")]
        for actor in (*self.sdks, self.watcher, *self.rivals):
            actor.start()
        self.calm = False
        hosts = [self.loop.create_task(self._hosts(machine)) for machine in self.sdks]
        ends = self.loop.time() + CHAOS
        while self.loop.time() < ends:
            await asyncio.sleep(self.chance.uniform(0.1, 2.5))
            self._something_goes_wrong()
        for host in hosts:
            host.cancel()
        await asyncio.gather(*hosts, return_exceptions=True)
        await self._heals()
        self.invariants.quiet()

    async def _as_hub(self, act: Callable[[Any], Any]) -> Any:
        """Something that the hub's own process does, waited for."""
        assert self.hub.process is not None
        return await self.hub.process.start(act(self.hub.hub))

    async def _hosts(self, machine: SdkMachine) -> None:
        while True:
            await asyncio.sleep(self.chance.expovariate(2.5))
            assert machine.process is not None
            if machine.process.alive:
                self.note(machine.name, machine.process.run(act_as_host, machine, self.chance))

    def _fault_at_commit(self) -> str:
        """What goes wrong with the commit that is under way."""
        fault, self._next_commit = self._next_commit, ""
        if fault in (CRASH_BEFORE, CRASH_AFTER):
            assert self.hub.process is not None
            process = self.hub.process
            # The block goes on to its end, in a process that nobody hears of any more.
            self.loop.call_soon(lambda: self.hub_down(fault, process), context=OUTSIDE.copy())
        return fault

    def hub_down(self, why: str, process: Process | None = None) -> None:
        """The hub crashes, unless it has; everything that was connected breaks; it starts again after a while."""
        if self.hub.process is None or not self.hub.process.alive or process not in (None, self.hub.process):
            return
        self.hub.crash(why)
        for wire in self.wires:
            wire.breaks("the hub is gone")
        self.loop.outside(self.chance.uniform(0.1, 4.0), self._hub_up)

    def _hub_up(self) -> None:
        if self.hub.process is not None and not self.hub.process.alive:
            self.hub.start()
            self.invariants.survived()

    @property
    def wires(self) -> list[Any]:
        """All ways to the hub."""
        return [actor.wire for actor in (*self.sdks, self.watcher, *self.rivals)]

    def _something_goes_wrong(self) -> None:
        chance = self.chance
        machine = chance.choice(self.sdks)
        wire = chance.choice(self.wires)
        seconds = chance.uniform(0.2, 5.0)
        what = chance.choice([
            "hub crash", "commit", "commit", "hub disk", "store breaks", "sdk crash", "sdk crash", "sdk disk", "cut",
            "cut", "dark", "hub clock", "sdk clock", "plan", "plan", "nothing",
        ])  # fmt: skip
        self.invariants.counts[what] += 1
        self.note("fault", what)
        if what == "hub crash":
            self.hub_down(what)
        elif what == "commit":
            self._next_commit = chance.choice([CRASH_BEFORE, CRASH_AFTER])
        elif what == "store breaks":
            self._next_commit = BROKEN
        elif what == "hub disk":
            self.disk.full = True
            self.loop.outside(seconds, lambda: setattr(self.disk, "full", False))
        elif what == "sdk crash" and machine.process is not None and machine.process.alive:
            machine.crash()
            machine.wire.breaks("the process is gone")
            self.loop.outside(seconds, machine.start)
        elif what == "sdk disk":
            machine.disk_full(True)
            self.loop.outside(seconds, machine.disk_full, False)
        elif what == "cut":
            wire.cuts(seconds)
        elif what == "dark":
            wire.dark_until = self.loop.time() + seconds * 3
        elif what == "hub clock":
            self.hub.clock.set_by += int(chance.uniform(-20, 5) * 1_000_000)
        elif what == "sdk clock":
            machine.clock.set_by += int(chance.uniform(-20, 20) * 1_000_000)
        elif what == "plan" and self.hub.process is not None and self.hub.process.alive:
            document = chance.choice(documents())
            self.hub.process.start(self._push(document))

    async def _push(self, document: Any) -> None:
        try:
            assert self.hub.hub is not None
            await self.hub.hub.plans.push(document, {}, "simulation", "")
        except Exception as error:  # noqa: BLE001  # a full disk: the plan stays as it was
            self.note("fault", f"no plan: {type(error).__name__}")

    async def _heals(self) -> None:
        """Nothing goes wrong any more: all that waited arrives, and everybody hears of it."""
        self.calm, self.winding_down = True, True
        self._next_commit = ""
        self.disk.full = False
        await asyncio.sleep(7.0)  # whoever crashed has started again
        for machine in self.sdks:
            machine.disk_full(False)
        for wire in self.wires:
            wire.dark_until = wire.cut_until = 0.0
        self.note("world", "is calm")
        self._at_rest_since = self.loop.time()
        until = self.loop.time() + SETTLES
        while self.loop.time() < until and not self._settled():  # noqa: ASYNC110  # looked at, in virtual time
            await asyncio.sleep(0.5)
        self.note("world", f"is quiet at {self.disk.head()[0]}")

    def _settled(self) -> bool:
        for machine in self.sdks:
            outbox = machine.runtime.outbox if machine.runtime is not None else None
            busy = outbox is None or outbox.waiting or outbox.unjournalled or outbox.untold
            if busy or (machine.runtime is not None and machine.runtime.machine.state != READY):
                self._at_rest_since = self.loop.time()
        # A whole stream of the watcher, two bookmarks long, in which nothing happens any more.
        return self.loop.time() - max(self._at_rest_since, self.watcher.connected) > 21.0

    # -- what the hub says ---------------------------------------------------------------------------------------------

    def truth(self) -> dict[int, tuple[int, str, str]]:
        """What a cold read gives of everybody, by the watcher's numbers."""
        hub = self.hub.hub
        assert hub is not None
        view = view_of(hub.plans.current, hub.plans.current.grant("crm"), "service")
        found = {}
        for number, name in enumerate(PEOPLE, 1):
            known = hub.contexts.find(parse_identifier(name))
            found[number] = (0, "", "") if known is None else (
                hub.contexts.version(hub.contexts.read(known.customer)), view, self.opaque(known.customer)
            )  # fmt: skip
        return found

    def opaque(self, customer: int) -> str:
        """A customer's name as clients know it."""
        return hashlib.sha256(f"{self.disk.incarnation}:{customer}".encode()).hexdigest()[:16]

    async def bury(self) -> None:
        """Clears everything away."""
        for machine in self.sdks:
            if machine.runtime is not None and machine.process is not None and machine.process.alive:
                machine.process.alive = False
        for process in self.processes:
            process.crash()
        for process in self.processes:
            await process.bury()
        for machine in self.sdks:
            if machine.runtime is not None:
                machine.runtime.outbox.close()
                machine.runtime.persistence.close()


def simulate(seed: int, kind: type[World] = World, **parts: Any) -> Report:
    """One history, from its seed."""
    before, level = random.getstate(), logging.getLogger("segue").level
    random.seed(seed)  # jitter, and when sessions end: they ask the module
    logging.getLogger("segue").setLevel(logging.CRITICAL)
    folder = Path(tempfile.mkdtemp(prefix="segue-simulation-", dir=_SHM if _SHM.is_dir() else None))
    world = kind(seed, folder, **parts)
    try:
        try:
            world.loop.run_until_complete(world.run())
        except (StandsStill, Exception) as error:  # noqa: BLE001  # whatever it is, it is this seed's, and is told
            where = traceback.extract_tb(error.__traceback__)[-1]
            world.invariants.say(f"{type(error).__name__}: {error} ({Path(where.filename).name}:{where.lineno})")
        digest = hashlib.sha256("\n".join(world.trace).encode()).hexdigest()[:16]
        report = Report(seed, digest, world.invariants.wrong, dict(world.invariants.counts), list(world.trace))
        world.loop.run_until_complete(world.bury())
        return report
    finally:
        world.loop.close()
        random.setstate(before)
        logging.getLogger("segue").setLevel(level)
        shutil.rmtree(folder, ignore_errors=True)
