"""F14: hosts that do what one would not think of; each is a process of its own (`strange_hosts`), all at one hub.

Promises 6 and 7: nothing raises into them, holds them up for ever or ends them, and all that they told reaches the hub,
by themselves or by the next process on the same machine.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import segue

from tests.faults.test_gunicorn import books, swept
from tests.faults.trial import Trial
from tests.serving import Serving, environment, serving

pytestmark = [pytest.mark.fault, pytest.mark.trial]

ROOT = Path(__file__).resolve().parents[2]
SDK = Path(segue.__file__).parent.parent


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    with serving(tmp_path_factory.mktemp("hub")) as running:
        yield running


@pytest.fixture
def open_folder() -> Iterator[str]:
    """One that every user reaches."""
    with TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield folder


def lived(
    hub: Serving, kind: str, state: bytes, count: int, flags: Sequence[str] = (), path: Sequence[Path] = (), **more: str
) -> dict[str, Any]:
    """Runs a host to its end; what it said last. With a `path`, that alone is where it finds its modules."""
    script = ["-m", "tests.faults.strange_hosts"]
    if path:
        places = [str(place) for place in path]
        runs = "runpy.run_module('tests.faults.strange_hosts', run_name='__main__', alter_sys=True)"
        script = ["-c", f"import runpy, sys; sys.path[:0] = {places!r}; {runs}"]
    arguments: list[str | bytes] = [sys.executable, *flags, *script, kind, hub.address, hub.key("app")]
    done = subprocess.run(
        [*arguments, state, str(count)], cwd=ROOT, env=environment(**more), capture_output=True, timeout=100,
        check=False,
    )  # fmt: skip
    stderr = done.stderr.decode(errors="replace")
    assert done.returncode == (1 if kind == "hooks" else 0), stderr
    assert "Traceback" not in stderr, stderr
    assert "Warning" not in stderr, stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found | {"stderr": stderr}


def reckoned(trial: Trial, hub: Serving, said: dict[str, Any], before: dict[str, int], state: bytes) -> None:
    """Holds what a host says against the hub's books, and then what the next process delivers of it."""
    lives = said["lives"]
    delivered = sum(life["delivered"] for life in lives)
    if lives:
        arrived = books(hub)["arrived"] - before["arrived"]
        assert arrived == delivered or (arrived > delivered and "codes" in said)  # its children may deliver theirs
        assert all(value == "agent" for life in lives for value in life.get("answers", ()))
        assert all(life["delivered"] + life["waiting"] == life["offered"] for life in lives)
        assert not any(life["losses"] for life in lives)
    swept(hub, Path(os.fsdecode(state)))
    sums, aborted = books(hub), said.get("aborted", 0)
    arrived, doubtful = (sums[name] - before[name] for name in ("arrived", "doubtful"))
    trial.report(
        told=said["told"], delivered=delivered, arrived=arrived, missing=sums["missing"], in_doubt=doubtful,
        aborted=aborted,
    )  # fmt: skip
    # A child that gRPC ended (SIGABRT, in about one of a thousand) counts as killed: what it had told may be gone, and
    # the hub says that it may.
    assert said["told"] - aborted <= arrived <= said["told"]
    assert doubtful == 0 or aborted
    assert (sums["missing"], sums["lost"]) == (0, {})


def books_before(hub: Serving) -> dict[str, int]:
    found: dict[str, int] = hub.status()["sequences"]["touchpoints"].get("app", {"arrived": 0, "doubtful": 0})
    return found


@pytest.mark.parametrize(
    "kind",
    ["signals", "destructors", "at_exit", "hooks", "frozen", "year_1970", "year_2106", "no_thread_class",
     "forks_while_telling", "children", "small_files", "another_user", "slow_switches", "bare", "subinterpreter"],
)  # fmt: skip
def test_f14_a_strange_host_loses_nothing_and_is_not_held_up(
    kind: str, hub: Serving, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Regressions: `session` waited for itself for ever where a signal handler or a destructor opened one, and in a
    child that was forked while another thread made the first; what an exit handler told after ours was gone;
    `wait_ready` in a handler waited for itself where the host was at it too.
    """
    trial = Trial(f"F14 {kind}", small=10, ci=20, long=200)
    if kind == "another_user" and os.getuid() != 0:
        pytest.skip("only root may become another user")
    if kind == "another_user":
        tmp_path = Path(request.getfixturevalue("open_folder"))
    state, before = os.fsencode(tmp_path / "state"), books_before(hub)
    said = lived(hub, kind, state, trial.size)
    if kind == "forks_while_telling":
        assert set(said["codes"]) <= {0, -signal.SIGABRT}, said["stderr"]
    if kind in ("no_thread_class", "another_user"):
        assert "no more threads" in said["lives"][0]["trouble"]
    if kind == "subinterpreter":
        assert "no more threads" in said["said"]
    reckoned(trial, hub, said, before, state)


def zipped(folder: Path) -> Path:
    """The SDK as one file, as a zip application carries it."""
    found = folder / "app.zip"
    with zipfile.ZipFile(found, "w") as archive:
        for path in sorted((SDK / "segue").rglob("*.py")):
            archive.write(path, path.relative_to(SDK))
    return found


@pytest.mark.parametrize("way", ["optimised", "development", "zipped"])
def test_f14_an_interpreter_that_was_started_strangely_loses_nothing(way: str, hub: Serving, tmp_path: Path) -> None:
    trial = Trial(f"F14 {way}", small=10, ci=20, long=200)
    before = books_before(hub)
    folder = os.fsencode(tmp_path)
    if way == "optimised":
        state = folder + b"/a state #1 100%?x=y;z'"
        said = lived(
            hub, "ordinary", state, trial.size, ["-OO"], PYTHONHASHSEED="0", LC_ALL="C", PYTHONUTF8="0",
            PYTHONCOERCECLOCALE="0",
        )  # fmt: skip
    elif way == "development":
        state = folder + b"/\xff\xfe"
        said = lived(hub, "ordinary", state, trial.size, ["-X", "dev", "-W", "error"], PYTHONHASHSEED="4294967295")
    else:
        state, archive = folder + b"/state", zipped(tmp_path)
        said = lived(hub, "ordinary", state, trial.size, ["-I"], [archive, ROOT])
        assert said["home"].startswith(str(archive))
    reckoned(trial, hub, said, before, state)
