"""Fills a store of P7's sizes: customers with facts, taken in by the hub's own services in this process, SQLite, FULL.

Run by `workers.Worker("filler")`. Everybody's facts but the last come close together, as those of a customer do; the
last comes anywhere, as those of a crowd do. The fold is the hub's: nothing is written past it. Contexts that are to be
read as they are kept are read first, and written as the hub writes one that it lets go of.
"""

from __future__ import annotations

import asyncio
import logging
import random
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Final

import structlog
from segue.domain.identifier import Identifier
from segue.v1 import fact_pb2
from segue.wire import fact_from_wire
from segue_hub.app import Hub
from segue_hub.checking.plan_check import check_plan, read_directory
from segue_hub.cli.serve import _tune
from segue_hub.limits import Limits
from segue_hub.services.head import Head
from segue_hub.services.stored_content import stored
from segue_hub.settings import Settings
from segue_hub.storage.ports import Checkpoint, Unit

from . import load
from .hub import PLAN
from .workers import serve

BATCH: Final = 512
IN_FLIGHT: Final = 6
BLOCK: Final = 2_000
"""Customers whose facts come close together."""
SPACING: Final = 400
"""Microseconds between two facts of the log."""
SEED: Final = 7


def facts_of(customers: int, each: int, began: int) -> Iterator[fact_pb2.Fact]:
    """The log: each customer's first facts in blocks of customers, everybody's last one in no order."""
    chance, ordinal = random.Random(SEED), 0
    numbers = list(range(1, customers + 1))
    blocks = [numbers[start : start + BLOCK] for start in range(0, customers, BLOCK)]
    rounds = [block for block in blocks for _ in range(each - 1)]
    chance.shuffle(numbers)
    for block in (*rounds, numbers):
        for customer in block:
            ordinal += 1
            yield load.fact(chance, customer, ordinal, began + ordinal * SPACING)


async def fill(path: Path, customers: int, each: int, *, say: bool) -> float:
    """Makes the store; returns seconds."""
    document = check_plan(read_directory(PLAN)).document
    if document is None:
        raise RuntimeError("the benchmarks' plan is refused")
    patient = Limits(queue_ms=60_000)  # whatever else the machine does: nobody waits for an answer here
    hub = Hub(Settings(store=path, insecure=True, port=0, http_port=None, limits=patient))
    await hub.start()
    await hub.plans.push(document, {}, "bench", "")
    grant, total = hub.plans.current.grant("bench"), customers * each
    source = facts_of(customers, each, time.time_ns() // 1000 - (total + 1_000_000) * SPACING)
    began, done, told = time.perf_counter(), 0, time.perf_counter()

    async def publish() -> None:
        nonlocal done, told
        while True:
            messages = list(islice(source, BATCH))
            if not messages:
                return
            results = await hub.ingest.publish([fact_from_wire(m) for m in messages], grant, messages=messages)
            if any(result.status != "ACCEPTED" for result in results):
                raise RuntimeError(f"not accepted: {results[0]}")
            done += len(results)
            if say and time.perf_counter() - told > 10:
                told = time.perf_counter()
                pace = done / (told - began)
                print(f"{customers:,} customers: {done:,} of {total:,} facts, {pace:,.0f}/s", file=sys.stderr)

    await asyncio.gather(*(publish() for _ in range(IN_FLIGHT)))
    await hub.stop(grace=0.0)
    return time.perf_counter() - began


def make(path: str, customers: int, each: int) -> float:
    """Fills a store that is not there yet, as the hub's own process would: seconds."""
    _tune()
    return asyncio.run(fill(Path(path), customers, each, say=True))


async def write(path: Path, customers: Sequence[int]) -> int:
    """Writes the contexts of customers whose newest facts are not in theirs; returns how many.

    Raises:
        RuntimeError: one of them is not known, or was not written.
    """
    hub = Hub(Settings(store=path, insecure=True, port=0, http_port=None))
    await hub.start()
    await hub.sweep.idle()
    contexts, plan, outdated = hub.contexts, hub.plans.current, list[int]()
    for number in customers:
        known = contexts.find(Identifier("account", f"A-{number:07d}"))
        if known is None:
            raise RuntimeError(f"nobody is known by A-{number:07d}")
        if contexts.stored(known.customer) is None:
            outdated.append(known.customer)
    for start in range(0, len(outdated), BATCH):
        heads = {customer: contexts.glance(customer) for customer in outdated[start : start + BATCH]}

        def kept(unit: Unit, position: int, heads: Mapping[int, Head] = heads) -> int:
            for customer, head in heads.items():
                folded_as, data = plan.folded_as(head.content.at), stored(head.content, plan)
                unit.checkpoint(customer, Checkpoint(head.position, folded_as, data))
            return position

        await hub.ingest.exclusively(kept)
    if missing := [customer for customer in outdated if contexts.stored(customer) is None]:
        raise RuntimeError(f"{len(missing)} contexts were not written")
    await hub.stop(grace=0.0)
    return len(outdated)


def keep(path: str, customers: Sequence[int]) -> int:
    """See `write`."""
    return asyncio.run(write(Path(path), customers))


if __name__ == "__main__":
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    serve({"make": make, "keep": keep})
