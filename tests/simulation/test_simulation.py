"""F10: histories of the real hub and SDK under everything that goes wrong, each from one seed.

`SEGUE_SEED=7` begins at another seed, `SEGUE_SEEDS=20000` plays more of them; so does `python -m tests.simulation`.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.serving import environment
from tests.simulation.__main__ import one, replay

ROOT = Path(__file__).parents[2]
FIRST = int(os.environ.get("SEGUE_SEED") or 1)
SEEDS = int(os.environ.get("SEGUE_SEEDS") or 200)
PARTS = 10
"""Tests that the seeds are divided among, so that a failure comes early."""

pytestmark = [pytest.mark.fault, pytest.mark.timeout(0 if "SEGUE_SEEDS" in os.environ else 300)]


@pytest.mark.parametrize("part", range(PARTS))
def test_whatever_goes_wrong_nothing_is_lost_nothing_counts_twice_and_nobody_is_told_too_early(part: int) -> None:
    """Acknowledged is kept; once; six watch checks; the fold; caps; kept + delivered + lost = offered; timers."""
    counts: Counter[str] = Counter()
    print(f"SEGUE_SEED={FIRST}")
    for seed in range(FIRST + part, FIRST + SEEDS, PARTS):
        report = one(seed)
        counts.update(report.counts)
        assert report.wrong == [], f"replay: {replay(seed)}"
    print(dict(counts))
    if SEEDS >= 200:  # so much happened that the checks had something to look at
        for what in ("facts", "frames", "streams", "tellings", "grants", "sent", "commit", "sdk crash", "plan", "dark"):
            assert counts[what] > 0, what


@pytest.mark.parametrize("place", range(3))
def test_in_ten_years_of_deadlines_each_is_told_at_its_instant_once_and_none_too_early(place: int) -> None:
    """Weeks pass at once, the hub crashes some sixty times and sleeps through deadlines of days and of a year."""
    seed = FIRST + place
    report = one(seed, "years")
    assert report.wrong == [], f"replay: {replay(seed, 'years')}"
    assert report.counts["days"] >= 3650
    assert report.counts["tellings"] > 1000
    assert report.counts["hub starts"] > 20


@pytest.mark.parametrize(
    "seed",
    [
        pytest.param(
            50495, id="killed after the clock was set back: members were told to leave before they had joined"
        ),
        pytest.param(50029, id="a clock set back by more than a minute takes back nothing that was told"),
    ],
)
def test_histories_that_went_wrong_once(seed: int) -> None:
    assert one(seed).wrong == [], f"replay: {replay(seed)}"


def test_the_same_seed_is_the_same_history_also_in_another_process_with_other_hashes() -> None:
    here = [one(seed) for seed in (FIRST, FIRST + 1, FIRST)]
    assert here[0].trace == here[2].trace
    assert here[0].digest != here[1].digest
    assert len(here[0].trace) > 100
    for hashes in ("1", "2"):
        command = [sys.executable, "-m", "tests.simulation", "--seeds", "2", "--from", str(FIRST), "--trace"]
        child = subprocess.run(
            command, cwd=ROOT, env=environment(PYTHONHASHSEED=hashes), capture_output=True, text=True, timeout=120
        )
        assert child.returncode == 0, child.stdout[-2000:] + child.stderr[-2000:]
        told = [line.split("trace ")[1].split(",")[0] for line in child.stdout.splitlines() if line.startswith("seed ")]
        assert told == [here[0].digest, here[1].digest]


@pytest.mark.parametrize(
    ("control", "found"),
    [
        ("counts-twice", "counted twice"),
        ("counts-twice", "is not the fold of her facts"),
        ("acknowledges-early", "acknowledged facts are lost"),
        ("skips", "the store says"),
        ("forgets-deadlines", "expected"),
    ],
)
def test_what_is_broken_on_purpose_is_found(control: str, found: str) -> None:
    """The negative controls: each within some histories, by the check that is there for it.

    A watcher that skips is found in one of twelve: in most, a later frame has made good what was skipped.
    """
    for seed in range(FIRST, FIRST + 150):
        if any(found in text for text in one(seed, control).wrong):
            return
    pytest.fail(f"150 histories with {control} passed")


def test_a_history_that_fails_names_the_one_command_that_plays_it_again() -> None:
    seed = next(seed for seed in range(FIRST, FIRST + 20) if one(seed, "acknowledges-early").wrong)
    command = replay(seed, "acknowledges-early").split()
    outcomes = []
    for _ in range(2):
        child = subprocess.run(
            [sys.executable, *command[1:]], cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=120
        )
        assert child.returncode == 1
        assert f"replay: {' '.join(command)}" in child.stdout
        outcomes.append(child.stdout.rsplit("\n", 2)[0])
    assert outcomes[0] == outcomes[1]
