"""Ten years of deadlines in a simulated hub: what falls due is told at its instant, once, and never before.

Owns `Years`: journeys that stall, go on, end and are abandoned, over years, with a hub that crashes, sleeps for weeks
and wakes; and the plainest model of which customer is stuck when, with which what was told is compared.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

from segue.domain.fact import EVENT, Fact, properties_bytes
from segue.domain.grant import everything
from segue.domain.identifier import Identifier

from tests.building import BEGIN, DAY, HOUR, document
from tests.simulation.plans import SKETCH
from tests.simulation.world import World

STALLS, ABANDONS = 9 * DAY, 400 * DAY
YEARS = 10
CUSTOMERS = 40


def plan() -> dict[str, Any]:
    """Deadlines of days and of more than a year."""
    transfer = {**SKETCH["maps"]["transfer"], "stalls": {"after": "9d"}, "abandons": {"after": "400d"}}
    return document({**SKETCH, "maps": {"transfer": transfer}})


@dataclass
class Life:
    """One customer, by the plainest rules: what she did, and what is to be told of her.

    Attributes:
        progress: when the journey that runs went on last; 0 where none runs.
        expected: (left, at, by deadline) of every telling, in order. What falls due is told with its own instant, what
            a fact did with the moment at which the hub took it in.
    """

    name: str
    progress: int = 0
    has_details: bool = False
    number: int = 0
    expected: list[tuple[bool, int, bool]] = field(default_factory=list)

    def passes(self, now: int) -> None:
        """Time goes on to an instant."""
        if self.progress and now >= self.progress + STALLS and not self.stuck:
            self.expected.append((False, self.progress + STALLS, True))
        if self.progress and now >= self.progress + ABANDONS:
            self.expected.append((True, self.progress + ABANDONS, True))
            self.progress = 0

    @property
    def stuck(self) -> bool:
        return bool(self.expected) and not self.expected[-1][0]

    def does(self, dice: float, now: int) -> str:
        """Something happens; returns the type of the event."""
        self.passes(now)
        if not self.progress:
            self.progress, self.has_details, self.number = now, False, self.number + 1
            return "transfer.started"
        if self.stuck:
            self.expected.append((True, now, False))
        if dice < 0.5 and not self.has_details:
            self.progress, self.has_details = now, True
            return "transfer.details"
        self.progress = 0
        return "transfer.completed"


class Years(World):
    """A world in which only time passes, a lot of it."""

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self.lives = [Life(f"L{number}") for number in range(CUSTOMERS)]
        self._facts = 0

    async def run(self) -> None:
        """Ten years of it."""
        self.lossy = 0.0
        self.hub.start()
        await self._as_hub(lambda hub: hub.plans.push(plan(), {}, "simulation", ""))
        key = await self._as_hub(lambda hub: hub.touchpoints.issue("crm"))
        self.watcher = self._watcher(self, key)
        self.watcher.start()
        self.calm = False
        await asyncio.sleep(5.0)  # from here on the cursor listens, and is told all
        chance, ends = self.chance, BEGIN + YEARS * 365 * DAY
        while self._now() < ends:
            if chance.random() < 0.04:
                self.loop.outside(chance.uniform(0.0, 0.7), self.hub_down, "in the years")
            self._leap(self._next_leap())
            await asyncio.sleep(chance.uniform(0.0, 0.7))
            for life in chance.sample(self.lives, chance.choice([0, 0, 1, 1, 2])):
                await self._happens(life)
        self.calm = True
        await asyncio.sleep(60.0)
        self._reckon()

    def _now(self) -> int:
        return self.hub.clock.now()

    @property
    def wires(self) -> list[Any]:
        return [self.watcher.wire]

    def _next_leap(self) -> int:
        """How far the clock is set on: often to next to what falls due, before or after it."""
        chance = self.chance
        due = min((life.progress + STALLS for life in self.lives if life.progress and not life.stuck), default=0)
        if due > self._now() and chance.random() < 0.4:
            return max(0, due - self._now() + chance.choice([-2, -1, 0, 1, 2]) * 500_000)
        return int(chance.expovariate(1 / (2 * DAY))) + chance.randrange(HOUR)

    def _leap(self, by: int) -> None:
        self.hub.clock.set_by += by
        self.note("years", f"pass by {by} us")

    async def _happens(self, life: Life) -> None:
        while self.hub.process is None or not self.hub.process.alive:  # noqa: ASYNC110  # it starts again by itself
            await asyncio.sleep(0.1)
        assert self.hub.hub is not None
        at = self.hub.hub.clock()
        type_ = life.does(self.chance.random(), at)
        self._facts += 1
        id_ = (at // 1000).to_bytes(6, "big") + b"\x70\x00\x80" + self._facts.to_bytes(7, "big")
        raw = properties_bytes({"number": f"{life.name}-{life.number}"})
        fact = Fact(id_, EVENT, type_, at, self._facts, (Identifier("account", life.name),), "web", "web", None, raw)
        while True:  # as an SDK does: again, until it is answered
            assert self.hub.process is not None
            publish = self.hub.hub.ingest.publish([fact], everything("web"))
            told = self.hub.process.start(publish)
            done, _ = await asyncio.wait({told}, timeout=5.0)  # one of a process that crashed never ends
            if done:
                return self.note(life.name, f"{type_}: {told.result()[0].status}")

    def _reckon(self) -> None:
        now = self._now()
        told: dict[str, list[tuple[bool, int, int]]] = {}
        for number in sorted(self.watcher.tellings):
            customer, left, at = self.watcher.tellings[number]
            told.setdefault(customer, []).append((left, at, self.watcher.heard_at[number]))
            if at > self.watcher.heard_at[number]:
                self.invariants.say(f"telling {number} came {at - self.watcher.heard_at[number]} us early")
        assert self.hub.hub is not None
        for life in self.lives:
            life.passes(now)
            known = self.hub.hub.contexts.find(Identifier("account", life.name))
            found = told.pop(self.opaque(known.customer), []) if known is not None else []
            if len(found) != len(life.expected):
                self.invariants.say(f"{life.name}: {len(found)} told, {len(life.expected)} expected")
            for (left, at, heard_at), (leaves, due, by_deadline) in zip(found, life.expected, strict=False):
                right = at == due if by_deadline else due <= at <= heard_at
                if left != leaves or not right:
                    self.invariants.say(f"{life.name}: told {left} of {at}, expected {leaves} of {due}")
        if told:
            self.invariants.say(f"told of nobody: {sorted(told)}")
        self.invariants.wrong += self.watcher.again + [f"the store says: {fault}" for fault in self.disk.check()]
        self.invariants.counts["tellings"] = len(self.watcher.tellings)
        self.invariants.counts["hub starts"] = self.hub.starts
        self.invariants.counts["days"] = (now - BEGIN) // DAY
