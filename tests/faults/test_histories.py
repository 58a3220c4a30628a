"""F9: histories. Real clients do what chance says while mixed faults strike; what each was told is held against the
log.

Promises 1 to 6. Each run has a seed of its own, made of the trial's: a failing one is told, and can be made alone with
`SEGUE_SEED=... SEGUE_RUNS=1`. The last tests are negative controls: a hub that folds twice, grants too many places or
tells early, a watcher that skips and a log that lacks what was acknowledged must each be found.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from copy import copy
from dataclasses import replace
from pathlib import Path

import pytest
from segue.v1 import sync_pb2

from tests.faults.histories import checks
from tests.faults.histories.outcome import Outcome
from tests.faults.histories.run import checked, run
from tests.faults.trial import Trial

pytestmark = [pytest.mark.fault, pytest.mark.timeout(300)]

AT_ONCE = 2
"""Runs at the same time: most of each is waiting."""


def told_of(outcome: Outcome) -> Counter[str]:
    return Counter(done.code for done in outcome.history.operations if done.code)


@pytest.mark.trial
@pytest.mark.timeout(0)
def test_f9_random_histories_under_mixed_faults_have_no_anomalies(tmp_path: Path) -> None:
    trial = Trial("F9 histories", small=1, ci=50, long=500)
    runs = int(os.environ.get("SEGUE_RUNS") or trial.size)
    seeds = [trial.seed] + [trial.chance.randrange(1 << 32) for _ in range(runs - 1)]
    outcomes, faults, wrong = Counter[str](), Counter[str](), list[str]()
    facts = streams = overloaded = 0
    slowest = 0.0

    def one(seed: int) -> tuple[Outcome, list[str], int]:
        folder = tmp_path / str(seed)
        folder.mkdir()
        try:
            outcome, unsound = run(folder, seed)
        except BaseException as error:
            error.add_note(f"SEGUE_SEED={seed}")
            raise
        found = [f"seed {seed}: {text}" for text in [*checks.all_of(outcome), *unsound]]
        size = len(outcome.log()[0])
        if not found:
            shutil.rmtree(folder)  # of one in which something is wrong the history stays to be read
        return outcome, found, size

    with ThreadPoolExecutor(AT_ONCE) as together:
        for outcome, found, size in together.map(one, seeds):
            wrong += found
            outcomes += outcome.history.counts()
            faults += outcome.trouble.counts
            overloaded += told_of(outcome)["OVERLOADED"]
            facts += size
            streams += sum(len(watcher.histories) for watcher in outcome.watchers)
            slowest = max(slowest, outcome.trouble.slowest)
    lost, doubled = (sum(f": {check}: " in text for text in wrong) for check in ("kept", "once"))
    trial.report(
        runs=runs, operations=sum(outcomes.values()), **{name: outcomes[name] for name in ("ok", "fail", "info")},
        **dict(sorted(faults.items())), overloaded=overloaded, facts=facts, streams=streams, lost=lost,
        doubled=doubled, anomalies=len(wrong), slowest_restart_s=round(slowest, 2),
    )  # fmt: skip
    assert not wrong, "\n".join(wrong[:50])


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """A short history in which nothing is wrong."""
    outcome, unsound = run(tmp_path_factory.mktemp("whole"), 1, strikes=0)
    assert [*checks.all_of(outcome), *unsound] == []
    return outcome


def broken(folder: Path, how: str) -> list[str]:
    outcome, unsound = run(folder, 1, how, strikes=0)
    return [*checks.all_of(outcome), *unsound]


def test_control_a_hub_that_counts_twice_is_found(tmp_path: Path) -> None:
    found = broken(tmp_path, "counts_twice")
    print(f"F9 control, counts twice: {len(found)} anomalies")
    for check in ("reads", "streams", "final"):
        assert any(text.startswith(f"{check}:") for text in found), check


def test_control_a_hub_that_grants_too_many_places_is_found(tmp_path: Path) -> None:
    found = broken(tmp_path, "grants_too_many")
    print(f"F9 control, grants too many: {len(found)} anomalies")
    assert found
    assert all(text.startswith("caps: grant") for text in found), found


def test_control_a_hub_that_tells_early_is_found(tmp_path: Path) -> None:
    found = broken(tmp_path, "tells_early")
    print(f"F9 control, tells early: {len(found)} anomalies")
    assert any("before its time" in text for text in found)
    assert all(text.startswith("timers:") for text in found), found


def test_control_what_was_acknowledged_and_is_not_in_the_log_is_found(whole: Outcome, tmp_path: Path) -> None:
    copied = replace(whole, store=tmp_path / "segue.db")
    for part in whole.store.parent.glob(f"{whole.store.name}*"):
        shutil.copy(part, tmp_path)
    id_ = next(iter(whole.tellers[0].acknowledged))
    with closing(sqlite3.connect(copied.store)) as connection, connection:
        assert connection.execute("DELETE FROM facts WHERE id = ?", (id_,)).rowcount == 1
    found = checks.all_of(copied)
    assert f"kept: {id_.hex()} was acknowledged and is lost" in found
    assert checked(copied.store)


def test_control_a_watcher_that_skips_is_found_however_it_hides_it(whole: Outcome) -> None:
    watcher = copy(whole.watchers[0])
    told = [message for message in watcher.histories[-1].messages if message.WhichOneof("body") == "context"]
    skipped = [message for message in watcher.histories[-1].messages if message is not told[-1]]
    lying = [sync_pb2.SyncResponse.FromString(message.SerializeToString()) for message in skipped]
    watcher.histories = [*watcher.histories[:-1], replace(watcher.histories[-1], messages=lying)]
    outcome = replace(whole, watchers=[watcher])
    assert any("has seq" in text for text in checks.all_of(outcome))
    for number, message in enumerate(lying, 1):
        message.seq = number
    assert any(text.startswith("streams:") for text in checks.all_of(outcome))


def test_control_a_timer_told_twice_and_one_never_told_are_found(whole: Outcome) -> None:
    log, _ = whole.log()
    heard = whole.listeners["living"]
    assert heard
    again = replace(whole, listeners={"living": [*heard, heard[0]]})
    assert any("times in one life" in text for text in checks.timers(again, log))
    missing = replace(whole, listeners={"living": [one for one in heard if one.name != heard[0].name]})
    assert f"timers: living never heard of {heard[0].name}" in checks.timers(missing, log)
