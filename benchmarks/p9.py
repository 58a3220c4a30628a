"""P9: refolding. A new plan over the whole log, a late fact in a long life, and small inversions.

In this process and without a network, since what is measured is folding: the hub's own services on a SQLite file, facts
as the store keeps them, the plan of P3 (3 maps, 10 audiences). No peer folds a context; the targets are absolute.
"""

from __future__ import annotations

import asyncio
import gc
import random
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import linear_regression
from typing import Any, Final

from segue.domain.fact import Fact
from segue.domain.fold import fold
from segue.domain.plan import Plan
from segue.domain.section import encode
from segue.wire import fact_from_wire
from segue_hub.app import Hub
from segue_hub.checking.plan_check import check_plan, read_directory
from segue_hub.settings import Settings

from . import load
from .hub import PLAN
from .measure import Line, Report, Series, canary

BATCH: Final = 1000
LONG: Final = "A-9999999"
"""Whoever has the long life."""


class Workshop:
    """A hub without anybody connected to it, and what it has to fold."""

    def __init__(self, path: Path, document: Any) -> None:
        self._loop = asyncio.new_event_loop()
        self._path = path
        self.document = document
        self.hub = self.run(self._started())

    async def _started(self) -> Hub:
        hub = Hub(Settings(store=self._path, insecure=True, port=0, http_port=None))
        await hub.start()
        await hub.plans.push(self.document, {}, "bench", "")
        await hub.sweep.idle()
        return hub

    def run(self, work: Any) -> Any:
        return self._loop.run_until_complete(work)

    def take(self, facts: Sequence[Fact]) -> None:
        """Takes facts in; every one has to be accepted."""
        grant = self.hub.plans.current.grant("bench")

        async def publish() -> None:
            for start in range(0, len(facts), BATCH):
                results = await self.hub.ingest.publish(facts[start : start + BATCH], grant)
                if any(result.status != "ACCEPTED" for result in results):
                    raise RuntimeError(f"not accepted: {results[0]}")

        self.run(publish())

    def push(self, document: Any) -> float:
        """Seconds from a new plan to the last context that is seen by it and kept."""

        async def enact() -> float:
            began = time.perf_counter()
            await self.hub.plans.push(document, {}, "bench", "")
            await self.hub.sweep.idle()
            return time.perf_counter() - began

        return float(self.run(enact()))

    def keep_all(self) -> None:
        """Has every context written to the store, as where there are more customers than fit in memory."""
        contexts = self.hub.contexts
        limit, contexts._limit = contexts._limit, 0
        contexts._heads.clear()

        def write(unit: Any, position: int) -> int:
            while kept := contexts.checkpoints():
                for customer, checkpoint in kept:
                    unit.checkpoint(customer, checkpoint)
            return position

        async def let_go() -> None:
            for number, customer in enumerate(list(contexts.customers()), 1):
                contexts.read(customer)
                if number % 500 == 0:
                    await self.hub.ingest.exclusively(write)
            await self.hub.ingest.exclusively(write)

        self.run(let_go())
        contexts._limit = limit

    def close(self) -> None:
        self.run(self.hub.stop(grace=0.0))
        self._loop.close()


def _facts(customers: int, each: int, began: int) -> list[Fact]:
    """A log as it comes: everybody's facts in turn."""
    chance = random.Random(9)
    return [
        fact_from_wire(
            load.fact(chance, customer, number * customers + customer, began + number * 60_000_000 + customer)
        )
        for number in range(each)
        for customer in range(1, customers + 1)
    ]


def _life(count: int, began: int) -> list[Fact]:
    """One customer's, in order, a minute apart."""
    chance = random.Random(10)
    return [fact_from_wire(load.fact(chance, 9_999_999, n, began + n * 60_000_000)) for n in range(count)]


def _same(hub: Hub, facts: Sequence[Fact], name: str) -> str:
    """What the hub holds of a customer is what one fold of her facts gives, byte for byte."""
    plan = hub.plans.current
    known = hub.contexts.find(facts[0].identifiers[0])
    if known is None:
        raise RuntimeError(f"nobody is known by {name}")
    held = encode(hub.contexts.read(known.customer).content, plan)
    if held != encode(fold(plan, hub.contexts.facts(known.customer)), plan):
        raise RuntimeError(f"{name}: the content is not the fold of the facts")
    return f"{name}: {hub.contexts.read(known.customer).content.facts} facts, content equal to one fold of all"


def _refold(workshop: Workshop, facts: int, rounds: int) -> dict[str, Series]:
    """Every customer folded anew from the log, by the fold alone and as the sweep after a push does it."""
    hub = workshop.hub
    bare, swept = [], []
    workshop.keep_all()
    for number in range(rounds):
        customers = list(hub.contexts.customers())
        began = time.perf_counter()
        folded = sum(hub.contexts.folded(customer, hub.plans.current).content.facts for customer in customers)
        bare.append(folded / (time.perf_counter() - began))
        if folded != facts:
            raise RuntimeError(f"{folded} facts were folded, {facts} are in the log")
        swept.append(facts / workshop.push({**workshop.document, "timeline": 21 + number}))
        if hub.store.outdated(hub.plans.current.digest) or hub.store.counts()["checkpoints"] != len(customers):
            raise RuntimeError("contexts by the plan before are left")
    return {"bare": Series(bare), "swept": Series(swept)}


def _late(workshop: Workshop, life: list[Fact], behind: int, rounds: int) -> Series:
    """Microseconds until one that comes late is acknowledged, so durable and folded."""
    hub, took = workshop.hub, []
    for number in range(rounds):
        after = life[-behind - 1]
        late = fact_from_wire(
            load.fact(random.Random(number), 9_999_999, 900_000 + number, after.occurred_at + 1 + number)
        )
        known = hub.contexts.find(late.identifiers[0])
        if known is None or hub.contexts.read(known.customer).content.facts < len(life):
            raise RuntimeError("the long life is not all there")
        began = time.perf_counter()
        workshop.take([late])
        took.append((time.perf_counter() - began) * 1e6)
    return Series(took)


def _each(late: dict[int, Series]) -> Series:
    """What each fact behind a late one adds: the slope of the line through all distances, one for each round."""
    return Series(
        [linear_regression(list(late), took).slope for took in zip(*(s.values for s in late.values()), strict=True)]
    )


def _alone(workshop: Workshop, life: list[Fact], rounds: int) -> Series:
    """Microseconds of one fact that sorts last, published alone: what the way there costs."""
    took, last = [], life[-1].occurred_at
    for number in range(rounds):
        newest = fact_from_wire(
            load.fact(random.Random(number), 9_999_999, 800_000 + number, last + 60_000_000 + number)
        )
        began = time.perf_counter()
        workshop.take([newest])
        took.append((time.perf_counter() - began) * 1e6)
    return Series(took)


def _inversions(workshop: Workshop, plan: Plan, count: int, rounds: int) -> dict[str, Series]:
    """Microseconds per fact of a live customer, in order and with each up to eight places late, beside one another."""
    from segue.domain.content import Content
    from segue_hub.services.head import Head

    found: dict[str, list[float]] = {"in order": [], "inverted": []}
    for number in range(rounds):
        life = _life(count, 1_700_000_000_000_000 + number)
        chance = random.Random(number)
        mixed = [fact for _, fact in sorted((place + chance.uniform(0, 8), fact) for place, fact in enumerate(life))]
        late = 0
        for label, facts in (("in order", life), ("inverted", mixed)):
            head = Head(Content(), 0, whole=True)
            began = time.perf_counter()
            ways = [head.apply(plan, fact) for fact in facts]
            seconds = time.perf_counter() - began
            if "" in ways:
                raise RuntimeError("a small inversion was folded from the first fact")
            late = ways.count("late")
            found[label].append(seconds / len(facts) * 1e6)
            if encode(head.content, plan) != encode(fold(plan, life), plan):
                raise RuntimeError("the content is not the fold of the facts")
        found.setdefault("each late", []).append(
            (found["inverted"][-1] - found["in order"][-1]) * count / late + found["in order"][-1]
        )
    return {label: Series(values) for label, values in found.items()}


def run(*, quick: bool = False) -> Report:
    """Measures."""
    customers, each, length, rounds = (500, 40, 2_000, 3) if quick else (2_000, 100, 10_000, 5)
    checked = check_plan(read_directory(PLAN))
    if checked.document is None:
        raise RuntimeError(f"the plan has errors: {checked.problems}")
    began = time.time_ns() // 1000 - 30 * 86_400_000_000
    report = Report(
        "P9", "refold: a new plan over the log, a late fact in a long life, small inversions",
        f"the hub's services in this process, SQLite, nobody connected; {customers} customers of {each} facts and one"
        f" of {length}, {len(checked.document['maps'])} maps, {len(checked.document['audiences'])} audiences;"
        f" {rounds} rounds",
    )  # fmt: skip
    canaries = [canary()]
    thresholds = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(20_000, 1_000_000, 1_000_000)  # as `segue-hub serve` does: no search among all contexts
    with tempfile.TemporaryDirectory(prefix="segue-p9-") as temporary:
        workshop = Workshop(Path(temporary) / "segue.db", checked.document)
        try:
            log, life = _facts(customers, each, began), _life(length, began)
            workshop.take(log)
            refold = _refold(workshop, len(log), rounds)
            canaries.append(canary())
            workshop.take(life)
            alone = _alone(workshop, life, rounds)
            late = {
                behind: _late(workshop, life, behind, rounds) for behind in (length // 100, length // 10, length - 2)
            }
            canaries.append(canary())
            report.verified += [
                f"{len(log)} facts in the log, {len(log)} folded in every round",
                _same(workshop.hub, log[:1], "one of many"),
                _same(workshop.hub, life[:1], "the long life"),
            ]
            inversions = _inversions(workshop, workshop.hub.plans.current, length, rounds)
            canaries.append(canary())
        finally:
            workshop.close()
            gc.set_threshold(*thresholds)
            gc.unfreeze()
    report.canary = Series(canaries)
    report.lines += [
        Line("P9", "refold, facts per second from the log", refold["bare"], needed=100_000, target=">= 100,000"),
        Line("P9", "a new plan, facts per second until all is kept", refold["swept"]),
        Line("P9", "each fact behind a late one, us", _each(late), needed=5.0, at_least=False, target="<= 5"),
        *(Line("P9", f"one fact late by {behind}, durable and folded, us", series) for behind, series in late.items()),
        Line("P9", "one fact that sorts last, durable and folded, us", alone),
        Line("P9", "live, in order, us per fact", inversions["in order"]),
        Line("P9", "live, each up to 8 places late, us per fact", inversions["inverted"]),
        Line("P9", "small inversion, us each", inversions["each late"], target="20 in the kernel"),
    ]  # fmt: skip
    return report
