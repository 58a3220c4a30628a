"""S1 and S10: the demo that `make demo` runs, whole; it exits with 0 only if every step truly happened."""

from __future__ import annotations

import subprocess
import sys

from .example_app import ROOT


def test_ann_s_story_between_processes_with_a_kill_in_the_middle() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "examples.demo", "--customers", "300"], cwd=ROOT, capture_output=True, text=True,
        timeout=110, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "every step happened" in done.stdout
    assert "nothing was lost" in done.stdout
