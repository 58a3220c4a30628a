"""F21: under a load that does not change, a hub and its hosts hold no more after hours than after a while.

The trial runs the soak for a time that its size names and judges what can be judged of it; `make soak HOURS=2.5` runs
the long one. The controls: memory, threads and descriptors that grow are found in measurements that say so.
"""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest
from segue_hub.storage.sqlite import SqliteStore

from tests.faults.soak.load import Soak
from tests.faults.soak.pulse import Pulse, slope
from tests.faults.soak.verdict import findings, read
from tests.faults.trial import Trial
from tests.faults.watched import log_in
from tests.watch_checks import atomic

pytestmark = [pytest.mark.fault, pytest.mark.trial]


def test_f21_a_hub_and_its_hosts_hold_no_more_after_a_while(tmp_path: Path) -> None:
    trial = Trial("F21 soak", small=12, ci=60, long=9_000)
    out = tmp_path / "soak.jsonl"
    soak = Soak(tmp_path, out, every=max(0.5, trial.size / 900), rare=max(4.0, trial.size / 20))
    hosts = soak.run(trial.size, trial.seed)
    found = findings(read(out))
    log = log_in(tmp_path / "segue.db")
    anomalies = soak.anomalies + [wrong for history in soak.histories for wrong in atomic(history, log)]
    offered = sum(host["offered"] for host in hosts.values())
    lost = sum(host["lost"] for host in hosts.values())
    faults = [fault for each in found for fault in each.faults]
    trial.report(
        facts=len(log), offered=offered, lost=lost, streams=soak.counts["streams"], frames=soak.counts["frames"],
        plans=soak.counts["plans"], copies=soak.counts["copies"], anomalies=len(anomalies),
        **{f"{each.name}_mb_an_hour": round(each.memory.median / 1e6, 2) for each in found if each.judged},
        **{f"{each.name}_mb": round(each.last / 1e6, 1) for each in found},
    )  # fmt: skip
    assert (anomalies, faults) == ([], [])
    assert all(host["flushed"] and host["lost"] == host["waiting"] == 0 for host in hosts.values())
    assert len(log) == len({fact.id for _, fact in log}) == offered + soak.counts["told"]
    assert soak.counts["streams"] > 0
    assert soak.counts["copies"] > 0
    assert {answer for host in hosts.values() for answer in host["answers"]} == {"agent", "bot"}
    with closing(SqliteStore(tmp_path / "segue.db")) as store:
        assert list(store.check()) == []


def pulses(hours: float, memory: float = 0.0, threads: float = 0.0, descriptors: float = 0.0) -> list[Pulse]:
    """Measurements every ten seconds of what grows by so much an hour, with a peak now and then."""
    return [
        Pulse(
            at, int(100e6 + memory * at / 3600 + (5e6 if at % 600 == 0 else at % 70 * 1e4)),
            int(20 + threads * at / 3600), int(40 + descriptors * at / 3600),
        )
        for at in range(0, int(hours * 3600), 10)
    ]  # fmt: skip


def test_what_stays_as_it_is_is_not_blamed_for_a_peak() -> None:
    (found,) = findings({"hub": pulses(2.5)})
    assert found.judged
    assert found.faults == []
    assert abs(found.memory.median) < 50_000


def test_control_what_grows_is_found() -> None:
    for grown, word in ((pulses(2.5, memory=2e6), "memory"), (pulses(2.5, threads=5), "threads"),
                        (pulses(2.5, descriptors=9), "descriptors")):  # fmt: skip
        (found,) = findings({"hub": grown})
        assert [word in fault for fault in found.faults] == [True]


def test_a_slope_is_told_by_the_hour() -> None:
    found = slope([(float(at), 3.0 * at) for at in range(0, 7200, 7)])
    assert round(found.median) == round(found.low) == round(found.high) == 10_800
