"""F15: clocks that are set on, set back, or drift, under libfaketime; hubs that are killed meanwhile.

Promise: what follows of a deadline is told once, with its instant, never before it by the hub's clock, and never lost.
A journey stalls two seconds after it began; `watch` by a cursor hears of it, from a hub in a process of its own whose
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
LIBRARY = next(iter(sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))), None)
needs_faketime = pytest.mark.skipif(
    LIBRARY is None, reason="libfaketime is not installed (Debian: apt install faketime)"
)
PLAN = {
    "vocabulary.yaml": "identifiers: {account: {priority: 1}}\nchannels: {web: {}}\n"
    "events: {began: {properties: {number: string}}}\n",
    "maps/errand.yaml": "map: errand\nowner: o\nstarts: 'event.type == \"began\"'\nkey: 'event.properties.number'\n"
    "reaches_goal: 'false'\nstalls: {after: \"2s\"}\n",
    "audiences.yaml": "waiting: {owner: o, title: t, when: 'journey.errand.stalled'}\n",
    "touchpoints.yaml": "desk: {owner: o, channel: web, writes: ['*'], reads: {service: [identity, audiences]}}\n",
}


class Desk:
    """Who is told, and what the hub's clock said when it was."""

    def __init__(self, hub: Serving, folder: Path) -> None:
        self.hub = hub
        self.wanted: dict[str, int] = {}
        self.told: list[segue.Telling] = []
        self.early: list[tuple[segue.Telling, int]] = []
        self.late: list[int] = []
        self.lock = threading.Lock()
        self._numbers = itertools.count()
        self.key = hub.key("desk")
        self.touchpoint = segue.Touchpoint("desk", hub=hub.address, key=self.key, state=folder / "desk")
        self.touchpoint.watch("waiting", self.hear, cursor="desk")

    def hear(self, tellings: list[segue.Telling]) -> None:
        now = self.now()
        with self.lock:
            self.told += tellings
            self.late += [now - from_datetime(telling.at) for telling in tellings]
            self.early += [(telling, now) for telling in tellings if now < from_datetime(telling.at)]

    def now(self) -> int:
        """The hub's clock."""
        return parse_instant(self.hub.status()["at"])

    def begin(self, count: int, spread: int) -> None:
        """Errands begin; their deadlines lie `spread` microseconds apart, the first one 0.8 s ahead."""
        first = self.now() - 2 * SECOND + 800_000
        facts = []
        for place in range(count):
            name = f"E-{next(self._numbers)}"
            self.wanted[name] = first + place * spread + 2 * SECOND
            facts.append(event("began", f"account={name}", at=first + place * spread, number=name))
        with calling(self.hub.address, self.key) as caller:
            assert set(caller.statuses(*facts)) == {"ACCEPTED"}

    def hears_more(self) -> None:
        """Waits until somebody more was told."""
        told = len(self.told)
        began = time.monotonic()
        eventually(lambda: len(self.told) > told, 40)
        print("HEARD", time.monotonic() - began, self.touchpoint.status()["connection"])

    def reckon(self) -> None:
        """Everybody was told once, of her own instant, and not before it."""
        eventually(lambda: len(self.told) >= len(self.wanted), 40)
        with self.lock:
            instants = {telling.identifiers[0].value: from_datetime(telling.at) for telling in self.told}
            assert instants == self.wanted
            assert len({telling.id for telling in self.told}) == len(self.told) == len(self.wanted)
            assert not any(telling.left for telling in self.told)
            assert self.early == []
            order = [from_datetime(telling.at) for telling in self.told]
        print(f"F15: {len(order)} deadlines, latest {max(self.late) / SECOND:.3f} s by the hub's clock")


@contextmanager
def clocked(folder: Path, **faked: str) -> Iterator[tuple[Serving, Desk]]:
    """A hub under a faked clock, with the plan, and somebody who is told."""
    plan = folder / "plan"
    for name, text in PLAN.items():
        (plan / name).parent.mkdir(parents=True, exist_ok=True)
        (plan / name).write_text(text)
    hub = Serving(folder)
    if faked:
        hub.variables = {
            "LD_PRELOAD": str(LIBRARY),
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "DONT_FAKE_MONOTONIC": "1",
        } | faked
    hub.start()
    try:
        hub.push(plan)
        desk = Desk(hub, folder)
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
        desk.begin(40, 50_000)
        eventually(lambda: len(desk.told) >= 5)
        before = desk.now()
        set_to(600)
        eventually(lambda: desk.now() >= before + 590 * SECOND)
        desk.reckon()  # what was pending fell due at once
        desk.begin(40, 50_000)
        eventually(lambda: len(desk.told) >= 45)
        set_to(-600)
        desk.reckon()
        began, by_the_hub = time.monotonic(), desk.now()
        desk.begin(20, 50_000)
        desk.reckon()
        passed = time.monotonic() - began
        assert desk.now() - by_the_hub >= passed * SECOND * 0.85, "the hub's clock does not stand still"


@needs_faketime
def test_f15_a_hub_that_was_killed_comes_back_with_its_clock_set_back_and_tells_each_when_it_is_time(
    tmp_path: Path,
) -> None:
    environment, set_to = stepping(tmp_path)
    with clocked(tmp_path, **environment) as (hub, desk):
        for seconds in (4, -3, 0, -5):
            desk.begin(30, 100_000)
            desk.hears_more()
            hub.kill()
            set_to(seconds)
            hub.start()
        desk.begin(10, 1000)
        desk.reckon()


@needs_faketime
@pytest.mark.parametrize("speed", ["0.7", "1.6"])
def test_f15_a_clock_that_drifts_makes_nothing_early_and_nothing_a_second_late(tmp_path: Path, speed: str) -> None:
    with clocked(tmp_path, FAKETIME=f"+0 x{speed}") as (_, desk):
        desk.begin(100, 40_000)
        desk.reckon()
        ranked = sorted(desk.late)
        assert ranked[int(len(ranked) * 0.99)] < SECOND


def test_a_hub_and_its_host_killed_at_any_moment_tell_every_deadline_once_by_id(tmp_path: Path) -> None:
    """Without a faked clock: kills alone. The host's process is played by touchpoints that come and go."""
    with clocked(tmp_path) as (hub, desk):
        for turn in range(6):
            desk.begin(40, 25_000)
            desk.hears_more()
            hub.kill()
            if turn % 2:
                desk.touchpoint.close()
            hub.start()
            if turn % 2:
                desk.touchpoint = segue.Touchpoint("desk", hub=hub.address, key=desk.key, state=tmp_path / "desk")
                desk.touchpoint.watch("waiting", desk.hear, cursor="desk")
        eventually(lambda: {t.identifiers[0].value for t in desk.told} >= desk.wanted.keys(), 40)
        by_id = {telling.id: telling for telling in desk.told}
        assert len(by_id) == len(desk.wanted), "a telling that comes again has its id"
        assert {t.identifiers[0].value: from_datetime(t.at) for t in by_id.values()} == desk.wanted
        assert desk.early == []
        print(f"kills: {len(desk.wanted)} deadlines, {len(desk.told) - len(by_id)} told again with the same id")
