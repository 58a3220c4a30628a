"""`python -m tests.fuzz [TARGET ...] --time 60`: fuzzes under atheris, guided by coverage, for so many seconds each.

Owns the run: each target in a process of its own, beginning with its corpus. An input that raises, hangs, takes more
than 100 ms of the processor or 64 MB is written to `tests/fuzz/findings/` and ends its target's run with 1. Inputs that
reach new code are kept in a temporary folder only, unless `--keep` names one.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).parent
CORPUS = HERE / "corpus"
FINDINGS = HERE / "findings"
CPU = 0.1
MEMORY_MB = 64
NAMES = ("frames", "facts", "expressions", "plans", "mappings", "imports", "journals", "hints", "requests",
         "keys", "names")  # fmt: skip


def one(name: str, folder: str, seconds: int) -> None:
    """Fuzzes one target in this process; does not return."""
    import atheris

    with atheris.instrument_imports(include=["segue", "segue_hub", "tests.fuzz"]):
        from tests.fuzz.targets import TARGETS
    target = TARGETS[name]
    for kept in sorted((CORPUS / name).iterdir()):
        target(kept.read_bytes())  # what is loaded on first use is loaded now

    def timed(data: bytes) -> None:
        began, most = time.thread_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        target(data)
        took = time.thread_time() - began
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - most) // 1024
        if grown > MEMORY_MB:
            raise MemoryError(f"{grown} MB for {len(data)} bytes")
        if took > CPU:  # once more: the first time may have paid for something else
            began = time.thread_time()
            target(data)
            took = min(took, time.thread_time() - began)
        if took > CPU:
            raise TimeoutError(f"{took * 1000:.0f} ms for {len(data)} bytes")

    FINDINGS.mkdir(exist_ok=True)
    atheris.Setup(
        [sys.argv[0], folder, str(CORPUS / name), f"-max_total_time={seconds}", "-max_len=65536", "-timeout=10",
         "-rss_limit_mb=2048", f"-artifact_prefix={FINDINGS}/{name}-",
         "-print_final_stats=1"],
        timed,
    )  # fmt: skip
    atheris.Fuzz()


def main() -> int:
    """Runs the targets one after the other."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("targets", nargs="*", default=NAMES)
    parser.add_argument("--time", type=int, default=60, help="seconds for each target")
    parser.add_argument("--keep", default="", help="a folder for inputs that reach new code")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    unknown = sorted(set(asked.targets) - set(NAMES))
    if unknown:
        parser.error(f"no target {', '.join(unknown)}; there are {', '.join(NAMES)}")
    if asked.here:
        one(asked.targets[0], asked.keep, asked.time)
    failed = []
    for name in asked.targets:
        with tempfile.TemporaryDirectory(prefix=f"segue-fuzz-{name}-") as folder:
            kept = Path(asked.keep or folder) / name
            kept.mkdir(parents=True, exist_ok=True)
            command = [sys.executable, "-m", "tests.fuzz", name, "--here", "--time", str(asked.time)]
            done = subprocess.run([*command, "--keep", str(kept)], capture_output=True, text=True, check=False)
            lines = done.stderr.splitlines()
            last = next((line.split() for line in reversed(lines) if " cov: " in line), ["#?"])
            shown = " ".join(last[last.index("cov:") :][:4]) if "cov:" in last else ""
            outcome = "found something" if done.returncode else "nothing found"
            print(f"F19 {name}: {outcome}, {last[0][1:]} inputs in {asked.time} s, {shown}", flush=True)
            if done.returncode:
                failed.append(name)
                print("\n".join((done.stdout + "\n" + done.stderr).splitlines()[-60:]))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
