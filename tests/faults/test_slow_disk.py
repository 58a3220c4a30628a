"""F6: every fsync of hub and host takes 200 ms longer.

Promises 1 (acknowledged is kept), 6 (never silent) and 7 (never in the way). Many who write at once are each answered:
taken, or refused with RESOURCE_EXHAUSTED; what waits at the hub and its memory stay bounded, and nothing acknowledged
is lost. On the host, `track` does not wait for the disk, and all that it told arrives.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from segue_hub.limits import Limits

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
