"""P1: a bare decision. Context held, a function of three conditions, default, reason, freshness.

Ours is `Session.decide` on a session of a real hub; the peers are GrowthBook's `is_on` with three conditions and
LaunchDarkly's `variation` with two clauses, and beside them, for information, Unleash's `is_enabled` and flagd's
evaluation in the process with three; all prebuilt and in memory, in a process of their own.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any, Final

import segue
from segue.domain.context import Context

from .hub import HubProcess
from .measure import Line, Report, paired_ratio, pairs
from .workers import Worker, wait_for

PEERS: Final = (
    ("growthbook", "GrowthBook is_on", 3.5), ("launchdarkly", "LaunchDarkly variation", 8.0),
    ("unleash", "Unleash is_enabled", None), ("flagd", "flagd in process", None),
)  # fmt: skip
"""Name, what is called, and how many times faster we are to be; the last two only inform."""


def _route(customer: Context) -> Any:
    if (
        customer.journey("money_transfer").active
        and customer.seen("ivr", within="1h")
        and customer.trait("value_tier") == "high"
    ):
        return "priority_agent"
    return None


def _timed(session: Any, question: Any, count: int) -> float:
    decide, right = session.decide, 0
    began = time.perf_counter()
    for _ in range(count):
        right += decide(question).value == "priority_agent"
    took = time.perf_counter() - began
    if right != count:
        raise RuntimeError(f"only {right} of {count} decisions had the right answer")
    return took / count * 1e6


def _verify(touchpoint: Any, ivr: Any, question: Any, session: Any) -> str:
    """Every condition counts, the default and its reason come where one fails, freshness is told."""
    for account, called, tier in (("A-2", False, "high"), ("A-3", True, "low")):
        other = touchpoint.session(account=account, wait="5s")
        _tell(other, ivr.session(account=account, wait="5s"), called=called, tier=tier, flush=(touchpoint, ivr))
        decision = other.decide(question)
        if (decision.value, decision.reason) != ("bot", "DEFAULT"):
            raise RuntimeError(f"{account} was answered {decision.explain()}")
    nobody = touchpoint.session(account="A-4", wait="5s").decide(question)
    if (nobody.value, nobody.reason) != ("bot", "DEFAULT"):
        raise RuntimeError(f"nobody was answered {nobody.explain()}")
    decision = session.decide(question)
    if (decision.value, decision.reason, decision.freshness.state) != ("priority_agent", "RULE", "LIVE"):
        raise RuntimeError(f"answered {decision.explain()}")
    return decision.explain()


def _tell(session: Any, ivr: Any, *, called: bool, tier: str, flush: Any) -> None:
    session.track("transfer.started", transfer_id="t1", amount=120.0)
    session.set_trait("value_tier", tier)
    if called:
        ivr.track("call.started")
    for touchpoint in flush:
        touchpoint.flush(10)
    held = session._held
    # Version and empty overlay: what is decided on is the hub's context, not only own facts.
    wait_for("the context", lambda: held.version and not held.pending and held.shown.content.facts >= 2 + called)


def run(*, quick: bool = False) -> Report:
    """Measures."""
    rounds, ours, theirs = (3, 20_000, 5_000) if quick else (7, 100_000, 20_000)
    report = Report(
        "P1", "bare decision: three conditions, default, reason, freshness; context held",
        f"SDK in this process (its 2 threads and grpcio's beside), hub idle in another, peers in a third;"
        f" {rounds} pairs of {ours} decisions against {theirs} of each peer",
    )  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="segue-p1-") as temporary, HubProcess(Path(temporary)) as hub:
        touchpoint = segue.Touchpoint("bench", hub=hub.address, key=hub.key, state=Path(temporary) / "a")
        ivr = segue.Touchpoint("other", hub=hub.address, key=hub.key_of("other"), state=Path(temporary) / "b")
        touchpoint.wait_ready(10)
        never = touchpoint.decision("bench.never", default="bot", record="never")(_route)
        changed = touchpoint.decision("bench.changed", default="bot", record="changed")(_route)
        session = touchpoint.session(account="A-1", wait="5s")
        _tell(session, ivr.session(account="A-1", wait="5s"), called=True, tier="high", flush=(touchpoint, ivr))
        try:
            with Worker("flags_peer", peer=True) as peer:
                versions = peer.ask("verify")
                report.verified.append("explained: " + _verify(touchpoint, ivr, never, session))
                report.verified.append("each condition alone gives default and DEFAULT; every timed answer counted")
                report.verified.append("peers answer both ways as well: " + ", ".join(versions))
                series, report.canary = pairs(
                    rounds,
                    {
                        "ours": lambda: {
                            "never": _timed(session, never, ours), "changed": _timed(session, changed, ours)
                        },
                        "peers": lambda: {name: peer.ask(name, count=theirs) for name, *_ in PEERS},
                    },
                )  # fmt: skip
                report.notes["decisions recorded"] = touchpoint.status()["offered"]
        finally:
            touchpoint.close()
            ivr.close()
    for mode in ("never", "changed"):
        for name, call, needed in PEERS:
            mine, other = series["ours"][mode], series["peers"][name]
            report.lines.append(Line(
                "P1", f'us per decision, record="{mode}"', mine, other, call, paired_ratio(other, mine), needed,
                target=f"{needed}x faster" if needed else "",
            ))  # fmt: skip
    return report
