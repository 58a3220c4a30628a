"""P12: a hub on a store that is there, from the start of its process until its health says SERVING.

After a clean end, and after SIGKILL in the midst of facts. Interpreter and imports count. No peer does this; the target
is absolute. That it serves is seen by a read of a random customer, whose facts are all there.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Sequence
from pathlib import Path

from segue.v1 import context_pb2, context_pb2_grpc, fact_pb2

from .growth import EACH, FULL, QUICK, stores
from .measure import Line, Report, Series, canary
from .progress import step
from .restart import Restarted
from .workers import Worker


def run(*, quick: bool = False) -> Report:
    """Measures."""
    sizes, rounds = (QUICK, 1) if quick else (FULL, 5)
    report = Report(
        "P12", "restart: from the start of the process until its health says SERVING, interpreter and imports included",
        f"customers: {', '.join(f'{size:,}' for size in sizes)}, {EACH} facts each; the file in the system's cache;"
        f" {rounds} rounds after a clean end and as many after SIGKILL while facts came in",
    )  # fmt: skip
    canaries = [canary()]
    with stores(sizes) as found:
        for size in sizes:
            clean, killed = _starts(found[size], size, rounds)
            canaries.append(canary())
            last = size == sizes[-1]
            for name, series in (("after a clean end", clean), ("after SIGKILL", killed)):
                report.lines.append(
                    Line("P12", f"{size:,} customers, {name}: s", series, needed=1.0 if last else None, at_least=False,
                         target="under 1 s" if last else "")
                )  # fmt: skip
    report.verified.append(f"after each start a random customer was read, with {EACH} facts or more")
    report.canary = Series(canaries)
    return report


def _starts(store: Path, size: int, rounds: int) -> tuple[Series, Series]:
    """Seconds after a clean end, and after a kill."""
    found: dict[bool, Sequence[float]] = {False: [], True: []}
    with Restarted(store):
        pass  # whatever the first start leaves behind is there
    for number in range(2 * rounds):
        kill = bool(number % 2)
        step(f"{size:,} customers, round {number // 2 + 1} of {rounds}: after {'SIGKILL' if kill else 'a clean end'}")
        with Restarted(store) as before, Worker("load") as load:
            load.ask("connect", address=before.address, key=before.key)
            load.ask("prepare", facts=2_000, customers=size, first=0, seed=number)
            load.ask("run", in_flight=4)
            if kill:
                load.ask("prepare", facts=20_000, customers=size, first=0, seed=1_000 + number)
                load.send("run", in_flight=4)
                time.sleep(0.2)
            before.end(kill=kill)
            if kill:
                _fails(load)
        with Restarted(store) as hub:
            found[kill] = [*found[kill], hub.seconds]
            _read(hub, random.Random(number).randint(1, size))
    return Series(found[False]), Series(found[True])


def _fails(load: Worker) -> None:
    """Whoever sent facts to a hub that was killed hears that it is gone."""
    try:
        load.receive()
    except RuntimeError:
        return
    raise RuntimeError("all facts were acknowledged before the kill: nothing was cut off")


def _read(hub: Restarted, customer: int) -> None:
    identifier = fact_pb2.Identifier(kind="account", value=f"A-{customer:07d}")
    request = context_pb2.GetContextRequest(identifier=identifier)
    metadata = (("authorization", f"Bearer {hub.key}"),)
    context = (
        context_pb2_grpc.ContextServiceStub(hub.channel).GetContext(request, timeout=30, metadata=metadata).context
    )
    facts = next(json.loads(section.data)[2] for section in context.sections if section.name == "envelope")
    if facts < EACH or not context.version:
        raise RuntimeError(f"customer {customer} has {facts} facts after the start")
