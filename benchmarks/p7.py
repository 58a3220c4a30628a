"""P7: growth. What P3, P4 and P6 measure, with 10,000, 100,000 and a million customers of ten facts each.

One hub for each size, all of them up at once and asked in turn, so that what the machine does meanwhile hits all alike.
Each was just started: nobody is in its memory, so that what is read comes from the file, and the file from the system's
cache. The smallest size is the peer; the targets are ratios to it, and resident memory. A full run draws the curves.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import apsw
from segue.v1 import context_pb2, context_pb2_grpc, event_service_pb2, event_service_pb2_grpc, fact_pb2

from . import load
from .curves import Panel, Point, draw
from .growth import EACH, FULL, QUICK, filled, stores
from .hub import file_facts
from .measure import Line, Report, Series, canary, paired_ratio, percentile
from .progress import step
from .restart import Restarted
from .workers import ROOT, Worker

CURVES: Final = ROOT / "docs" / "explanation" / "growth.svg"
WITHIN: Final = 1.25
MEMORY: Final = 300.0
"""Megabytes resident, with the most customers."""
IN_FLIGHT: Final = 4
FIGURES: Final = {
    "facts": "facts/s, batches of 256",
    "p99": "acknowledgement p99, ms",
    "alone": "one fact alone, p50 ms",
    "read": "cold read, p50 ms",
}


class Grown:
    """One size: its hub, and who asks it.

    Args:
        stack: ends both.
        store: the file.
        size: customers.
    """

    def __init__(self, stack: ExitStack, store: Path, size: int) -> None:
        self.size, self.store, self.sent = size, store, 0
        self.facts_before = file_facts(store)["facts"]
        with Restarted(store):
            pass  # makes the admin key, and whatever else the first start leaves behind
        self.hub = stack.enter_context(Restarted(store))
        self._metadata = (("authorization", f"Bearer {self.hub.key}"),)
        self._contexts = context_pb2_grpc.ContextServiceStub(self.hub.channel)
        self._events = event_service_pb2_grpc.EventServiceStub(self.hub.channel)
        self._load = stack.enter_context(Worker("load"))
        self._load.ask("connect", address=self.hub.address, key=self.hub.key)
        self._unread = list(range(1, size + 1))
        random.Random(size).shuffle(self._unread)
        self.values: dict[str, list[float]] = {name: [] for name in FIGURES}

    def read(self, count: int) -> None:
        """Contexts of customers that nobody asked for yet."""
        took = []
        for _ in range(count):
            customer = self._unread.pop()
            identifier = fact_pb2.Identifier(kind="account", value=f"A-{customer:07d}")
            began = time.perf_counter()
            request = context_pb2.GetContextRequest(identifier=identifier)
            context = self._contexts.GetContext(request, timeout=30, metadata=self._metadata).context
            took.append((time.perf_counter() - began) * 1000)
            facts = next(json.loads(section.data)[2] for section in context.sections if section.name == "envelope")
            if facts < EACH or not context.version:
                raise RuntimeError(f"customer {customer} of {self.size} has {facts} facts")
        self.values["read"].append(percentile(took, 0.5))

    def tell_alone(self, count: int, seed: int) -> None:
        """Facts one by one, each acknowledged before the next."""
        chance, took = random.Random(seed), []
        for number in range(count):
            fact = load.fact(chance, chance.randint(1, self.size), number, time.time_ns() // 1000)
            began = time.perf_counter()
            request = event_service_pb2.PublishEventsRequest(facts=[fact])
            answer = self._events.PublishEvents(request, timeout=30, metadata=self._metadata)
            took.append((time.perf_counter() - began) * 1000)
            if answer.results[0].status != event_service_pb2.FACT_STATUS_ACCEPTED:
                raise RuntimeError(f"not accepted: {answer.results[0]}")
        self.sent += count
        self.values["alone"].append(percentile(took, 0.5))

    def tell_many(self, count: int, seed: int) -> None:
        """Facts of customers at random, as P3."""
        self._load.ask("prepare", facts=count, customers=self.size, first=0, seed=seed)
        found = self._load.ask("run", in_flight=IN_FLIGHT)
        self.sent += int(found["facts"])
        self.values["facts"].append(found["per_second"])
        self.values["p99"].append(found["p99_ms"])

    def verify(self) -> None:
        """What was acknowledged is in the file, once the hub has ended."""
        self.hub.end()
        stored = file_facts(self.store)["facts"]
        if stored != self.facts_before + self.sent:
            raise RuntimeError(f"{stored} facts are stored, {self.facts_before} + {self.sent} were acknowledged")


def run(*, quick: bool = False) -> Report:
    """Measures."""
    sizes, rounds, many = (QUICK, 3, 10_000) if quick else (FULL, 5, 60_000)
    report = Report(
        "P7", "growth: P3, P4 and P6 with more and more customers, of ten facts each",
        f"a hub for each of {', '.join(f'{size:,}' for size in sizes)} customers, all up at once, just started, asked"
        f" in turn; {rounds} rounds, {many:,} facts a round and size; the peer is the smallest size",
    )  # fmt: skip
    canaries = [canary()]
    with stores(sizes) as found, ExitStack() as stack:
        grown = {size: Grown(stack, found[size], size) for size in sizes}
        phases = (  # what is read was not told of before: it is not in memory
            ("read", lambda one, _: one.read(200)), ("alone", lambda one, seed: one.tell_alone(100, seed)),
            ("many", lambda one, seed: one.tell_many(many, seed)),
        )  # fmt: skip
        for name, phase in phases:
            for seed in range(rounds):
                for size, one in grown.items():
                    step(f"round {seed + 1} of {rounds}: {name}, {size:,} customers")
                    phase(one, seed)
                canaries.append(canary())
        memory = {size: one.hub.status() for size, one in grown.items()}
        for one in grown.values():
            one.verify()
        series = {size: {n: Series(values) for n, values in one.values.items()} for size, one in grown.items()}
        report.lines += _lines(series, memory)
        report.verified.append(
            "acknowledged = rows in the file, for every size; every context that was read has a version and its"
            f" {EACH} facts or more"
        )
        # Kept stores grow with every run: sizes are alike where these are.
        facts = {f"{size:,}": round(one.facts_before / size, 1) for size, one in grown.items()}
        report.notes["facts of a customer before"] = facts
        report.notes["on disk"] = {f"{size:,}": _whole(path) for size, path in found.items()}
        report.notes["where the bytes are"] = _bytes_of(found[sizes[-2]], sizes[-2])
        report.notes["memory"] = {f"{size:,}": told for size, told in memory.items()}
        if not quick:
            starts = {size: one.hub.seconds for size, one in grown.items()}
            CURVES.write_text(_drawn(series, memory, starts), encoding="utf-8")
            report.notes["curves"] = str(CURVES.relative_to(ROOT))
    report.canary = Series(canaries)
    return report


def _lines(series: Mapping[int, Mapping[str, Series]], memory: Mapping[int, Mapping[str, int]]) -> list[Line]:
    smallest, *others = series
    lines = [Line("P7", f"{smallest:,} customers: {title}", series[smallest][n]) for n, title in FIGURES.items()]
    for size in others:
        for name, title in FIGURES.items():
            ours, peer, rate = series[size][name], series[smallest][name], name == "facts"
            lines.append(
                Line("P7", f"{size:,}: {title}", ours, peer, f"{smallest:,} customers", paired_ratio(ours, peer),
                     None if name == "p99" else 1 / WITHIN if rate else WITHIN, at_least=rate,
                     target="" if name == "p99" else f"at least {1 / WITHIN:.2f}x" if rate else f"at most {WITHIN}x")
            )  # fmt: skip
    for size, told in memory.items():
        last = size == max(memory)
        lines.append(
            Line("P7", f"{size:,}: resident at the end, MB", Series([told["rss_mb"]]), needed=MEMORY if last else None,
                 at_least=False, target="under 300 MB" if last else "")
        )  # fmt: skip
    return lines


def _whole(store: Path) -> str:
    told = filled(store)
    return (
        f"{told['bytes'] / 1e6:,.0f} MB for {told['facts']:,.0f} facts: {told['bytes'] / told['facts']:.0f} B a fact,"
        f" {told['bytes'] / told['facts'] * EACH:,.0f} B a customer with all of hers, filled in {told['seconds']:.0f} s"
    )


def _bytes_of(store: Path, size: int) -> dict[str, str]:
    """Each table and index of a file, by fact or by customer."""
    connection = apsw.Connection(str(store), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        (facts,) = next(connection.execute("SELECT count(*) FROM facts"))
        rows = list(connection.execute("SELECT name, sum(pgsize) FROM dbstat GROUP BY name ORDER BY 2 DESC"))
    finally:
        connection.close()
    of_facts = ("facts", "facts_by_id", "leaf_index", "fresh_leaf_index", "newest_leaf_index")
    found: dict[str, Any] = {}
    for name, count in rows[:9]:
        share, of = (facts, "fact") if name in of_facts else (size, "customer")
        found[name] = f"{count / share:.0f} B a {of}"
    return found


def _drawn(
    series: Mapping[int, Mapping[str, Series]], memory: Mapping[int, Mapping[str, int]], starts: Mapping[int, float]
) -> str:
    smallest = min(series)

    def panel(name: str, title: str, bound: float | None, bound_name: str) -> Panel:
        found = [(size, figures[name]) for size, figures in series.items()]
        points = [Point(size, s.median, min(s.values), max(s.values)) for size, s in found]
        return Panel(title, points, bound, bound_name)

    def plain(title: str, values: Mapping[int, float], bound: float, bound_name: str) -> Panel:
        return Panel(title, [Point(size, value, value, value) for size, value in values.items()], bound, bound_name)

    base = {name: figure.median for name, figure in series[smallest].items()}
    panels = [
        panel("facts", "Facts/s, durable and folded", base["facts"] / WITHIN, "no fewer"),
        panel("alone", "One fact acknowledged, p50 ms", base["alone"] * WITHIN, "no more"),
        panel("read", "Cold read, p50 ms", base["read"] * WITHIN, "no more"),
        plain("Resident memory, MB", {size: told["rss_mb"] for size, told in memory.items()}, MEMORY, "no more"),
        plain("From start until serving, s", starts, 1.0, "no more"),
        panel("p99", "256 facts acknowledged, p99 ms", 100.0, "no more"),
    ]
    return draw("Growth: a hub with more and more customers, of ten facts each", "customers", panels)
