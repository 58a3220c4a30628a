"""F14: Celery. Children of its pool are forked, work off a few tasks, and end by `os._exit`, without exit handlers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.faults.test_gunicorn import books, swept
from tests.faults.trial import Trial
from tests.serving import environment, serving
from tests.waiting import eventually

pytestmark = [pytest.mark.fault, pytest.mark.trial]

ROOT = Path(__file__).resolve().parents[2]
WAYS = ["used before it forks", ""] if os.environ.get("SEGUE_FAULTS") else ["used before it forks"]
"""With `make test` the one that has more to go wrong."""


@pytest.mark.parametrize("used", WAYS)
def test_f14_children_of_celery_lose_nothing_although_they_end_without_exit_handlers(used: str, tmp_path: Path) -> None:
    """Regression: the last fact of one child in ten was gone with it."""
    trial = Trial(f"F14 celery{', ' if used else ''}{used}", small=70, ci=140, long=7_000)
    (tmp_path / "messages").mkdir()
    (tmp_path / "told").touch()
    with serving(tmp_path) as hub:
        variables = {"CELERY_FOLDER": str(tmp_path), "CELERY_HUB": hub.address, "CELERY_KEY": hub.key("app")}
        sends = f"from tests.faults.celery_app import tell\nfor number in range({trial.size}): tell.delay(number)"
        subprocess.run([sys.executable, "-c", sends], cwd=ROOT, env=environment(**variables), check=True, timeout=120)
        log = tmp_path / "celery.log"
        variables |= {"CELERY_USED": "1"} if used else {}
        command = [
            sys.executable,
            "-m",
            "celery",
            "-A",
            "tests.faults.celery_app:celery",
            "worker",
            "--concurrency",
            "3",
        ]
        with log.open("wb") as file:
            worker = subprocess.Popen(command, cwd=ROOT, env=environment(**variables), stdout=file, stderr=file)

        def told() -> list[str]:
            assert worker.poll() is None, log.read_text()
            return (tmp_path / "told").read_text().splitlines()

        try:
            eventually(lambda: len(told()) == trial.size, 60 + trial.size / 20)
            tasks = Counter(line.split()[1] for line in told())
            worker.send_signal(signal.SIGTERM)
            code = worker.wait(60)
        finally:
            if worker.poll() is None:
                os.kill(worker.pid, signal.SIGKILL)
        swept(hub, tmp_path / "state")
        sums = books(hub)
    lost = trial.size + bool(used) - sums["arrived"]
    trial.report(told=trial.size, processes=len(tasks), lost=lost, missing=sums["missing"], in_doubt=sums["doubtful"])
    assert code == 0, log.read_text()
    assert len(tasks) >= trial.size // 7
    assert (lost, sums["missing"], sums["doubtful"], sums["lost"]) == (0, 0, 0, {}), log.read_text()[-2000:]
