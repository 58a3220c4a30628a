"""F14: a day without a hub. A host tells more facts than its outbox may hold, then the hub is there again.

Promises 6 and 7: kept + delivered + reported lost = offered, at the host and in the hub's books; what is held is
bounded in rows, on disk and in memory, however much is told. The day is compressed: the host tells as fast as its disk
takes it, ten million facts in `make faults-long`, against the outbox's own limit of a million there, and a smaller one
elsewhere.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults.trial import Trial
from tests.faults.watched import log_in
from tests.serving import environment, serving

pytestmark = [pytest.mark.fault, pytest.mark.trial, pytest.mark.timeout(0)]

_HOST = """
import contextlib, dataclasses, json, os, sys, time
from pathlib import Path
import segue
address, key, state, count, rows, patience = sys.argv[1:4] + [int(value) for value in sys.argv[4:]]
app = segue.Touchpoint("app", hub=address, key=key, state=state, strict=False)
app._config = dataclasses.replace(app._config, outbox_rows=rows)
outbox = app.runtime().outbox
resident = lambda: int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
def on_disk():
    total = 0
    for path in Path(state).iterdir():
        with contextlib.suppress(FileNotFoundError):  # a rollback journal goes when its transaction ends
            total += path.stat().st_size
    return total
told, tenths, memory, disk, most, slowest = 0, [], 0, 0, 0, 0.0
began = time.monotonic()
while told < count:
    with app.session(account=f"D-{told // 10 % 50}", wait=0, keep="1s") as session:
        for _ in range(10):
            before = time.thread_time()
            session.track("transfer.started", transfer_id="T")
            slowest = max(slowest, time.thread_time() - before)
    told += 10
    while outbox.unjournalled > 10_000:
        time.sleep(0.001)  # a day gives the disk this time: what is tried is the outbox's limit
    most = max(most, outbox.waiting)
    if told % (count // 10) == 0:
        tenths.append(resident())
        disk = max(disk, on_disk())
took = time.monotonic() - began
while outbox.unjournalled:
    time.sleep(0.001)  # between looks at that condition
status = app.status()
offline = {name: status[name] for name in ("offered", "delivered", "waiting", "losses")}
print(json.dumps({"offline": offline, "took": took, "most": most, "memory": tenths, "disk": disk, "slowest": slowest}),
      flush=True)
sys.stdin.readline()
flushed = app.flush(patience)
status = app.status()
print(json.dumps({"flushed": flushed, **{name: status[name] for name in offline}}), flush=True)
app.close()
"""


def test_f14_a_day_without_a_hub_is_bounded_and_what_is_lost_of_it_is_told_to_the_fact(tmp_path: Path) -> None:
    trial = Trial("F14 a day offline", small=10_000, ci=100_000, long=10_000_000)
    rows = min(trial.size // 5, 1_000_000)
    state = tmp_path / "state"
    state.mkdir()
    with serving(tmp_path) as hub:
        key = hub.key("app")
        hub.kill()
        patience = 120 + trial.size // 2_000
        with subprocess.Popen(
            [sys.executable, "-c", _HOST, hub.address, key, str(state), str(trial.size), str(rows), str(patience)],
            env=environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        ) as host:  # fmt: skip
            try:
                assert host.stdout is not None
                day = json.loads(host.stdout.readline())
                hub.start()
                output, _ = host.communicate("the hub is there\n", timeout=patience + 60)
            finally:
                host.kill()
        end = json.loads(output)
        books = hub.status()["sequences"]["touchpoints"]["app"]
        assert hub.stop() == 0
    log = [fact.id for _, fact in log_in(hub.store)]
    offline, lost = day["offline"], sum(end["losses"].values())
    trial.report(
        told=trial.size, outbox_rows=rows, facts_s=round(trial.size / day["took"]), most_waiting=day["most"],
        disk_mb=round(day["disk"] / 1e6, 1), memory_mb=round(max(day["memory"]) / 1e6, 1),
        memory_growth_second_half_mb=round((day["memory"][-1] - day["memory"][4]) / 1e6, 1),
        slowest_track_ms=round(day["slowest"] * 1000, 2), delivered=end["delivered"], reported_lost=lost,
        unaccounted=trial.size - len(set(log)) - lost, doubled=len(log) - len(set(log)),
    )  # fmt: skip
    assert host.returncode == 0
    assert (offline["offered"], offline["delivered"]) == (trial.size, 0)
    assert offline["waiting"] + sum(offline["losses"].values()) == trial.size
    assert set(end["losses"]) == {"outbox_full"}
    assert end["flushed"]
    assert (end["offered"], end["waiting"], end["delivered"] + lost) == (trial.size, 0, trial.size)
    assert len(log) == len(set(log)) == end["delivered"]
    assert (books["arrived"], books["missing"], books["doubtful"]) == (len(log), 0, 0)
    assert books["lost"] == end["losses"]
    # Beyond the limit there is at most what was taken in hand before the oldest went: the host's own 10,000, and one
    # commit's.
    assert day["most"] <= rows + 20_000
    assert day["disk"] < (rows + 20_000) * 1_500 + 8e6
    assert day["memory"][-1] - day["memory"][4] < 20e6
