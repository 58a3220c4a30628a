"""Who acts in a simulation: hosts that tell things, a watcher of raw streams, rivals for a strict cap.

Owns what they do and remember; not what is wrong with it (`invariants`). Each draws on the world's chance alone.
"""

from __future__ import annotations

import asyncio
import math
from dataclasses import dataclass, field
from typing import Any

from segue.domain.identifier import parse_identifier
from segue.transport import StreamBroken
from segue.v1 import fact_pb2, reservation_service_pb2, reservation_service_pb2_grpc, sync_pb2
from segue.wire import identifier_to_wire

from tests.simulation.loop import Process
from tests.simulation.network import CallFailed, Channel, StreamCall, Wire, asked
from tests.watch_checks import History

PEOPLE = [f"{kind}={kind[0]}{number}" for kind in ("account", "email", "cookie") for number in range(3)]


def act_as_host(machine: Any, chance: Any) -> str:
    """One thing that happens to a host; returns what."""
    who = chance.choice(PEOPLE)
    session = machine.session(who)
    dice, number = chance.random(), f"T{chance.randrange(3)}"
    if dice < 0.25:
        session.track("transfer.started", number=number)
        return f"{who} starts {number}"
    if dice < 0.35:
        session.track("transfer.details", number=number)
        return f"{who} goes on with {number}"
    if dice < 0.45:
        session.track("transfer.completed", number=number)
        return f"{who} completes {number}"
    if dice < 0.62:
        session.track("help.searched")
        return f"{who} searches"
    if dice < 0.72:
        session.set_trait("tier", chance.choice(["low", "high"]))
        return f"{who} has a tier"
    other = chance.choice([name for name in PEOPLE if name != who])
    if dice < 0.86:
        machine.touchpoint.link(who, other)
        return f"{who} is {other}"
    if dice < 0.94:
        machine.touchpoint.retract(who, other)
        return f"{who} never was {other}"
    if dice < 0.96:
        machine.touchpoint.separate(who, other)
        return f"{who} is never {other}"
    session.close()
    machine.sessions.pop(who)
    return f"{who} leaves"


class Watcher:
    """Watches everybody on raw streams, and an audience by a cursor, and comes back with what it held.

    Attributes:
        histories: of all its streams, the last one the open one.
        connected: since when (seconds) a hub answers on the open stream; never while none does.
        tellings: what the cursor told, by number: (customer, left, at), and when it was heard first by the hub's clock.
    """

    def __init__(self, world: Any, key: str) -> None:
        self.world = world
        self.wire = Wire(world, "watcher")
        self.process = self.wire.process = Process(world.loop, "watcher")
        world.processes.append(self.process)
        self._metadata = (("authorization", f"Bearer {key}"),)
        self.histories: list[History] = []
        self.held: dict[int, tuple[int, str, str]] = {}
        self.tellings: dict[int, tuple[str, bool, int]] = {}
        self.heard_at: dict[int, int] = {}
        self.again: list[str] = []
        self._incarnation = ""
        self._heard = 0
        self.connected = math.inf

    def start(self) -> None:
        self.process.start(self._run())

    async def _run(self) -> None:
        while True:
            await self._watch()
            await asyncio.sleep(self.world.chance.uniform(0.05, 1.0))

    def take(self, history: History, message: sync_pb2.SyncResponse) -> None:
        """Remembers one message; the negative control forgets some."""
        history.messages.append(message)

    async def _watch(self) -> None:
        call = StreamCall(self.wire, self._metadata)
        history, seq = History(), 0
        self.histories.append(history)
        self.connected = math.inf

        def say(**body: Any) -> None:
            nonlocal seq
            seq += 1
            call.send(sync_pb2.SyncRequest(seq=seq, **body))

        say(hello=sync_pb2.Hello(instance="watcher", sdk="simulation", incarnation=self._incarnation))
        for number, name in enumerate(PEOPLE, 1):
            identifier = history.identifiers[number] = parse_identifier(name)
            held = self.held.get(number, (0, "", ""))
            if held[0]:
                history.held[number] = held
            say(subscribe=sync_pb2.Subscribe(
                subscription=number, identifier=identifier_to_wire(identifier), purpose="service", version=held[0],
                view=held[1], customer=held[2],
            ))  # fmt: skip
        say(watch_audience=sync_pb2.WatchAudience(
            subscription=100, audience="stuck", purpose="service", cursor="export", heard=self._heard
        ))  # fmt: skip
        last = told = self.world.loop.time()
        while True:
            try:
                message = await asyncio.wait_for(call.inbox.get(), 35.0)
            except TimeoutError:
                break
            if message is None or isinstance(message, StreamBroken):
                break
            if message.seq != len(history.messages) + self.skipped(history) + 1:
                self.world.note("watcher", "finds a hole")
                break
            self.take(history, message)
            last = self.world.loop.time()
            if last - told > 5.0:  # as an SDK does: a message that never came shows with the next
                told = last
                say(status=sync_pb2.ClientStatus())
            kind = message.WhichOneof("body")
            if kind == "welcome":
                self._incarnation = message.welcome.incarnation
                self.connected = self.world.loop.time()
            elif kind == "audience" and message.audience.through:
                self._hear(message.audience)
                self._heard = message.audience.through
                say(audience_heard=sync_pb2.AudienceHeard(subscription=100, through=self._heard))
            elif kind == "context":
                number = message.context.subscription
                self.held[number] = history.last(number)
            elif kind == "goodbye":
                break
        call.end()
        self.world.note("watcher", f"heard {len(history.messages)} messages until {last:.3f}")

    def skipped(self, history: History) -> int:
        """How many messages the negative control forgot."""
        return 0

    def _hear(self, told: sync_pb2.AudienceChange) -> None:
        for member in told.members:
            telling = (member.customer, member.left, member.at)
            before = self.tellings.setdefault(member.number, telling)
            if before != telling:
                self.again.append(f"telling {member.number} was {before} and is {telling}")
            self.heard_at.setdefault(member.number, self.world.hub.latest)


class SkippingWatcher(Watcher):
    """A negative control: some of the contexts that it is told it never takes in."""

    def __init__(self, world: Any, key: str) -> None:
        super().__init__(world, key)
        self._skipped: dict[int, int] = {}

    def take(self, history: History, message: sync_pb2.SyncResponse) -> None:
        if message.WhichOneof("body") == "context" and message.context.context.version % 2 == 0:
            self._skipped[id(history)] = self._skipped.get(id(history), 0) + 1
            return
        history.messages.append(message)

    def skipped(self, history: History) -> int:
        return self._skipped.get(id(history), 0)


@dataclass
class Sent:
    """Something that went out to a customer under a place."""

    reservation: bytes
    who: str
    confirmed: bool = False


@dataclass
class Rival:
    """One who would like to act: asks for places, sends, confirms; now and then it dies in between."""

    world: Any
    name: str
    key: str
    sent: list[Sent] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.wire = Wire(self.world, self.name)
        self.process = self.wire.process = Process(self.world.loop, self.name)
        self.world.processes.append(self.process)
        self._stub = reservation_service_pb2_grpc.ReservationServiceStub(Channel(self.wire))  # type: ignore[arg-type]
        self._metadata = (("authorization", f"Bearer {self.key}"),)

    def start(self) -> None:
        self.process.start(self._run())

    async def _run(self) -> None:
        chance = self.world.chance
        while True:
            await asyncio.sleep(chance.uniform(0.2, 6.0))
            if not self.world.winding_down:
                await self._try(chance.choice(PEOPLE), chance)

    async def _try(self, who: str, chance: Any) -> None:
        id_ = self.world.fact_id()
        names = [identifier_to_wire(parse_identifier(who))]
        action = fact_pb2.Action(purpose="marketing", channel="email")
        request = reservation_service_pb2.ReserveRequest(id=id_, identifiers=names, kind="offer", action=action)
        try:
            answer = await asked(self._stub.Reserve, request, 2.0, self._metadata)
        except CallFailed as error:
            self.world.note(self.name, f"is not answered: {error.code().name}")
            release = reservation_service_pb2.ReleaseRequest(id=id_, identifiers=names)
            if chance.random() < 0.7:
                await self._insist(self._stub.Release, release)
            return
        self.world.note(self.name, f"asks for {who}: {answer.granted}")
        if not answer.granted:
            return
        sent = Sent(id_, who)
        self.sent.append(sent)
        if chance.random() < 0.2:
            return  # it died before it could tell: the place counts as spent
        confirm = reservation_service_pb2.ConfirmRequest(id=id_, identifiers=names, kind="offer", action=action)
        confirm.action.status = "completed"
        sent.confirmed = await self._insist(self._stub.Confirm, confirm)

    async def _insist(self, stub: Any, request: Any) -> bool:
        for _ in range(5):
            try:
                await asked(stub, request, 2.0, self._metadata)
            except CallFailed:
                await asyncio.sleep(self.world.chance.uniform(0.1, 1.0))
                continue
            return True
        return False
