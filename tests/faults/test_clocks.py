"""F15: clocks that are set on, set back, or drift, under libfaketime; hubs and hosts that are killed meanwhile.

Promise: what follows of a deadline is told once, with its instant, never before it by the hub's clock, and never lost.
A journey stalls five seconds after it began; `watch` by a cursor hears of it, from a hub in a process of its own whose
clock is not the machine's.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import segue
from segue.domain.instant import from_datetime, parse_instant

from tests.calling import calling, event
from tests.serving import Serving
from tests.waiting import eventually

pytestmark = pytest.mark.fault

SECOND = 1_000_000
PATIENCE = 60.0
LIBRARY = next(iter(sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))), None)
needs_faketime = pytest.mark.skipif(
    LIBRARY is None, reason="libfaketime is not installed (Debian: apt install libfaketime)"
)
PLAN = {
    "vocabulary.yaml": """
identifiers: {account: {priority: 1}}
channels: {web: {}}
events: {began: {properties: {number: string}}}
""",
    "maps/errand.yaml": """
map: errand
owner: o
starts: 'event.type == "began"'
key: 'event.properties.number'
reaches_goal: 'false'
stalls: {after: "5s"}
""",
    "audiences.yaml": "waiting: {owner: o, title: t, when: 'journey.errand.stalled'}\n",
    "touchpoints.yaml": "desk: {owner: o, channel: web, writes: ['*'], reads: {service: [identity, audiences]}}\n",
}


class Desk:
    """Who is told, and what the hub's clock said then; of a hub that is killed it is not asked."""

    def __init__(self, hub: Serving, folder: Path, *, killed: bool) -> None:
        self.hub = hub
        self.folder = folder
        self.killed = killed
        self.wanted: dict[str, int] = {}
        self.in_time: set[str] = set()
        self.told: list[segue.Telling] = []
        self.early: list[tuple[segue.Telling, int]] = []
        self._numbers = itertools.count()
        self._lock = threading.Lock()
        self.key = hub.key("desk")
        self.open()

    def open(self) -> None:
        """A process of the host begins."""
        self.touchpoint = segue.Touchpoint("desk", hub=self.hub.address, key=self.key, state=self.folder / "desk")
        self.touchpoint.watch("waiting", self.hear, cursor="desk")

    def hear(self, tellings: list[segue.Telling]) -> None:
        now = 0 if self.killed else self.now()
        with self._lock:
            self.told += tellings
            if now:
                self.early += [(telling, now) for telling in tellings if now < from_datetime(telling.at)]

    def now(self) -> int:
        """The hub's clock."""
        return parse_instant(self.hub.status()["at"])

    def begin(self, count: int, spread: int) -> None:
        """Errands begin; their deadlines lie `spread` microseconds apart, the first one two seconds ahead."""
        first = self.now() + 2 * SECOND
        facts, deadlines = [], {}
        for place in range(count):
            name = f"E-{next(self._numbers)}"
            deadlines[name] = first + place * spread
            facts.append(event("began", f"account={name}", at=deadlines[name] - 5 * SECOND, number=name))
        self.wanted |= deadlines
        with calling(self.hub.address, self.key) as caller:
            assert set(caller.statuses(*facts)) == {"ACCEPTED"}
        now = self.now()
        self.in_time |= {name for name, deadline in deadlines.items() if deadline > now}

    def hears(self, many: int) -> None:
        """Waits until so many were told, in all."""
        eventually(lambda: len({telling.id for telling in list(self.told)}) >= many, PATIENCE)

    def reckon(self) -> None:
        """Everybody was told once by id; of her own instant where her fact came before it, and never before it."""
        eventually(lambda: {t.identifiers[0].value for t in list(self.told)} >= self.wanted.keys(), PATIENCE)
        with self._lock:
            by_id = {telling.id: telling for telling in self.told}
            instants = {telling.identifiers[0].value: from_datetime(telling.at) for telling in by_id.values()}
        assert len(by_id) == len(self.wanted)
        assert not any(telling.left for telling in by_id.values())
        assert {name: instants[name] for name in self.in_time} == {name: self.wanted[name] for name in self.in_time}
        assert all(instants[name] >= deadline for name, deadline in self.wanted.items())
        assert self.early == []
        again = len(self.told) - len(by_id)
        print(f"F15: {len(by_id)} deadlines, {len(self.in_time)} known before they passed, {again} told again by id")


@contextmanager
def clocked(folder: Path, *, killed: bool = False, **faked: str) -> Iterator[tuple[Serving, Desk]]:
    """A hub under a faked clock, with the plan, and somebody who is told."""
    plan = folder / "plan"
    for name, text in PLAN.items():
        (plan / name).parent.mkdir(parents=True, exist_ok=True)
        (plan / name).write_text(text)
    hub = Serving(folder)
    if faked:
        kept = {"LD_PRELOAD": str(LIBRARY), "FAKETIME_DONT_FAKE_MONOTONIC": "1", "DONT_FAKE_MONOTONIC": "1"}
        hub.variables = kept | faked
    hub.start()
    try:
        hub.push(plan)
        desk = Desk(hub, folder, killed=killed)
        try:
            yield hub, desk
        finally:
            desk.touchpoint.close()
    finally:
        hub.stop()


def stepping(folder: Path) -> tuple[dict[str, str], Callable[[int], None]]:
    """A clock that can be set: its environment, and how (seconds beside the machine's)."""
    file = folder / "faketime"
    file.write_text("+0")

    def set_to(seconds: int) -> None:
        beside = file.with_suffix(".new")
        beside.write_text(f"{seconds:+d}")
        beside.rename(file)

    return {"FAKETIME_TIMESTAMP_FILE": str(file), "FAKETIME_NO_CACHE": "1"}, set_to


@needs_faketime
def test_f15_a_clock_that_is_set_on_and_back_makes_nothing_early_lost_or_told_twice(tmp_path: Path) -> None:
    environment, set_to = stepping(tmp_path)
    with clocked(tmp_path, **environment) as (_, desk):
        desk.begin(40, 100_000)
        desk.hears(5)
        before = desk.now()
        set_to(600)
        eventually(lambda: desk.now() >= before + 590 * SECOND)
        desk.reckon()  # what was pending fell due at once
        desk.begin(40, 100_000)
        desk.hears(45)
        set_to(-600)
        desk.reckon()
        began, by_the_hub = time.monotonic(), desk.now()
        desk.begin(20, 100_000)
        desk.reckon()
        passed = time.monotonic() - began
        assert desk.now() - by_the_hub >= passed * SECOND * 0.85, "the hub's clock does not stand still"


@needs_faketime
def test_f15_a_hub_that_was_killed_comes_back_with_its_clock_set_back_and_tells_each_when_it_is_time(
    tmp_path: Path,
) -> None:
    environment, set_to = stepping(tmp_path)
    with clocked(tmp_path, killed=True, **environment) as (hub, desk):
        for turn, seconds in enumerate((3, -2, 0)):
            desk.begin(30, 100_000)
            desk.hears(turn * 30 + 1)
            hub.kill()
            set_to(seconds)
            hub.start()
        desk.begin(10, 1000)
        desk.reckon()


@needs_faketime
@pytest.mark.parametrize("speed", ["0.7", "1.6"])
def test_f15_a_clock_that_drifts_makes_nothing_early_lost_or_told_twice(tmp_path: Path, speed: str) -> None:
    with clocked(tmp_path, FAKETIME=f"+0 x{speed}") as (_, desk):
        desk.begin(100, 40_000)
        desk.reckon()


def test_a_hub_and_its_host_killed_at_any_moment_tell_every_deadline_once_by_id(tmp_path: Path) -> None:
    """Without a faked clock: kills alone."""
    with clocked(tmp_path, killed=True) as (hub, desk):
        for turn in range(5):
            desk.begin(40, 25_000)
            desk.hears(turn * 40 + 1)
            hub.kill()
            if turn % 2:
                desk.touchpoint.close()
            hub.start()
            if turn % 2:
                desk.open()
        desk.reckon()
