"""P2: a full decision. Three conditions, an action, ten guardrails, what was read, and the record on its way.

Ours is `Session.decide` on a session of a real hub; every decision is recorded, and the records are counted in the
hub's own file. The peers do less: LaunchDarkly's `variation` answers from memory and tells nobody, a Redis GET of 1 KB
only fetches what a decision would be made on. Decisions come in bursts, as from a host that has other work too; our own
threads write the records down meanwhile, in the same interpreter.
"""

from __future__ import annotations

import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import segue
from segue.domain.context import Context

from .hub import HubProcess, file_facts
from .measure import Line, Report, paired_ratio, pairs
from .stores import PACKAGES, Server, binary, install
from .workers import Worker, wait_for

BURST: Final = 200
GUARDRAILS: Final = """
consent: {applies_to: 'action.purpose == "marketing"', requires_consent: marketing, reason: no consent}
a_day: {applies_to: 'action.purpose == "marketing"', cap: {limit: 2, window: 24h}, reason: enough today}
a_week: {applies_to: 'action.kind.startsWith("offer.")', cap: {limit: 5, window: 7d}, reason: enough this week}
with_somebody: {applies_to: 'action.purpose == "marketing"', claim: conversation, reason: somebody talks to her}
in_arrears: {applies_to: 'action.kind.startsWith("offer.")', suppress_when: 'trait.in_arrears', reason: not now}
complaining: {applies_to: 'action.kind.startsWith("offer.")', suppress_when: 'journey.support.active', reason: not now}
just_bought: {applies_to: 'action.kind.startsWith("offer.")', suppress_when: 'seen("device.bought", "7d")', reason: has}
night: {applies_to: 'action.channel in ["sms", "voice"]', quiet_hours: {from: "21:00", to: "08:00"}, reason: night}
newsletter: {applies_to: 'action.kind.startsWith("mail.")', requires_subscription: "*", reason: not subscribed}
frequent: {applies_to: 'action.kind == "call.back"', cap: {limit: 1, window: 1h}, reason: called already}
"""  # fmt: skip
GRANTS: Final = """
bench:
  owner: benchmarks
  channel: web
  writes: ["*", "trait:*", "consent:*"]
  reads:
    service: [identity, traits, journeys, activity, timeline, interactions, decisions, actions, audiences, consents,
              subscriptions, claims]
"""
SPEAKING: Final = ("consent", "a_day", "a_week", "with_somebody", "in_arrears", "complaining", "just_bought")
"""Of the ten, those that apply to the action."""


def _offer(customer: Context) -> Any:
    if (
        customer.journey("money_transfer").active
        and customer.seen("web", within="1h")
        and customer.trait("value_tier") == "high"
    ):
        return segue.Action("offer.upsell", topic="tariff", purpose="marketing")
    return None


def _verify(touchpoint: Any, question: Any, session: Any) -> str:
    """The seven that apply speak and allow it; without consent it is held back; one condition less, and no action."""
    decision = session.decide(question)
    spoke = tuple(sorted(verdict.guardrail for verdict in decision.verdicts))
    if not decision.allowed or spoke != tuple(sorted(SPEAKING)) or len(decision.reads) != 3:
        raise RuntimeError(f"answered {decision.explain()} by {spoke}")
    for account, tier, reason in (("A-2", "high", "HELD_BACK"), ("A-3", "low", "DEFAULT")):
        other = touchpoint.session(account=account, wait="5s")
        _tell(touchpoint, other, tier, consent=False)
        found = other.decide(question)
        if found.reason != reason:
            raise RuntimeError(f"{account} was answered {found.explain()}")
    return str(decision.explain())


def _tell(touchpoint: Any, session: Any, tier: str, *, consent: bool) -> None:
    session.track("transfer.started", transfer_id="t1", amount=120.0)
    session.set_trait("value_tier", tier)
    if consent:
        session.consent("marketing", "granted")
    touchpoint.flush(10)
    held = session._held
    wait_for("the context", lambda: held.version and not held.pending and held.shown.content.facts >= 2 + consent)


class Bursts:
    """Our side: bursts of decisions, each after the records of the one before have arrived."""

    def __init__(self, touchpoint: Any, session: Any, question: Any) -> None:
        self._touchpoint, self._session, self._question = touchpoint, session, question
        self.made = 0

    def __call__(self, count: int) -> dict[str, float]:
        """Microseconds of one decision, by the clock and by the host thread's own processor time."""
        decide, question, took, worked = self._session.decide, self._question, 0.0, 0.0
        for _ in range(count // BURST):
            allowed, began, at_first = 0, time.perf_counter(), time.thread_time()
            for _ in range(BURST):
                allowed += decide(question).allowed
            took, worked = took + time.perf_counter() - began, worked + time.thread_time() - at_first
            if allowed != BURST:
                raise RuntimeError(f"only {allowed} of {BURST} decisions were allowed")
            self.made += BURST
            if not self._touchpoint.flush(30):
                raise RuntimeError("the records did not arrive")
        return {"clock": took / count * 1e6, "thread": worked / count * 1e6}


def run(*, quick: bool = False, install_peers: bool = False) -> Report:
    """Measures."""
    rounds, ours, theirs, gets = (3, 2_000, 2_000, 2_000) if quick else (7, 6_000, 10_000, 5_000)
    report = Report(
        "P2", "full decision: three conditions, an action, ten guardrails, what was read, record enqueued",
        f"SDK in this process, hub in another, peers in a third, Redis in a fourth; {rounds} pairs of {ours} decisions"
        f" in bursts of {BURST} against {theirs} variations and {gets} GETs",
    )  # fmt: skip
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="segue-p2-")))
        hub = stack.enter_context(HubProcess(folder, more={"guardrails.yaml": GUARDRAILS, "touchpoints.yaml": GRANTS}))
        touchpoint = segue.Touchpoint("bench", hub=hub.address, key=hub.key, state=folder / "sdk")
        stack.callback(touchpoint.close)
        question = touchpoint.decision("bench.offer", default="nothing")(_offer)
        session = touchpoint.session(account="A-1", wait="5s")
        _tell(touchpoint, session, "high", consent=True)
        flags = stack.enter_context(Worker("flags_peer", peer=True))
        report.verified.append("explained: " + _verify(touchpoint, question, session))
        report.verified.append("peers answer both ways as well: " + ", ".join(flags.ask("verify")))
        bursts = Bursts(touchpoint, session, question)
        sides: dict[str, Any] = {
            "ours": lambda: bursts(ours),
            "flags": lambda: {"took": flags.ask("launchdarkly", count=theirs)},
        }
        if install_peers:
            install("redis")
        if binary("redis"):
            server = stack.enter_context(Server("redis", Path(stack.enter_context(tempfile.TemporaryDirectory()))))
            stores = stack.enter_context(Worker("stores_peer", peer=True))
            report.verified.append(stores.ask("redis", where=server.where))
            sides["redis"] = lambda: {"took": stores.ask("get", count=gets)}
        else:
            report.skipped.append(f"redis: not installed (apt-get install {PACKAGES['redis']}, or --install-peers)")
        touchpoint.flush(30)
        before = touchpoint.status()["delivered"], file_facts(hub.store)["facts"]
        series, report.canary = pairs(rounds, sides)
        arrived = touchpoint.status()["delivered"] - before[0], file_facts(hub.store)["facts"] - before[1]
    if arrived != (bursts.made, bursts.made):
        raise RuntimeError(
            f"{bursts.made} decisions, {arrived[0]} records acknowledged, {arrived[1]} in the hub's file"
        )
    report.verified.append(f"{bursts.made:,} decisions made, all allowed; as many records in the hub's own file")
    mine = series["ours"]["clock"]
    for side, name, needed in (("flags", "LaunchDarkly variation", 1.0), ("redis", "Redis GET of 1 KB", 10.0)):
        if side in series:
            peer = series[side]["took"]
            ratio = paired_ratio(peer, mine)
            report.lines.append(
                Line("P2", "us per decision", mine, peer, name, ratio, needed, target=f"{needed:g}x faster")
            )
    report.lines.append(Line("P2", "us of the host thread's own processor time", series["ours"]["thread"]))
    return report
