"""Runs benchmarks one after another, each in a process of its own, so that one that fails ends no other.

Owns finding them, their processes and time limits, and what a run comes to: a document for `page` and `--json`, and an
exit code. Knows nothing of what they measure, nor of how it is shown.
"""

from __future__ import annotations

import importlib
import json
import os
import pkgutil
import platform
import queue
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

BESIDE: Final = ("reserve", "native")
"""Benchmarks that are no target of their own and run after those that are."""
_LIBRARIES: Final = ("segue", "grpcio", "protobuf", "apsw")
_TO_END: Final = 30.0
Shows = Callable[[str, str, float], None]
"""Name of a benchmark, what it does now, and seconds since it began."""


@dataclass(frozen=True, slots=True)
class Wish:
    """How to run.

    Attributes:
        quick: smaller and fewer rounds.
        install_peers: whether missing servers may be installed.
        limit: seconds after which a benchmark is ended and counts as failed.
    """

    quick: bool = False
    install_peers: bool = False
    limit: float = 2700.0


def names(package: str = "benchmarks") -> list[str]:
    """All benchmarks of a package: `p1` and so on in the order of their numbers, then those beside them."""
    found = [module.name for module in pkgutil.iter_modules(importlib.import_module(package).__path__)]
    targets = sorted((name for name in found if re.fullmatch(r"p\d+", name)), key=lambda name: int(name[1:]))
    return targets + [name for name in BESIDE if name in found]


def machine() -> dict[str, Any]:
    """What it runs on."""
    cpu, memory = "", 0
    info, kernel = Path("/proc/cpuinfo"), Path("/proc/meminfo")
    if info.is_file():
        models = [line.partition(":")[2].strip() for line in info.read_text().splitlines() if "model name" in line]
        cpu = models[0] if models else ""
    if kernel.is_file():
        memory = int(kernel.read_text().split()[1]) // 1024**2
    about: dict[str, Any] = {
        "cpu": cpu, "cores": os.cpu_count(), "memory_gb": memory, "kernel": platform.release(),
        "python": platform.python_version(), "load_before": round(os.getloadavg()[0], 2),
    }  # fmt: skip
    for name in _LIBRARIES:
        with suppress(PackageNotFoundError):
            about[name] = version(name)
    return about


def run(
    which: Sequence[str], wish: Wish, shows: Shows, done: Callable[[dict[str, Any]], None],
    package: str = "benchmarks", keeps: Callable[[dict[str, Any]], None] = lambda _: None,
) -> dict[str, Any]:  # fmt: skip
    """Runs them all.

    Args:
        which: names.
        wish: how.
        shows: hears where it is, about once a second.
        done: hears each report as soon as it is there.
        package: where the modules are.
        keeps: is given the document as it stands after each benchmark.

    Returns:
        The document: machine, date, and the reports. One that failed is there with its reason under `failed`.
    """
    document: dict[str, Any] = {"machine": machine(), "quick": wish.quick, "at": _now(), "seconds": 0.0, "reports": []}
    for name in which:
        report = run_one(name, wish, shows, package)
        document["reports"].append(report)
        document["seconds"] = round(document["seconds"] + report["seconds"], 1)
        keeps(document)
        done(report)
        if report["failed"] == "interrupted":
            break
    return document


@contextmanager
def interruptible() -> Iterator[None]:
    """Whoever ends the run by SIGTERM or SIGHUP interrupts it, as ctrl-C does: nothing that it started is left."""

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def run_one(name: str, wish: Wish, shows: Shows, package: str = "benchmarks") -> dict[str, Any]:
    """Runs one in a process of its own; never raises for what goes wrong there."""
    flags = ["quick"] * wish.quick + ["install-peers"] * wish.install_peers
    at, began = _now(), time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.one", package, name, *flags],
        stdout=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    try:
        found = _heard(process, name, wish.limit, shows)
    except KeyboardInterrupt:
        found = {"failed": "interrupted"}
    finally:
        _end(process)
    seconds = round(time.monotonic() - began, 1)
    blank = {"id": name.upper(), "title": "", "setup": "", "lines": [], "verified": [], "skipped": [], "notes": {},
             "canary_ms": None, "failed": ""}  # fmt: skip
    return {**blank, **found, "name": name, "at": at, "seconds": seconds}


def _heard(process: subprocess.Popen[str], name: str, limit: float, shows: Shows) -> dict[str, Any]:
    """What the process tells, until its report."""
    told: queue.Queue[str] = queue.Queue()

    def listens() -> None:
        assert process.stdout is not None
        for line in process.stdout:
            told.put(line)
        told.put("")

    threading.Thread(target=listens, daemon=True).start()
    began, step = time.monotonic(), "starts"
    while (elapsed := time.monotonic() - began) < limit:
        shows(name, step, elapsed)
        try:
            line = told.get(timeout=min(1.0, limit - elapsed + 0.01))
        except queue.Empty:
            continue
        if not line:
            return {"failed": f"its process ended with {process.wait()} and without a report"}
        kind, value = json.loads(line)
        if kind == "report":
            return dict(value)
        if kind == "failed":
            return {"failed": str(value)}
        step = str(value)
    return {"failed": f"no end within {limit:.0f} s; the last step was: {step}"}


def _end(process: subprocess.Popen[str]) -> None:
    """Ends it and whatever it started: asked first, so that servers and their folders go, then all that is left."""
    if process.poll() is None:
        with suppress(subprocess.TimeoutExpired):
            process.wait(5)
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            process.wait(_TO_END)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    if process.stdout is not None:
        process.stdout.close()


def verdicts(document: dict[str, Any]) -> dict[str, int]:
    """How many targets are PASS and SHORT, how many benchmarks FAILED, and how much could not be compared."""
    reports = document["reports"]
    of_lines = [line["verdict"] for report in reports for line in report["lines"]]
    return {
        "PASS": of_lines.count("PASS"), "SHORT": of_lines.count("SHORT"),
        "FAILED": sum(bool(report["failed"]) for report in reports),
        "SKIPPED": sum(len(report["skipped"]) for report in reports),
    }  # fmt: skip


def exit_code(document: dict[str, Any], *, strict: bool) -> int:
    """0 where every benchmark ran; with `strict` only where every target was compared and met as well."""
    counts = verdicts(document)
    return int(bool(counts["FAILED"] or (strict and (counts["SHORT"] or counts["SKIPPED"]))))


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
