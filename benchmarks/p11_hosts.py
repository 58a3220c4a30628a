"""P11 inside real hosts: a plain script, FastAPI under uvicorn, gunicorn with sync and with gthread workers.

Owns starting them and reading what they say of themselves; what is said, and how it is taken, is `host`'s.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Final
from urllib.error import URLError
from urllib.request import urlopen

from .hub import HubProcess
from .measure import Line, Report, Series, paired_ratio
from .stores import free_port
from .workers import ROOT, peer_python, wait_for

HOSTS: Final[dict[str, tuple[str, ...]]] = {
    "plain script": (),
    "FastAPI": ("-m", "uvicorn", "benchmarks.host:asgi", "--factory", "--log-level", "warning", "--port"),
    "gunicorn sync": ("-m", "gunicorn", "benchmarks.host:wsgi", "-k", "sync", "-w", "1", "-t", "120", "-b"),
    "gunicorn gthread": ("-m", "gunicorn", "benchmarks.host:wsgi", "-k", "gthread", "--threads", "4", "-w", "1", "-b"),
}
IMPORTS: Final = ("segue", "grpc", "ldclient", "growthbook")


def _environment(**more: str) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'sdk' / 'src'}", "PYTHONDONTWRITEBYTECODE": "", **more}


def _script(environment: dict[str, str], *arguments: str) -> dict[str, Any]:
    done = subprocess.run(
        [peer_python(), "-m", "benchmarks.host", *arguments], env=environment, cwd=ROOT, capture_output=True,
        text=True, check=True, timeout=120,
    )  # fmt: skip
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def _served(command: tuple[str, ...], environment: dict[str, str], count: int) -> dict[str, Any]:
    port = str(free_port())
    process = subprocess.Popen(
        [peer_python(), *command, port if command[-1] == "--port" else f"127.0.0.1:{port}"],
        env=environment, cwd=ROOT, stdout=sys.stderr,
    )  # fmt: skip
    try:
        wait_for("the host", lambda: _asked(port, 0) is not None)
        found = _asked(port, count)
        assert found is not None
        return found
    finally:
        process.terminate()
        process.wait(30)


def _asked(port: str, count: int) -> dict[str, Any] | None:
    try:
        with urlopen(f"http://127.0.0.1:{port}/?{count or ''}", timeout=120) as answer:
            found: dict[str, Any] = json.loads(answer.read())
            return found
    except (URLError, ConnectionError):
        return None


def _import_ms(name: str) -> float:
    """Of a fresh process, with the bytecode written by one before it, as where a package is installed."""
    code = f"import time; a = time.perf_counter(); import {name}; print((time.perf_counter() - a) * 1000)"
    done = subprocess.run([peer_python(), "-c", code], env=_environment(), check=True, capture_output=True, text=True)
    return float(done.stdout)


def imports(report: Report, rounds: int) -> None:
    """What `import segue` takes, beside what others take."""
    for name in IMPORTS:
        _import_ms(name)  # its bytecode is written
    found: dict[str, list[float]] = {name: [] for name in IMPORTS}
    for _ in range(rounds):
        for name in IMPORTS:
            found[name].append(_import_ms(name))
    series = {name: Series(values) for name, values in found.items()}
    for name in IMPORTS[1:]:
        ratio = paired_ratio(series[name], series["segue"])
        report.lines.append(
            Line("P11", "import segue, ms", series["segue"], series[name], f"import {name}", ratio)
        )  # fmt: skip
    report.lines.append(
        Line("P11", "import segue, ms", series["segue"], needed=150.0, at_least=False, target="150 ms")
    )  # fmt: skip


def hosts(report: Report, hub: HubProcess, folder: Path, rounds: int, count: int) -> None:
    """`track` and our threads inside each host; memory for each customer that is held."""
    told = 0
    for host, command in HOSTS.items():
        found = []
        for number in range(rounds):
            state = folder / f"{host}-{number}".replace(" ", "-")
            environment = _environment(SEGUE_HUB=hub.address, SEGUE_KEY=hub.key, SEGUE_STATE=str(state))
            one = _served(command, environment, count) if command else _script(environment, "track", str(count))
            if not one["arrived"] or not one["version"] or one["told"] != count:
                raise RuntimeError(f"{host}: not all arrived, or no context came: {one}")
            found.append(one)
            told += count
        for share, needed in (("p50", 0.02), ("p99.9", 1.0)):
            series = Series([one[share] for one in found])
            line = Line("P11", f"track in {host}, {share}, ms", series, needed=needed, at_least=False)
            line.target = f"{needed} ms"
            report.lines.append(line)
        threads = Series([float(len(one["threads"])) for one in found])
        report.lines.append(
            Line("P11", f"threads of ours in {host}", threads, needed=2.0, at_least=False, target="2")
        )  # fmt: skip
    report.verified.append(f"{told:,} facts told inside hosts, all acknowledged; each had the hub's context")
    environment = _environment(SEGUE_HUB=hub.address, SEGUE_KEY=hub.key, SEGUE_STATE=str(folder / "held"))
    size = _script(environment, "held", str(2 * count))["bytes"] / 1024
    report.lines.append(
        Line("P11", f"KB for each of {2 * count:,} held customers", Series([size]), needed=10.0, at_least=False,
             target="10 KB")
    )  # fmt: skip
