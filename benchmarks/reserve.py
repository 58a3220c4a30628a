"""Places under a strict cap: reserved and confirmed, on many customers and on one that many want at once.

The hub judges every guardrail on the customer's context, and a grant is a fact in the log, fsynced before it is
answered. The peer is what a team would build the cap on instead: Redis, `SET NX GET PX` to reserve (who is refused
hears who holds it), `SET XX PX` to confirm, append-only file fsynced always. It knows one limit by one name, no other
guardrail, no second identifier of the same customer, and no context.
"""

from __future__ import annotations

import sqlite3
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

from segue.domain.fact import ACTION, RESERVATION
from segue.wire import fact_from_bytes

from .hub import HubProcess
from .measure import Line, Report, Series, paired_ratio, pairs
from .stores import PACKAGES, Server, binary, install
from .workers import Worker

AT_ONCE: Final = 32
CROWD: Final = 64
GUARDRAILS: Final = """
once_a_day:
  applies_to: 'action.purpose == "marketing"'
  cap: {limit: 1, window: "1d", exactness: strict}
  reason: One marketing outreach a day.
  owner: crm
"""


def run(*, quick: bool = False, install_peers: bool = False) -> Report:
    """Measures."""
    rounds, customers, crowds = (3, 500, 5) if quick else (5, 2_000, 20)
    report = Report(
        "reserve", "a place under a strict cap of one: reserved and confirmed, durable before each answer",
        f"hub in one process, client in another; {customers} customers a round with {AT_ONCE} calls at a time, then"
        f" {crowds} customers that {CROWD} calls want at once; {rounds} rounds; no pins",
    )  # fmt: skip
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="segue-reserve-")))
        hub = stack.enter_context(HubProcess(folder, more={"guardrails.yaml": GUARDRAILS}))
        client = stack.enter_context(Worker("reserver"))
        client.ask("connect", address=hub.address, key=hub.key)
        workers = {"ours": client} | _redis(stack, report, install_peers=install_peers)
        granted: Counter[str] = Counter()

        def side(name: str) -> Callable[[], Mapping[str, float]]:
            def work() -> Mapping[str, float]:
                found: dict[str, Any] = workers[name].ask(
                    "run", customers=customers, at_once=AT_ONCE, crowds=crowds, crowd=CROWD
                )
                if found.pop("granted") != customers + crowds:
                    raise RuntimeError(f"{name}: a place was granted twice, or to nobody: {found}")
                granted[name] += customers + crowds
                return found

            return work

        for worker in workers.values():
            worker.ask("run", customers=AT_ONCE, at_once=AT_ONCE, crowds=1, crowd=CROWD)  # warm
            granted.update(dict.fromkeys(workers, 0))
        series, report.canary = pairs(rounds, {name: side(name) for name in workers})
        report.notes["hub"] = hub.status()
        hub.stop()
        _verify(report, hub.store, granted["ours"] + AT_ONCE + 1)
        if "redis" in workers:
            keys, expected = workers["redis"].ask("kept"), granted["redis"] + AT_ONCE + 1
            if keys != expected:
                raise RuntimeError(f"{keys} places are kept in Redis, {expected} were granted")
            report.verified.append(f"Redis keeps {keys} places, as many as it granted")
    _lines(report, series)
    return report


def _redis(stack: ExitStack, report: Report, *, install_peers: bool) -> dict[str, Worker]:
    if install_peers:
        install("redis")
    if not binary("redis"):
        report.skipped.append(f"redis: not installed (apt-get install {PACKAGES['redis']}, or --install-peers)")
        return {}
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="segue-reserve-redis-")))
    try:
        server = stack.enter_context(Server("redis", folder))
    except (OSError, RuntimeError) as error:
        report.skipped.append(f"redis: did not start ({error})")
        return {}
    worker = stack.enter_context(Worker("reserver_peer", peer=True))
    report.verified.append(worker.ask("connect", where=server.where))
    return {"redis": worker}


def _verify(report: Report, store: Path, expected: int) -> None:
    """Of every customer the file holds one grant and one action under it, and nothing else was granted."""
    connection = sqlite3.connect(f"file:{store}?mode=ro", uri=True)
    try:
        facts = [fact_from_bytes(body) for (body,) in connection.execute("SELECT body FROM facts")]
    finally:
        connection.close()
    grants = Counter(f.identifiers for f in facts if f.kind == RESERVATION and f.properties["status"] == "granted")
    ids = {f.id.hex() for f in facts if f.kind == RESERVATION}
    actions = Counter(f.identifiers for f in facts if f.kind == ACTION and f.properties["reservation"] in ids)
    if len(grants) != expected or grants != actions or set(grants.values()) != {1}:
        raise RuntimeError(f"{expected} grants were answered; {grants.total()} stored, {actions.total()} actions")
    report.verified.append(
        f"{expected} customers, one grant and one confirmed action each in the file; none taken back"
    )


def _lines(report: Report, series: Mapping[str, Mapping[str, Series]]) -> None:
    ours, peer = series["ours"], series.get("redis")
    for figure, name in (
        ("many customers: reserved and confirmed/s", "many_per_second"),
        ("many customers: reserve p50, ms", "many_p50_ms"),
        ("many customers: reserve p99, ms", "many_p99_ms"),
        ("one customer, 64 at once: answered/s", "crowd_per_second"),
        ("one customer, 64 at once: answer p50, ms", "crowd_p50_ms"),
        ("one customer, 64 at once: last answer, ms", "crowd_last_ms"),
    ):
        if peer is None:
            report.lines.append(Line("reserve", figure, ours[name]))
            continue
        ratio = paired_ratio(ours[name], peer[name])
        report.lines.append(Line("reserve", figure, ours[name], peer[name], "Redis SET NX, AOF always", ratio))
