"""A test kit for channel teams: a fake hub that runs in the test, a clock that stands still, builders of customers.

Owns `FakeHub` and `Clock`. The fake is a source under the real SDK: sessions, overlay, guardrails and decisions are
the ones of production; only network and disk are missing. It folds with the same functions as the hub.

    def test_route(fake_hub):
        fake_hub.customer(account="A-1009").event("transfer.failed", channel="app", transfer_id="t1")
        with fake_hub.touchpoint(chat).session(account="A-1009") as customer:
            assert customer.decide(route).value == "priority_agent"
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from .clock import FactIds, now
from .config import Config
from .domain.claim import HELD
from .domain.content import Content
from .domain.fact import (
    ACTION,
    CHOICE,
    CLAIM,
    CONSENT,
    DECISION,
    EVENT,
    EXPOSURE,
    SUBSCRIPTION,
    TRAIT,
    WORKSPACE_KINDS,
    Fact,
    check,
    properties_bytes,
)
from .domain.fold import fold
from .domain.grant import SERVICE
from .domain.identifier import Identifier
from .domain.identity import customer_of
from .domain.incident import FIXED, OPENED, check_incident, incident_fact
from .domain.instant import parse_instant, span
from .domain.interaction import InteractionRef
from .domain.plan import EMPTY, Plan
from .domain.projection import project, view_of
from .outbox import MUST
from .replica import Held
from .runtime import Runtime
from .shadow import ANSWERED, FAILED, Shadows
from .sync import Incoming, Machine
from .touchpoint import Touchpoint
from .version import VERSION
from .wake import Latch


class Clock:
    """A clock that stands still until it is told otherwise.

    Args:
        at: RFC 3339; the machine's time now where not given.
    """

    def __init__(self, at: str = "") -> None:
        self.at = parse_instant(at) if at else now()

    def __call__(self) -> int:
        """The time, in microseconds."""
        return self.at

    def advance(self, duration: str) -> None:
        """Lets time pass: `clock.advance("15m")`."""
        self.at += span(duration)


class Customer:
    """Builds a customer's past, fact by fact. Each call returns the builder."""

    def __init__(self, hub: FakeHub, identifiers: tuple[Identifier, ...]) -> None:
        self._hub = hub
        self.identifiers = identifiers

    def event(
        self, type: str, *, channel: str = "", ago: str = "0s", interaction: str = "", **properties: Any
    ) -> Customer:
        """Something happened, `ago` before the clock's now."""
        reference = InteractionRef(interaction) if interaction else None
        return self._add(EVENT, type, properties, channel, ago, reference)

    def trait(self, name: str, value: Any, *, ago: str = "0s") -> Customer:
        """A lasting fact."""
        return self._add(TRAIT, name, {"value": value, "source": "test"}, "", ago)

    def consent(self, purpose: str, state: str = "granted", *, ago: str = "0s") -> Customer:
        """What she said to a purpose."""
        return self._add(CONSENT, purpose, {"state": state}, "", ago)

    def subscribed(self, channel: str, topic: str, state: str = "opted_in", *, ago: str = "0s") -> Customer:
        """An opt-in by channel and topic."""
        return self._add(SUBSCRIPTION, topic, {"state": state}, channel, ago)

    def action(
        self, kind: str, *, purpose: str = "service", channel: str = "", topic: str = "", touchpoint: str = "test",
        ago: str = "0s",
    ) -> Customer:  # fmt: skip
        """What another touchpoint did."""
        properties = {"kind": kind, "topic": topic, "purpose": purpose, "channel": channel, "status": "completed",
                      "decision_id": "", "details": {}}  # fmt: skip
        return self._add(ACTION, kind, properties, channel, ago, touchpoint=touchpoint)

    def decided(self, name: str, value: Any, *, touchpoint: str, ago: str = "0s") -> Customer:
        """What another touchpoint answered."""
        return self._add(DECISION, name, {"value": value}, "", ago, touchpoint=touchpoint)

    def chose(self, about: str, choice: str = "no", *, touchpoint: str = "test", ago: str = "0s") -> Customer:
        """What she chose: `chose("channel:email")`, `chose("channel", "sms")`."""
        return self._add(CHOICE, about, {"choice": choice}, "", ago, touchpoint=touchpoint)

    def claimed(
        self, touchpoint: str, scope: str = "conversation", *, lasting: str = "2m", note: str = "", ago: str = "0s"
    ) -> Customer:
        """She is with another touchpoint."""
        until = self._hub.clock() - span(ago) + span(lasting)
        return self._add(CLAIM, scope, {"status": HELD, "until": until, "note": note}, "", ago, touchpoint=touchpoint)

    def exposed(self, holdout: str, arm: str, *, ago: str = "0s") -> Customer:
        """A holdout has spoken about her: `held_out` or `treated`."""
        return self._add(EXPOSURE, holdout, {"arm": arm}, "", ago)

    def _add(
        self, kind: str, type_: str, properties: Mapping[str, Any], channel: str, ago: str,
        reference: InteractionRef | None = None, touchpoint: str = "test",
    ) -> Customer:  # fmt: skip
        hub = self._hub
        fact = Fact(
            hub.ids.next(), kind, type_, hub.clock() - span(ago), hub.next_seq(), self.identifiers, channel,
            touchpoint, reference, properties_bytes(dict(properties)),
        )  # fmt: skip
        check(fact)
        hub.take(fact)
        return self


class FakeHub:
    """A hub in the test's own process.

    Args:
        plan: a compiled plan, its document, or the file that `segue-hub plan compile` wrote; none where not given.
        clock: stands still at the machine's now where not given.

    Attributes:
        facts: everything told so far, also by touchpoints under test.
        down: while true, nothing reaches the fake and nothing comes from it.
    """

    def __init__(self, plan: Plan | Mapping[str, Any] | Path | None = None, clock: Clock | None = None) -> None:
        document = json.loads(plan.read_bytes()) if isinstance(plan, Path) else plan
        self.plan = document if isinstance(document, Plan) else Plan(document) if document else EMPTY
        self.clock = clock or Clock()
        self.ids = FactIds()
        self.facts: list[Fact] = []
        self.down = False
        self._seq = 0
        self._runtimes: list[FakeRuntime] = []

    def next_seq(self) -> int:
        """Rises by one."""
        self._seq += 1
        return self._seq

    def customer(self, **identifiers: str) -> Customer:
        """Begins to build a customer: `fake_hub.customer(account="A-1009")`."""
        return Customer(self, tuple(Identifier(kind, value) for kind, value in identifiers.items()))

    def open_incident(
        self, id: str, *, title: str = "", workaround: str = "", ago: str = "0s", later: str = "0s"
    ) -> None:
        """Something is broken since `ago`, or will be in `later`: `fake_hub.open_incident("IOS-481")`."""
        self._incident(id, OPENED, span(later) - span(ago), title, workaround)

    def fix_incident(self, id: str, *, ago: str = "0s", later: str = "0s") -> None:
        """It was fixed `ago` before the clock's now, or will be in `later`."""
        self._incident(id, FIXED, span(later) - span(ago))

    def _incident(self, id: str, state: str, away: int, title: str = "", workaround: str = "") -> None:
        at, seq = self.clock() + away, self.next_seq()
        fact = incident_fact(self.ids.next(), id, state, at, seq, title=title, workaround=workaround)
        check_incident(fact)
        self.take(fact)

    def touchpoint(self, touchpoint: Touchpoint) -> Touchpoint:
        """Puts a touchpoint of the code under test on this fake; strict, so that misspelt names raise."""
        runtime = FakeRuntime(self, touchpoint.name)
        self._runtimes.append(runtime)
        touchpoint.use(runtime)
        return touchpoint

    def take(self, fact: Fact) -> None:
        """A fact reaches the hub: everybody who holds the customer hears of it, of a workspace fact everybody."""
        self.facts.append(fact)
        if fact.kind in WORKSPACE_KINDS:
            about = [other for other in self.facts if (other.kind, other.type) == (fact.kind, fact.type)]
            self.plan = self.plan.on(self.plan.workspace.telling({fact.type: about}))
        for runtime in self._runtimes:
            runtime.refresh()

    def push(self, plan: Plan | Mapping[str, Any]) -> None:
        """A new plan."""
        pushed = plan if isinstance(plan, Plan) else Plan(plan)
        self.plan = pushed.on(self.plan.workspace)
        for runtime in self._runtimes:
            runtime.take_plan()
            runtime.refresh()

    def content_of(self, identifier: Identifier) -> Content | None:
        """What is known of whoever an identifier is, by links and by what was said of them; None of nobody."""
        facts, holding = customer_of(self.plan.kinds, self.facts, identifier)
        if not facts and identifier not in {name for fact in self.facts for name in fact.identifiers}:
            return None
        return fold(self.plan, facts, holding)


class _AtOnce(Shadows):
    """Shadows that are asked where the test can see them."""

    def ask(self, name: str, work: Callable[[], bool]) -> None:
        """Asks at once."""
        self._count(name, ANSWERED if work() else FAILED)


class FakeRuntime(Runtime):
    """The SDK's runtime without threads, network and disk."""

    def __init__(self, hub: FakeHub, name: str) -> None:
        self._hub = hub
        self.config = Config(touchpoint=name, strict=True)
        self.pid = os.getpid()
        self.clock = hub.clock
        self.machine = Machine(f"{name}-test", VERSION)
        self.ids, self.next_seq = hub.ids, hub.next_seq
        self.decisions = 0
        self.shadows = _AtOnce()
        self.last_error = ""
        self.ready = Latch()
        self.machine.connected()
        self.take_plan()

    def start(self) -> None:
        """Nothing to start."""

    def take_plan(self) -> None:
        """The fake hub's plan arrives."""
        plan = self._hub.plan
        self.take_workspace()
        self.machine.received(Incoming("plan", {"digest": plan.digest, "document": plan.document}), self.clock())
        self.ready.set()

    def take_workspace(self) -> None:
        """The fake hub's incidents arrive, where they are others than those held."""
        told = self._hub.plan.workspace.told(self._hub.plan.incidents, self.clock())
        if told.digest != self.machine.plan.workspace.digest:
            fields = {"digest": told.digest, "document": told.document}
            self.machine.received(Incoming("workspace", fields), self.clock())

    def refresh(self) -> None:
        """Everything held is answered again."""
        if not self._hub.down:
            self.take_workspace()
            for held in self.machine.replica.all():
                self._answer(held)

    def _answer(self, held: Held) -> None:
        hub, plan = self._hub, self._hub.plan
        content = hub.content_of(held.identifier)
        included = [fact.id for fact in hub.facts if fact.id in held.pending]
        fields: dict[str, Any] = {
            "subscription": held.number, "unchanged": False, "gone": "", "included": included, "unknown": [],
            "version": len(hub.facts), "customer": str(held.identifier), "plan": plan.digest, "view": "",
            "sections": [],
        }  # fmt: skip
        if content is not None:
            grant = plan.grant(self.config.touchpoint)
            fields["view"] = view_of(plan, grant, held.purpose)
            fields["sections"], _ = project(content, plan, grant, held.purpose, self.clock())
        else:
            fields["gone"] = "NOT_FOUND"
        self.machine.received(Incoming("context", fields), self.clock())

    def hold(self, identifier: Identifier, purpose: str = SERVICE) -> Held:
        """Holds a customer; answered at once unless the fake is down."""
        held, _ = self.machine.subscribe(identifier, purpose)
        held.users += 1
        if not self._hub.down:
            self._answer(held)
        return held

    def release(self, held: Held, keep_until: int) -> None:
        """Nothing expires here."""
        held.users -= 1

    def offer(self, fact: Fact, lane: int, held: Held | None, journalled: threading.Event | None = None) -> None:
        """The fact is shown, and reaches the fake hub at once unless it is down."""
        if held is not None:
            self.machine.own(held, fact)
            self.machine.shown()  # the fake knows
        if not self._hub.down:
            self._hub.take(fact)
        if journalled is not None:
            journalled.set()

    def record(self, make: Callable[[], Fact], lane: int = MUST) -> None:
        """The fact reaches the fake hub at once unless it is down."""
        if not self._hub.down:
            self._hub.take(make())

    def watch(self, audience: str, purpose: str, tell: Any, cursor: str = "") -> None:
        """Audiences are not watched on a fake: ask `in_audience`."""

    def need(self) -> None:
        """Connected already."""

    def flush(self, timeout: float) -> bool:
        """Nothing waits."""
        return not self._hub.down

    def close(self) -> None:
        """Nothing to stop."""

    def status(self) -> dict[str, Any]:
        """How the fake is."""
        return {"touchpoint": self.config.touchpoint, "connection": "DOWN" if self._hub.down else "READY",
                "plan": self.plan.digest, "decisions": self.decisions}  # fmt: skip
