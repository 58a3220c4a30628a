"""A store full of customers who are all on disk: what P6 reads of.

Owns making it, through the hub's own services in this process: every fact is validated, resolved, folded and fsynced as
any other, and every context is written as the hub writes one that it lets go of. Kept between runs where a folder is
named; what is there is taken as it is only where it was finished by the same plan, and counts right.
"""

from __future__ import annotations

import asyncio
import gc
import itertools
import json
import random
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from segue.domain.fact import Fact
from segue.domain.grant import Grant
from segue.v1 import fact_pb2
from segue.wire import fact_from_wire
from segue_hub.app import Hub
from segue_hub.checking.plan_check import check_plan, read_directory
from segue_hub.services.admission import Result
from segue_hub.services.failure import Refusal
from segue_hub.settings import Settings

from . import load
from .hub import PLAN

EACH: Final = 4
"""Facts of each customer: a context of about one KB, as a touchpoint gets it."""
BATCH: Final = 1000
IN_FLIGHT: Final = 4
HEADS: Final = 4_000
"""Live contexts while it is filled: all others are on disk already."""
DONE: Final = "done.json"


def facts_of(customers: int, began: int) -> Iterator[fact_pb2.Fact]:
    """Everybody's facts, one customer after the other."""
    chance, ordinal = random.Random(6), 0
    for customer in range(1, customers + 1):
        for number in range(EACH):
            ordinal += 1
            yield load.fact(chance, customer, ordinal, began + number * 60_000_000 + customer)


def made(folder: Path, customers: int) -> tuple[Path, float]:
    """The store, and the seconds that it took now; 0 where it was kept.

    Args:
        folder: where it is, or is to be kept.
        customers: how many.
    """
    document = check_plan(read_directory(PLAN)).document
    if document is None:
        raise RuntimeError("the benchmarks' plan is refused")
    path, done = folder / "segue.db", folder / DONE
    wanted = {"customers": customers, "facts": customers * EACH, "plan": json.dumps(document, sort_keys=True)}
    if done.is_file() and json.loads(done.read_text(encoding="utf-8")) == wanted:
        return path, 0.0
    folder.mkdir(parents=True, exist_ok=True)
    for old in (done, *folder.glob("segue.db*")):
        old.unlink(missing_ok=True)
    began = time.perf_counter()
    thresholds = gc.get_threshold()
    gc.set_threshold(20_000, 1_000_000, 1_000_000)  # as `segue-hub serve` does
    try:
        asyncio.run(_fill(path, document, customers))
    finally:
        gc.set_threshold(*thresholds)
    done.write_text(json.dumps(wanted), encoding="utf-8")
    return path, time.perf_counter() - began


async def _fill(path: Path, document: Any, customers: int) -> None:
    hub = Hub(Settings(store=path, insecure=True, port=0, http_port=None, heads=HEADS))
    await hub.start()
    await hub.plans.push(document, {}, "bench", "")
    await hub.sweep.idle()
    grant, total, done = hub.plans.current.grant("bench"), customers * EACH, 0
    source = facts_of(customers, time.time_ns() // 1000 - 86_400_000_000)
    began = told = time.perf_counter()

    async def publish() -> None:
        nonlocal done, told
        while messages := list(itertools.islice(source, BATCH)):
            facts = [fact_from_wire(message) for message in messages]
            results = await _published(hub, facts, grant, messages)
            if any(result.status != "ACCEPTED" for result in results):
                raise RuntimeError(f"not accepted: {results[0]}")
            done += len(facts)
            if time.perf_counter() - told > 5:
                told = time.perf_counter()
                pace = done / (told - began)
                print(f"filling: {done:,} of {total:,} facts, {pace:,.0f}/s", file=sys.stderr)

    await asyncio.gather(*(publish() for _ in range(IN_FLIGHT)))
    await _keep_all(hub)
    counts = hub.store.counts()
    if (counts["facts"], counts["customers"], counts["checkpoints"]) != (total, customers, customers):
        raise RuntimeError(f"{total} facts of {customers} customers were put in: {counts}")
    await hub.stop(grace=0.0)


async def _published(hub: Hub, facts: list[Fact], grant: Grant, messages: list[fact_pb2.Fact]) -> list[Result]:
    """Publishes a batch; comes back where the hub has too much to write, as its clients do."""
    while True:
        try:
            return await hub.ingest.publish(facts, grant, messages=messages)
        except Refusal as refusal:
            if refusal.code != "OVERLOADED":
                raise
            await asyncio.sleep(refusal.retry_after_ms / 1000)


async def _keep_all(hub: Hub) -> None:
    """Has those written who are live still."""
    contexts = hub.contexts
    live = list(contexts._heads)

    def write(unit: Any, position: int) -> int:
        for customer, checkpoint in itertools.chain.from_iterable(iter(contexts.checkpoints, [])):
            unit.checkpoint(customer, checkpoint)
        return position

    await hub.ingest.exclusively(write)
    contexts._heads.clear()
    contexts._limit = 0
    for start in range(0, len(live), 500):
        for customer in live[start : start + 500]:
            contexts.read(customer)
        await hub.ingest.exclusively(write)
