"""`python -m tests.faults.soak`: runs a soak for hours, or judges one by what it measured so far."""

from __future__ import annotations

import argparse
import json
import random
import tempfile
import threading
from pathlib import Path

from .load import Soak
from .verdict import findings, read, text


def main() -> int:
    """Runs or judges; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.soak", description=__doc__)
    parser.add_argument("--hours", type=float, default=2.5, help="how long")
    parser.add_argument("--visits", type=float, default=5.0, help="of each of the three hosts, a second")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32), help="of the visits")
    parser.add_argument("--out", type=Path, default=Path("build/soak.jsonl"), help="where measurements go")
    parser.add_argument("--judge", action="store_true", help="only judges what is in --out, also while a soak runs")
    asked = parser.parse_args()
    if not asked.judge:
        asked.out.parent.mkdir(parents=True, exist_ok=True)
        asked.out.unlink(missing_ok=True)
        print(f"a soak of {asked.hours:g} hours, seed {asked.seed}; measurements in {asked.out}", flush=True)
        with tempfile.TemporaryDirectory(prefix="segue-soak-") as folder:
            soak = Soak(Path(folder), asked.out, visits=asked.visits)
            done = threading.Event()
            telling = threading.Thread(target=_tell, args=(asked.out, done), daemon=True)
            telling.start()
            hosts = soak.run(asked.hours * 3600, asked.seed)
            done.set()
        for name, told in hosts.items():
            print(f"{name}: {json.dumps(told)}")
        print(f"{soak.counts}; anomalies: {len(soak.anomalies)}", *soak.anomalies[:20], sep="\n  ")
        wrong = [name for name, told in hosts.items() if told["offered"] != told["delivered"] or told["lost"]]
        if soak.anomalies or wrong:
            return 1
    found = findings(read(asked.out))
    print(*(text(each) for each in found), sep="\n")
    faults = [fault for each in found for fault in each.faults]
    print(*faults or ["nothing grows"], sep="\n")
    return 1 if faults else 0


def _tell(out: Path, done: threading.Event) -> None:
    """Every ten minutes, how it stands."""
    while not done.wait(600):
        print(*(text(each) for each in findings(read(out))), sep="\n", flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
