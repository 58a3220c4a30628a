"""F6: every fsync of hub and host takes 200 ms longer.

Promises 1 (acknowledged is kept), 6 (never silent) and 7 (never in the way). Many who write at once are each answered:
taken, or refused with RESOURCE_EXHAUSTED; what waits at the hub and its memory stay bounded, and nothing acknowledged
is lost. On the host, `track` does not wait for the disk, and all that it told arrives.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import pytest
import segue
from segue.domain.fact import Fact
from segue_hub.limits import Limits

from tests.calling import Caller, calling, event, refusal, retry_after
from tests.faults.failing import Asking, in_store, injected, prepared
from tests.faults.trial import Trial
from tests.serving import environment
from tests.waiting import eventually

pytestmark = [pytest.mark.fault, pytest.mark.trial]

DELAY = "delay_exit=200000"
_HOST = """
import json, sys, time, segue
address, key, state, count = sys.argv[1:]
app = segue.Touchpoint("app", hub=address, key=key, state=state, strict=False)
ids, slowest = [], 0.0
app.listeners.append(lambda fact: ids.append(fact.id.hex()))
session = app.session(account="S-1", wait=0)
for number in range(int(count)):
    began = time.perf_counter()
    session.track("transfer.started", transfer_id="T")
    slowest = max(slowest, time.perf_counter() - began)
    time.sleep(0.001)  # the pace of the host, no wait for anything
held = app.runtime().outbox.unjournalled
told = app.flush(60)
status = app.status()
app.close()
print(json.dumps({"ids": ids, "slowest": slowest, "held": held, "told": told, "losses": status["losses"],
                  "waiting": status["waiting"]}))
"""


def resident(process: int) -> int:
    """Megabytes of memory at the most so far."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) // 1024


def test_f6_on_a_slow_disk_queues_and_memory_are_bounded_and_nothing_is_lost(tmp_path: Path) -> None:
    trial = Trial("F6 slow disk, hub", small=1_500, ci=20_000, long=200_000)
    hub, key = prepared(tmp_path)
    hub.start()
    assert hub.process is not None
    before = resident(hub.process.pid)
    assert hub.stop() == 0
    usual, hub.command = hub.command, [*injected(DELAY), *hub.command]
    hub.start()
    asking = [Asking(hub.address, key, f"S-{number}", batch=25, size=2_000) for number in range(16)]
    for one in asking:
        one.start()
    eventually(lambda: sum(len(one.acked) for one in asking) >= trial.size, 100 + trial.size / 50)
    for one in asking:
        one.end()
    most = resident(hub.process.pid)
    assert hub.stop() == 0
    hub.command = usual
    acked = [id_ for one in asking for id_, _ in one.acked]
    refusals = {why for one in asking for why, _ in one.refused}
    ids, unsound = in_store(hub.store)
    counted = Counter(ids)
    lost, doubled = sum(not counted[id_] for id_ in acked), sum(times > 1 for times in counted.values())
    trial.report(
        acknowledged=len(acked), lost=lost, doubled=doubled, refused=sum(len(one.refused) for one in asking),
        memory_mb=most, more_than_idle_mb=most - before,
    )  # fmt: skip
    assert (lost, doubled, unsound) == (0, 0, [])
    assert refusals <= {("RESOURCE_EXHAUSTED", "OVERLOADED")}
    written = len(ids) * 2_500 // 1024**2
    assert most - before < 4 * Limits().queue_bytes // 1024**2 + 4 * written


def test_f6_on_a_slow_disk_a_host_tells_on_and_all_of_it_arrives(tmp_path: Path) -> None:
    trial = Trial("F6 slow disk, host", small=400, ci=5_000, long=50_000)
    hub, key = prepared(tmp_path)
    hub.start()
    arguments = [hub.address, key, str(tmp_path / "state"), str(trial.size)]
    done = subprocess.run(
        [*injected(DELAY), sys.executable, "-c", _HOST, *arguments], env=environment(), capture_output=True, text=True,
        check=True, timeout=100 + trial.size / 20,
    )  # fmt: skip
    said = json.loads(done.stdout)
    assert hub.stop() == 0
    ids, unsound = in_store(hub.store)
    counted = Counter(ids)
    lost, doubled = sum(not counted[id_] for id_ in said["ids"]), sum(times > 1 for times in counted.values())
    trial.report(
        facts=len(said["ids"]), lost=lost, doubled=doubled, unjournalled_at_the_end=said["held"],
        slowest_track_ms=round(said["slowest"] * 1000, 2),
    )  # fmt: skip
    assert len(said["ids"]) == trial.size
    assert (said["told"], said["losses"], said["waiting"]) == (True, {}, 0)
    assert (lost, doubled, unsound) == (0, 0, [])


class Obedient(threading.Thread):
    """Tells so many batches, each until it is taken; comes back when the hub says so, and not before."""

    def __init__(self, address: str, key: str, customer: str, batches: int) -> None:
        super().__init__(daemon=True)
        self.address, self.key, self.customer, self.batches = address, key, customer, batches
        self.acked: list[str] = []
        self.hints: list[float] = []
        self.others: list[tuple[str, str]] = []

    def run(self) -> None:
        with calling(self.address, self.key) as app:
            for _ in range(self.batches):
                facts = [event("transfer.started", f"account={self.customer}", transfer_id="T", error="x" * 2_500)
                         for _ in range(50)]  # fmt: skip
                while (statuses := self._told(app, facts)) is None:
                    time.sleep(self.hints[-1] if self.hints else 0.1)  # as told by the hub
                assert set(statuses) == {"ACCEPTED"}, statuses
                self.acked += [fact.id.hex() for fact in facts]

    def _told(self, app: Caller, facts: list[Fact]) -> list[str] | None:
        try:
            return app.statuses(*facts)
        except grpc.RpcError as error:
            if refusal(error) == ("RESOURCE_EXHAUSTED", "OVERLOADED"):
                self.hints.append(retry_after(error))
            else:
                self.others.append(refusal(error))
            return None


def test_f6_on_a_slow_disk_with_little_room_whoever_is_refused_comes_back_when_told_and_nothing_is_lost(
    tmp_path: Path,
) -> None:
    trial = Trial("F6 slow disk, little room", small=5, ci=40, long=500)
    assert came_back_too_early(trial, tmp_path, lambda app: None) == 0


def test_control_a_host_that_comes_back_before_it_was_asked_to_is_found(tmp_path: Path) -> None:
    def impatient(app: segue.Touchpoint) -> None:
        publisher = app.runtime().publisher
        back_off = publisher._back_off

        def at_once(asked_ms: int = 0) -> None:
            back_off(asked_ms)
            publisher._retry_at = 0.0

        publisher._back_off = at_once  # type: ignore[method-assign]

    trial = Trial("F6 control: a host that does not wait", small=3, ci=3, long=3)
    assert came_back_too_early(trial, tmp_path, impatient) > 0


def came_back_too_early(trial: Trial, tmp_path: Path, prepare: Callable[[segue.Touchpoint], None]) -> int:
    """OVERLOADED for certain: 24 clients tell more at once than may wait, and a host tells beside them. Returns how
    often the host came before it was asked to; all else is held here.
    """
    hub, key = prepared(tmp_path)
    hub.more += [part for limit in ("message_bytes=2097152", "queue_bytes=2097152", "queue_ms=300")
                 for part in ("--limit", limit)]  # fmt: skip
    hub.command = [*injected(DELAY), *hub.command]
    hub.start()
    idle = resident(hub.pid)
    app = segue.Touchpoint("app", hub=hub.address, key=key, state=tmp_path / "host")
    told: list[str] = []
    app.listeners.append(lambda fact: told.append(fact.id.hex()))
    prepare(app)
    sends, asked = watched_pauses(app)
    obedient = [Obedient(hub.address, key, f"O-{number}", trial.size) for number in range(24)]
    for one in obedient:
        one.start()
    with app.session(account="O-H", wait=0) as session:
        while any(one.is_alive() for one in obedient):
            session.track("transfer.started", transfer_id="T", error="x" * 2_500)
            time.sleep(0.005)  # the pace of the host, no wait for anything
    began = time.monotonic()
    assert app.flush(60), app.status()
    status, most = app.status(), resident(hub.pid)
    with calling(hub.address, key) as caller:  # and there is room again: the first batch that comes is taken
        assert caller.statuses(event("transfer.started", "account=O-1", transfer_id="T")) == ["ACCEPTED"]
    recovered = time.monotonic() - began
    limits = hub.status()["limits"]
    app.close()
    assert hub.stop() == 0
    acked = [id_ for one in obedient for id_ in one.acked] + told
    hints = [hint for one in obedient for hint in one.hints]
    ids, unsound = in_store(hub.store)
    counted = Counter(ids)
    lost, doubled = sum(not counted[id_] for id_ in acked), sum(times > 1 for times in counted.values())
    early = sum(next((send for send in sends if send > at), at + 60) < at + wish for at, wish in asked)
    trial.report(
        acknowledged=len(acked), lost=lost, doubled=doubled, overloaded=len(hints), host_refused=len(asked),
        least_pause_s=round(min(hints), 2), most_pause_s=round(max(hints), 2), back_too_early=early,
        more_than_idle_mb=most - idle, room_after_s=round(recovered, 1),
    )  # fmt: skip
    assert (lost, doubled, unsound) == (0, 0, [])
    assert [other for one in obedient for other in one.others] == []
    assert hints
    assert all(hint > 0 for hint in hints)
    assert asked, "the host was refused too"
    assert (status["losses"], status["waiting"]) == ({}, 0)
    assert limits["queue_bytes"] == 0
    assert sum(limits["refused"].values()) >= len(hints)
    assert most - idle < 64 + 4 * (len(ids) * 2_500 // 1024**2)
    return early


def watched_pauses(app: segue.Touchpoint) -> tuple[list[float], list[tuple[float, float]]]:
    """When a host sends, and (when, how long) it was asked to wait."""
    publisher = app.runtime().publisher
    sends, asked = list[float](), list[tuple[float, float]]()
    connected, back_off = publisher._connected, publisher._back_off

    def sending() -> Any:
        sends.append(time.monotonic())
        return connected()

    def backing_off(asked_ms: int = 0) -> None:
        if asked_ms > 0:
            asked.append((time.monotonic(), asked_ms / 1000))
        back_off(asked_ms)

    publisher._connected, publisher._back_off = sending, backing_off  # type: ignore[method-assign]
    return sends, asked
