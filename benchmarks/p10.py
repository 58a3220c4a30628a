"""P10: wake-ups. 100,000 deadlines pending, 1,000 falling due each second, told to another process by a cursor.

A phone was bought nearly three days ago, and the activation stalls on the millisecond that the round gives it. Between
that instant and the listener's call lie the hub's wake-up, the derivation, the ledger's fsync, the stream and the SDK.
No peer derives absence; the target is absolute. Beside it, how often a flip is early: asked, and nothing had changed.
"""

from __future__ import annotations

import random
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

import grpc
from segue.domain.derivation import derive
from segue.domain.fold import fold
from segue.domain.plan import Plan
from segue.v1 import event_service_pb2 as pb
from segue.v1 import event_service_pb2_grpc as rpc
from segue.v1 import fact_pb2
from segue.wire import fact_from_wire
from segue_hub.checking.plan_check import check_plan, read_directory

from . import load
from .hub import PLAN, HubProcess
from .measure import Line, Report, Series, canary, percentile
from .workers import Worker, wait_for

STALLS: Final = 3 * 86_400 * 1_000_000
RATE: Final = 1_000
"""Deadlines that fall due each second."""
BESIDE: Final = 2_000
"""Facts each second beside them, in half of the rounds."""
BATCH: Final = 500
LEAD: Final = 25.0
"""Seconds between the beginning of the load and the first deadline."""


def run(*, quick: bool = False) -> Report:
    """Measures."""
    pending, rounds, seconds = (20_000, 2, 3) if quick else (100_000, 6, 8)
    report = Report(
        "P10", "wake-ups: from a deadline's instant until another process was told by a cursor, durable in between",
        f"hub, listener and load in a process each; {pending:,} pending, {RATE:,} due each second, {rounds} rounds of"
        f" {seconds} s, every other one with {BESIDE:,} facts/s beside",
    )  # fmt: skip
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="segue-p10-")))
        hub = stack.enter_context(HubProcess(folder))
        ear = stack.enter_context(Worker("ear"))
        state, key = str(folder / "ear"), hub.key_of("other")
        ear.ask("open", hub=hub.address, key=key, state=state, audience="activation_stalled")
        publish = stack.enter_context(_publishing(hub))
        canaries = [canary()]
        first = time.time_ns() // 1000 + int((8.0 if quick else LEAD) * 1_000_000)
        _buy(publish, pending, first)
        if time.time_ns() // 1000 > first - 1_000_000:
            raise RuntimeError("the load was not in before the first deadline: this machine is too slow for this size")
        found = _rounds(publish, first, rounds, seconds)
        canaries.append(canary())
        due = rounds * seconds * RATE
        heard = wait_for("the last telling", lambda: _all(ear, due))
        _check(heard, first, due, pending)
        for name, beside in (("quiet", False), (f"with {BESIDE:,} facts/s beside", True)):
            series = [_lateness(heard, window) for window, loaded in found if loaded == beside]
            report.lines += [
                Line("P10", f"{name}: p99 after the instant, ms", Series([s["p99"] for s in series]), needed=1000.0,
                     at_least=False, target="under 1,000 ms"),
                Line("P10", f"{name}: p50, ms", Series([s["p50"] for s in series])),
                Line("P10", f"{name}: latest, ms", Series([s["max"] for s in series])),
            ]  # fmt: skip
        report.verified.append(
            f"{len(heard):,} deadlines fell due and as many were told, each once, of their own instants, none early;"
            f" {pending - len(heard):,} still pend"
        )
        report.notes["hub"] = hub.status()
        ear.ask("close")
    report.canary = Series(canaries)
    report.notes["flips that are early"] = early_flips(2_000 if quick else 10_000)
    return report


@contextmanager
def _publishing(hub: HubProcess) -> Iterator[Any]:
    """Publishes facts by the raw stub; every one has to be accepted."""
    channel = grpc.insecure_channel(hub.address)
    stub, metadata = rpc.EventServiceStub(channel), (("authorization", f"Bearer {hub.key}"),)

    def publish(facts: list[fact_pb2.Fact]) -> None:
        answer = stub.PublishEvents(pb.PublishEventsRequest(facts=facts), metadata=metadata, timeout=60)
        if any(result.status != pb.FACT_STATUS_ACCEPTED for result in answer.results):
            raise RuntimeError(f"not accepted: {answer.results[0]}")

    yield publish
    channel.close()


def _fact(type_: str, account: str, ordinal: int, at: int, properties: bytes) -> fact_pb2.Fact:
    return fact_pb2.Fact(
        id=load._id(at // 1000, ordinal), type=type_, occurred_at=at, seq=ordinal, channel="web",
        identifiers=[fact_pb2.Identifier(kind="account", value=account)], event=fact_pb2.Event(properties=properties),
    )  # fmt: skip


def _deadline(first: int, place: int) -> int:
    return first + place * 1_000_000 // RATE


def _buy(publish: Any, pending: int, first: int) -> None:
    """Deadlines a millisecond apart, in no order."""
    places = list(range(pending))
    random.Random(10).shuffle(places)
    for start in range(0, pending, BATCH):
        begins = [(place, _deadline(first, place) - STALLS) for place in places[start : start + BATCH]]
        publish([_fact("device.bought", f"W-{n}", n, at, b'{"device_id":"d"}') for n, at in begins])


def _rounds(publish: Any, first: int, rounds: int, seconds: int) -> list[tuple[tuple[int, int], bool]]:
    """Lets the deadlines pass; returns each round's, from and to, and whether there was a load beside."""
    found = []
    for number in range(rounds):
        begins, beside, stop = first + number * seconds * 1_000_000, number % 2 == 1, threading.Event()
        ends = begins + seconds * 1_000_000
        time.sleep(max(0.0, begins / 1e6 - time.time()))
        loading = threading.Thread(target=_beside, args=(publish, stop))
        if beside:
            loading.start()
        time.sleep(max(0.0, ends / 1e6 - time.time()))
        stop.set()
        if beside:
            loading.join()
        found.append(((begins, ends), beside))
    return found


def _beside(publish: Any, stop: threading.Event) -> None:
    ordinal, began = 0, time.monotonic()
    while not stop.is_set():
        now, some = time.time_ns() // 1000, range(ordinal, ordinal + 100)
        publish([_fact("help.viewed", f"L-{n % 5000}", n, now, b'{"article":"a"}') for n in some])
        ordinal += 100
        stop.wait(max(0.0, began + ordinal / BESIDE - time.monotonic()))


def _all(ear: Worker, count: int) -> list[list[Any]] | None:
    """What was heard, once as many were told as fell due in the rounds."""
    heard: list[list[Any]] = ear.ask("heard")
    return heard if len(heard) >= count else None


def _check(heard: list[list[Any]], first: int, due: int, pending: int) -> None:
    instants = {account: at for account, at, _, left in heard if not left}
    if len(instants) != len(heard):
        raise RuntimeError(f"{len(heard)} tellings of {len(instants)} customers: somebody was told twice, or left")
    wanted = {f"W-{place}": _deadline(first, place) for place in range(pending)}
    wrong = [account for account, at in instants.items() if wanted[account] != at]
    missing = [account for account, at in wanted.items() if at < _deadline(first, due) and account not in instants]
    early = [account for account, at, told_at, _ in heard if told_at < at]
    if wrong or missing or early:
        raise RuntimeError(f"{len(wrong)} of other instants, {len(missing)} never told, {len(early)} early")


def _lateness(heard: list[list[Any]], window: tuple[int, int]) -> dict[str, float]:
    times = [(told_at - at) / 1000 for _, at, told_at, _ in heard if window[0] <= at < window[1]]
    return {"p50": percentile(times, 0.5), "p99": percentile(times, 0.99), "max": max(times)}


def early_flips(customers: int) -> str:
    """How often a flip was early: customers as P3 makes them, walked from flip to flip for a month after their last
    fact, each audience alone and all ten together (as one wake-up asks them).
    """
    document = check_plan(read_directory(PLAN)).document
    assert document is not None
    plan, chance, began = Plan(document), random.Random(11), 1_760_000_000_000_000
    counts = {name: [0, 0] for name in (*plan.audiences, "all")}
    for customer in range(customers):
        facts, at = [], began
        for ordinal in range(chance.randint(1, 20)):
            at += chance.choice([60, 600, 3600, 43_200]) * 1_000_000
            facts.append(fact_from_wire(load.fact(chance, customer, ordinal, at)))
        content = fold(plan, sorted(facts, key=lambda fact: fact.order))
        for name, count in counts.items():
            asked = list(plan.audiences) if name == "all" else [name]
            derived, end = derive(content, plan, content.at, asked, journeys=False), content.at + 30 * 86_400_000_000
            while derived.flips_at <= end:
                after = derive(content, plan, derived.flips_at, asked, journeys=False)
                count[0] += 1
                count[1] += after.audiences == derived.audiences
                derived = after
    alone, early = (sum(count[place] for name, count in counts.items() if name != "all") for place in (0, 1))
    together = counts["all"]
    return (
        f"{early:,} of {alone:,} asked of one audience ({early / alone:.1%}); {together[1]:,} of {together[0]:,}"
        f" asked of all ten at once ({together[1] / together[0]:.1%})"
    )
