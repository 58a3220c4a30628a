"""What a native part would buy: the pure core as it is, against the same source compiled by mypyc with gcc.

A prototype that is measured and thrown away: it is built into a temporary folder from this tree's own source, and both
run in a process each, A B A B, by the processor time of their thread. ADR 0017 is decided by it.
"""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from segue_hub.checking.plan_check import check_plan, read_directory

from . import progress
from .hub import PLAN
from .measure import Line, Report, paired_ratio, pairs
from .workers import ROOT, Worker

CORE: Final = ROOT / "sdk" / "src" / "segue"
MODULES: Final = (
    "activity", "content", "context", "fact", "fold", "identifier", "journey", "projection", "recognition", "scope",
    "section", "trait",
)  # fmt: skip
"""What a fold, a checkpoint and a function's questions run through."""
_BUILD: Final = """
import sys
from mypyc.build import mypycify
from setuptools import setup
modules = mypycify([*sys.argv[3:], "--follow-imports=silent"], opt_level="2", group_name="segue_domain")
sys.argv[3:] = []
setup(name="segue-domain", ext_modules=modules)
"""
FIGURES: Final = {
    "step": "one fact folded, us", "fact from bytes": "a stored fact made an object, us",
    "encode": "a checkpoint written, us", "decode": "a checkpoint read, us",
    "reads": "a context made and read by three conditions, us",
}  # fmt: skip


def run(*, quick: bool = False) -> Report:
    """Measures."""
    rounds, customers, each = (3, 100, 40) if quick else (9, 300, 100)
    report = Report(
        "native", "the pure core compiled by mypyc against itself interpreted",
        f"a process each, processor time of its thread; {customers} customers of {each} facts, the plan of P3; {rounds}"
        " pairs",
    )  # fmt: skip
    if reason := unavailable():
        report.skipped.append(reason)
        return report
    document = check_plan(read_directory(PLAN)).document
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="segue-native-")))
        began = time.perf_counter()
        size = build(folder, MODULES)
        report.notes["built in, s"] = round(time.perf_counter() - began)
        report.notes["compiled modules, and megabytes of them"] = f"{len(MODULES)}, {size / 1e6:.1f}"
        workers = {
            "interpreted": stack.enter_context(Worker("folding", path=CORE.parent)),
            "compiled": stack.enter_context(Worker("folding", path=folder)),
        }
        for name, worker in workers.items():
            said = worker.ask("open", document=document, customers=customers, each=each)["core"]
            if said != name:
                raise RuntimeError(f"the {name} core says that it is {said}")
        digests = {worker.ask("digest") for worker in workers.values()}
        if len(digests) != 1:
            raise RuntimeError("compiled and interpreted give different contexts")
        report.verified.append(f"{customers} contexts are the same bytes from both, and both say which they are")
        series, report.canary = pairs(rounds, {name: _side(worker) for name, worker in workers.items()})
    for figure, title in FIGURES.items():
        ours, other = series["compiled"][figure], series["interpreted"][figure]
        report.lines.append(Line("native", title, ours, other, "interpreted", paired_ratio(other, ours)))
    return report


def unavailable() -> str:
    """Why it cannot be built here; empty where it can."""
    missing = [name for name in ("mypyc", "setuptools") if importlib.util.find_spec(name) is None]
    missing += [] if shutil.which("gcc") else ["gcc"]
    return f"not built: {', '.join(missing)} not found" if missing else ""


def build(folder: Path, modules: tuple[str, ...]) -> int:
    """Compiles these modules of the core into a copy of the SDK; returns the bytes of what came out.

    Raises:
        RuntimeError: the compiler refused.
    """
    progress.step(f"compiling {len(modules)} modules with mypyc")
    shutil.copytree(CORE, folder / "segue", ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "build_core.py").write_text(_BUILD, encoding="utf-8")
    paths = [f"segue/domain/{module}.py" for module in modules]
    command = [sys.executable, "build_core.py", "build_ext", "--inplace", *paths]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"mypyc refused: {(done.stderr or done.stdout)[-1000:]}")
    return sum(path.stat().st_size for path in folder.rglob("*.so"))


def _side(worker: Worker) -> Callable[[], Mapping[str, float]]:
    def side() -> Mapping[str, float]:
        found: dict[str, float] = worker.ask("measure")
        return found

    return side
