"""F14: gunicorn. Workers forked from a process that has a touchpoint already, or not; threads, greenlets; kills.

Promises 6 and 7. Every fact that a request was answered for is in the log once, of workers that were killed every one
that was on disk; of the rest the hub says how many are missing. No request waits for the hub, or fails.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import segue

from tests.faults.trial import Trial
from tests.faults.watched import log_in
from tests.serving import Serving, environment, free_port, serving
from tests.waiting import eventually

pytestmark = [pytest.mark.fault, pytest.mark.trial]

ROOT = Path(__file__).resolve().parents[2]
WORKERS = 3


class Gunicorn:
    """One gunicorn with the hostile application."""

    def __init__(self, hub: Serving, folder: Path, *options: str, **more: str) -> None:
        self.port = free_port()
        self.log = folder / "gunicorn.log"
        variables = {
            "HOSTILE_HUB": hub.address, "HOSTILE_KEY": hub.key("app"), "HOSTILE_STATE": str(folder / "state"), **more,
        }  # fmt: skip
        command = [sys.executable, "-m", "gunicorn", "--bind", f"127.0.0.1:{self.port}", "--workers", str(WORKERS)]
        command += ["--graceful-timeout", "20", *options, "tests.faults.hostile_app:application"]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(command, cwd=ROOT, env=environment(**variables), stdout=log, stderr=log)
        eventually(self._answers, 30)

    def _answers(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()
        try:
            return bool(self.get("ready"))
        except OSError:
            return False

    def get(self, path: str) -> dict[str, Any]:
        """One request; once again where a worker that was killed took it with it."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/{path}", timeout=20) as answer:
            found: dict[str, Any] = json.loads(answer.read())
            return found

    def tried(self, path: str) -> dict[str, Any] | None:
        """One request; None where the worker that had it was killed."""
        try:
            return self.get(path)
        except (OSError, ValueError):
            return None

    def stop(self) -> int:
        """SIGTERM: workers end their requests, and themselves."""
        self.process.terminate()
        return self.process.wait(40)


@contextmanager
def gunicorn(hub: Serving, folder: Path, *options: str, **more: str) -> Iterator[Gunicorn]:
    """Runs one while the block does."""
    running = Gunicorn(hub, folder, *options, **more)
    try:
        yield running
    finally:
        if running.process.poll() is None:
            os.kill(running.process.pid, signal.SIGTERM)
            try:
                running.process.wait(30)
            except subprocess.TimeoutExpired:
                running.process.kill()


def swept(hub: Serving, state: Path) -> None:
    """The next process on the same machine: adopts what the dead left, and delivers it."""
    with_state = segue.Touchpoint("app", hub=hub.address, key=hub.key("app"), state=state)
    with_state.runtime()
    assert with_state.flush(90), with_state.status()
    with_state.close()


def books(hub: Serving) -> dict[str, Any]:
    """What the hub says of the touchpoint's producers: what arrived, and what of their ordinals did not."""
    found: dict[str, Any] = hub.status()["sequences"]["touchpoints"]["app"]
    return found


WAYS = {
    "sync": ("--worker-class", "sync"),
    "sync, preloaded": ("--worker-class", "sync", "--preload"),
    "threads": ("--worker-class", "gthread", "--threads", "8"),
    "threads, preloaded": ("--worker-class", "gthread", "--threads", "8", "--preload"),
    "gevent": ("--worker-class", "gevent"),
    "gevent, preloaded": ("--worker-class", "gevent", "--preload"),
}


@pytest.mark.parametrize("way", WAYS)
def test_f14_workers_of_gunicorn_lose_nothing_and_keep_no_request_waiting(way: str, tmp_path: Path) -> None:
    trial = Trial(f"F14 gunicorn, {way}", small=60, ci=600, long=20_000)
    used = {"HOSTILE_USED": "1"} if "preloaded" in way else {}
    with serving(tmp_path) as hub:
        with gunicorn(hub, tmp_path, *WAYS[way], **used) as server, ThreadPoolExecutor(6) as visitors:
            paths = [f"A-{number % 20}{'?durable' if number % 2 else ''}" for number in range(trial.size)]
            answers = list(visitors.map(server.get, paths))
            again = visitors.map(server.tried, [f"B-{number}?durable" for number in range(trial.size)])
            victim = trial.chance.choice(sorted({answer["pid"] for answer in answers}))
            os.kill(victim, signal.SIGKILL)
            survived = [answer for answer in again if answer is not None]
            code = server.stop()
        swept(hub, tmp_path / "state")
        sums = books(hub)
        hub.stop()
        counted = Counter(fact.id.hex() for _, fact in log_in(hub.store))
    told = [id_ for answer in answers for id_ in answer["ids"] if answer["pid"] != victim or answer["kept"]]
    told += [id_ for answer in survived for id_ in answer["ids"] if answer["pid"] != victim or answer["kept"]]
    lost = [id_ for id_ in told if counted[id_] == 0]
    doubled = [id_ for id_, count in counted.items() if count > 1]
    slowest = max(answer["ms"] for answer in answers)
    trial.report(
        requests=len(answers) + len(survived), processes=len({a["pid"] for a in (*answers, *survived)}), told=len(told),
        lost=len(lost), doubled=len(doubled), missing=sums["missing"], in_doubt=sums["doubtful"],
        slowest_request_ms=round(slowest),
    )  # fmt: skip
    assert (lost, doubled) == ([], [])
    assert (sums["missing"], sums["lost"], sums["arrived"]) == (0, {}, len(counted))
    assert code == 0, server.log.read_text()
    assert {answer["value"] for answer in answers} == {"agent"}  # everybody had told a fact, and reads it at once
    assert "Traceback" not in server.log.read_text(), server.log.read_text()
    left = [path.name for path in (tmp_path / "state").glob("*.outbox*")]
    assert left == []


def test_f14_workers_answer_where_there_is_no_hub(tmp_path: Path) -> None:
    """Nothing listens at the hub's address: every request is answered all the same, with what was told at once."""
    with serving(tmp_path) as hub:
        key_made_here = hub.key("app")
        hub.stop()
        began = time.monotonic()
        hub.key = lambda touchpoint: key_made_here  # type: ignore[method-assign]  # nobody can ask a hub that is away
        with gunicorn(hub, tmp_path, "--preload", "--worker-class", "gthread", "--threads", "4") as server:
            answers = [server.get(f"A-{number}?durable") for number in range(10)]
            assert server.stop() == 0
        assert time.monotonic() - began < 120
        assert {answer["value"] for answer in answers} == {"agent"}
        assert all(answer["kept"] for answer in answers)
        hub.start()
        swept(hub, tmp_path / "state")
        hub.stop()
        counted = Counter(fact.id.hex() for _, fact in log_in(hub.store))
    assert all(counted[id_] == 1 for answer in answers for id_ in answer["ids"])
