"""Stores of growing sizes, for P6, P7 and P12: made once by the hub's own ingest, or those of an earlier run.

Owns where they are. `SEGUE_BENCH_STORES` names a folder in which they are kept; where it is not set they are temporary:
a run of several benchmarks fills each of them once (`shared`).
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from .progress import step
from .workers import Worker

EACH: Final = 10
"""Facts of each customer."""
FULL: Final = (10_000, 100_000, 1_000_000)
QUICK: Final = (2_000, 10_000)
KEPT: Final = "SEGUE_BENCH_STORES"
_MARK: Final = "filled.json"


@contextmanager
def shared() -> Iterator[None]:
    """Whatever runs inside, also in other processes, uses the same stores, which are gone afterwards unless kept."""
    if os.environ.get(KEPT):
        yield
        return
    with tempfile.TemporaryDirectory(prefix="segue-stores-") as folder:
        os.environ[KEPT] = folder
        try:
            yield
        finally:
            del os.environ[KEPT]


@contextmanager
def stores(sizes: Sequence[int]) -> Iterator[dict[int, Path]]:
    """The files by size, each filled with so many customers, and nobody serving them."""
    with ExitStack() as stack:
        kept = os.environ.get(KEPT)
        folder = Path(kept or stack.enter_context(tempfile.TemporaryDirectory(prefix="segue-growth-")))
        found = {size: folder / f"{size}x{EACH}" / "segue.db" for size in sizes}
        missing = [size for size, path in found.items() if not path.with_name(_MARK).is_file()]
        if missing:
            step(f"fills stores of {', '.join(f'{size:,}' for size in missing)} customers")
        workers = [(size, stack.enter_context(Worker("filler"))) for size in missing]
        for size, worker in workers:
            for rest in found[size].parent.glob("*"):
                rest.unlink()
            worker.send("make", path=str(found[size]), customers=size, each=EACH)
        for size, worker in workers:
            seconds = worker.receive()
            told = {"facts": size * EACH, "seconds": round(seconds, 1), "bytes": found[size].stat().st_size}
            found[size].with_name(_MARK).write_text(json.dumps(told), encoding="utf-8")
            worker.close()
        yield found


def keep_all(store: Path, customers: Sequence[int]) -> int:
    """Has contexts written, as the hub writes one that it lets go of; of how many customers they were not before."""
    step(f"has the contexts of {len(customers):,} customers written")
    with Worker("filler") as worker:
        return int(worker.ask("keep", path=str(store), customers=list(customers)))


def filled(store: Path) -> dict[str, float]:
    """Of a store as it was filled: facts, seconds and bytes."""
    told: dict[str, float] = json.loads(store.with_name(_MARK).read_text(encoding="utf-8"))
    return told
