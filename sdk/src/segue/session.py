"""A session: a touchpoint's open subscription to one customer, for as long as it talks to her.

Owns deciding, tracking and recording for one customer. Everything returns at once; only opening may wait, bounded.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any

from .coordination import Coordination
from .domain.action import action_properties
from .domain.brief import Brief
from .domain.context import Context
from .domain.decision import Decision, Question, decide, exposed_arm
from .domain.decision_fact import basis_of, fact_of, json_text
from .domain.explanation import held
from .domain.fact import (
    ACTION,
    CONSENT,
    DECISION,
    EVENT,
    EXPOSURE,
    LINK,
    SUBSCRIPTION,
    TRAIT,
    Fact,
    check,
    properties_bytes,
)
from .domain.identifier import Identifier, identifier_of
from .domain.instant import from_datetime
from .domain.interaction import ENDED, STARTED, InteractionRef
from .domain.plan import Plan
from .domain.shadow import pair_of, shadow_name, shadowed
from .errors import FactError, HeldBack
from .forms import Forms
from .naming import normal
from .outbox import ANALYTICS, MUST
from .place import UNNEEDED, Place, ask, strict_caps, unreachable
from .runtime import Runtime

if TYPE_CHECKING:
    from .touchpoint import Touchpoint

log = logging.getLogger("segue")
_forks = [0]
os.register_at_fork(after_in_child=lambda: _forks.__setitem__(0, _forks[0] + 1))
NOTHING: Mapping[str, Any] = {}
UNEXPOSED: frozenset[str] = frozenset()
"""A set of its own takes 216 bytes, and most sessions need none."""
LOADING = 2.0
"""Seconds that loading may take at most."""


class Session(Coordination):
    """One customer, held. Made by `Touchpoint.session`; use it as a context manager.

    Args:
        touchpoint: whose session it is.
        identifiers: who the customer is, as far as the touchpoint knows; the first is held.
        purpose: why it reads.
        keep: microseconds that the customer stays held after the session.
    """

    def __init__(self, touchpoint: Touchpoint, identifiers: tuple[Identifier, ...], purpose: str, keep: int) -> None:
        self._touchpoint = touchpoint
        self._home = touchpoint.runtime()
        self._forks = _forks[0]
        self.identifiers = identifiers
        self.purpose, self._keep = purpose, keep
        self._held = self._runtime.hold(identifiers[0], purpose)
        self._interaction: InteractionRef | None = None
        self._closed = False
        self._forms = Forms()
        self._claims: dict[str, int] = {}
        self._renewed: dict[str, int] = {}
        self._exposed: frozenset[str] = UNEXPOSED
        self._channel = ""
        self._channel_by: Plan | None = None

    @property
    def _runtime(self) -> Runtime:
        """The runtime of this process. A session that a forked child inherits moves into the child's own."""
        if self._forks != _forks[0]:
            self._forks, self._home = _forks[0], self._touchpoint.runtime()
            self._held = self._home.hold(self.identifiers[0], self.purpose)
        return self._home

    @property
    def waits(self) -> bool:
        """Whether there is a hub to wait for."""
        return bool(self._runtime.config.hub)

    def wait(self, timeout: float) -> bool:
        """Waits until the hub has answered once; returns whether it has. `timeout` in seconds, counted from when what a
        connection needs is loaded, once in a process.
        """
        if self.waits:
            self._runtime.loaded.wait(LOADING)
        return self._held.answered.wait(timeout)

    # -- reading -------------------------------------------------------------------------------------------------------

    def context(self) -> Context:
        """What is known now, own facts included."""
        runtime, held = self._runtime, self._held
        at, machine = runtime.clock(), runtime.machine
        snapshot = held.snapshot(machine.plan, runtime.config.strict)
        return Context.held(snapshot, at + machine.offset, at, held.heard_at, held.persisted_at)

    def brief(self, language: str = "en") -> Brief:
        """The hand-over summary; its sentences in English or Chinese (`zh`)."""
        return self.context().brief(language)

    # -- deciding ------------------------------------------------------------------------------------------------------

    def decide(self, question: Question) -> Decision:
        """Asks a question in process. Never raises (but for misspelt names in tests), never waits."""
        runtime = self._home if self._forks == _forks[0] else self._runtime
        held, machine, at = self._held, runtime.machine, runtime.clock()
        snapshot = held.latest
        if (
            held.unlaid
            or snapshot.projected is not held.laid
            or snapshot.plan is not machine.plan
            or snapshot.version != held.version
        ):  # what `Held.snapshot` asks too, without the call
            snapshot = held.snapshot(machine.plan, runtime.config.strict)
        if snapshot.plan is not self._channel_by:
            self._channel, self._channel_by = self._touchpoint.channel_by(snapshot.plan), snapshot.plan
        context = Context.held(snapshot, at + machine.offset, at, held.heard_at, held.persisted_at)
        decision = decide(question, context, self._channel, self._touchpoint.name)
        decision.actor = self
        runtime.decisions += 1
        if held.identity_pending:
            decision.pending = "IDENTITY_PENDING"
        if decision.verdicts and snapshot.plan.exposing:
            self._expose(decision, context)
        if question.record != "never":
            last = held.last_answers.get(question.name)  # the very same answer is the common one, and known at a glance
            if (
                last is None
                or last[0] is not decision.value
                or last[1] is not decision.reason
                or decision.action is not None
                or question.record == "always"
            ):
                self._record(question, decision, runtime)
        if question.shadow is not None:
            self._ask_shadow(question, decision, context)
        return decision

    def _ask_shadow(self, question: Question, decision: Decision, context: Context) -> None:
        """Asks the new version on what the old one was asked on; on a thread of its own, and never acts."""
        runtime, answers, was = self._runtime, self._held.last_answers, decision.copy()
        seq, at, reference = runtime.next_seq(), runtime.now(), self._interaction
        who, channel, name = self.identifiers, self._touchpoint.channel, shadow_name(question.name)

        def work() -> bool:
            same = Context(context.projected, context.plan, context.at, context.freshness, context.version)
            found = shadowed(question, same, channel, self._touchpoint.name)
            key, raw = pair_of(was, found, basis_of(same, self.purpose))
            if was.id or answers.get(name) != key:
                answers[name] = key
                fact = Fact(
                    runtime.ids.next(), DECISION, name, at, seq, who, channel, self._touchpoint.name, reference, raw
                )
                runtime.record(lambda: fact, ANALYTICS)
            return not found.error

        runtime.shadows.ask(question.name, work)

    def _expose(self, decision: Decision, context: Context) -> None:
        """The first time that a holdout speaks about an action becomes a fact: from then on its arm holds (AC4)."""
        for verdict in decision.verdicts:
            guardrail = context.plan.guardrails.get(verdict.guardrail)
            if guardrail is None or guardrail.holdout is None or guardrail.name in self._exposed:
                continue
            arm = exposed_arm(guardrail, context)
            if arm:
                self._exposed |= {guardrail.name}
                self._tell(EXPOSURE, guardrail.name, {"arm": arm}, None, MUST)

    def _record(self, question: Question, decision: Decision, runtime: Runtime) -> None:
        """The answer becomes a fact when it changed for this customer, or an action may follow."""
        answers = self._held.last_answers
        if decision.action is None:
            answer = json_text(decision.value)
            key = (answer, decision.reason, False)
            if question.record == "changed" and answers.get(question.name) == key:
                return
        else:
            answer = decision.action.kind
            key = (answer, decision.reason, decision.allowed)
        answers[question.name] = key
        seq, now = runtime.next_seq(), runtime.clock()
        decision.id = runtime.ids.next(now)
        said = decision.value, decision.reason, decision.verdicts, decision.pending  # a place may be refused later
        who = self.identifiers, self._channel, self._touchpoint.name, self._interaction
        at = now + runtime.machine.offset
        runtime.record(partial(fact_of, decision, said, answer, self.purpose, seq, at, who))  # on our own thread

    def reserve(self, decision: Decision) -> Place:
        """Takes a place under the strict caps that speak about a decision's action; `act` does so by itself.

        Waits at most 150 ms for the hub, and not at all where no strict cap speaks about the action.
        """
        action, runtime = decision.action, self._runtime
        if action is None:
            return UNNEEDED
        asked = action.asked(self._touchpoint.channel) | {"touchpoint": self._touchpoint.name}
        caps = strict_caps(runtime.plan, asked, runtime.now())
        if not caps:
            return UNNEEDED
        if not self.waits:
            return unreachable(caps, "no hub is set")
        pending = list(self._held.pending.values())[-256:]
        try:
            return ask(runtime.transport(), runtime.ids.next(), self.identifiers, asked, pending, caps)
        except Exception as error:  # noqa: BLE001  # whatever it is, nobody could be asked
            return unreachable(caps, f"{type(error).__name__}: {error}")

    @contextmanager
    def act(self, decision: Decision) -> Iterator[Place]:
        """See `Decision.act`."""
        place = self.reserve(decision)
        if not place.granted:
            decision.refused(place.verdicts)
            raise HeldBack(f"{held(place.refusal)}.", verdict=place.refusal)
        try:
            yield place
        except Exception:
            self._acted(decision, "failed")
            self._give_back(place)
            raise
        except BaseException:
            # Interrupted in the middle: nobody knows how far it came. The place is not given back, and expires as the
            # cap says.
            self._acted(decision, "failed")
            raise
        self._acted(decision, "completed", place.id)

    def _give_back(self, place: Place) -> None:
        if place.id:
            self._runtime.transport().release(place.id, self.identifiers)

    def skip(self, decision: Decision) -> None:
        """Records that an allowed action was not carried out after all."""
        if decision.action is not None:
            self._acted(decision, "skipped")

    def _acted(self, decision: Decision, status: str, reservation: bytes = b"") -> None:
        action = decision.action
        assert action is not None
        try:
            asked = action.asked(self._touchpoint.channel) | {"details": json_text(dict(action.properties))}
            fact = self._fact(
                ACTION, action.kind, action_properties(action.kind, asked, status, decision.id, reservation)
            )
            check(fact)
        except Exception as error:  # noqa: BLE001  # the host has acted: what it cannot tell is counted, never raised
            self._touchpoint.count_refused(ACTION, action.kind, error)
            return
        self._offer(fact, MUST)

    # -- telling -------------------------------------------------------------------------------------------------------

    def track(
        self,
        type: str,
        properties: Mapping[str, Any] | None = None,
        *,
        occurred_at: datetime | None = None,
        durable: bool = False,
        **more: Any,
    ) -> bool:
        """Tells that something happened. Returns at once; never raises.

        Args:
            type: event type, by the plan's vocabulary or the team's alias.
            properties: details.
            **more: details too.
            occurred_at: aware; now where not given.
            durable: waits (at most a second) until it is on this machine's disk.

        Returns:
            With `durable`: whether it is on this machine's disk. Where it is not, it may still come to be; `status()`
            tells. Without: False, as nobody waited to know.
        """
        if occurred_at is None and not durable and self._forks == _forks[0]:
            fact = self._forms.event(self._home, type, self.identifiers, self._interaction, properties, more)
            if fact is not None:
                if self._touchpoint.listeners:
                    fact.forget()  # written down before anybody sees it
                    self._touchpoint.told(fact)
                self._home.offer(fact, ANALYTICS, self._held)
                return False
        return self._tell(EVENT, type, properties or {}, occurred_at, ANALYTICS, more, durable=durable)

    def set_trait(self, name: str, value: Any) -> None:
        """Tells a lasting fact about the customer."""
        self._tell(TRAIT, name, {"value": value, "source": self._touchpoint.name}, None, MUST)

    def consent(self, purpose: str, state: str) -> None:
        """Tells what the customer said to a purpose: `granted`, `denied` or `withdrawn`."""
        self._tell(CONSENT, purpose, {"state": state}, None, MUST)

    def subscription(self, topic: str, state: str) -> None:
        """Tells an opt-in by topic on the touchpoint's channel: `opted_in` or `opted_out`."""
        self._tell(SUBSCRIPTION, topic, {"state": state}, None, MUST)

    def identify(self, **identifiers: str) -> None:
        """Tells that the customer is also known by these, e.g. after a login."""
        kinds = self._runtime.plan.kinds
        try:
            found = tuple(normal(kinds, identifier_of(kind, value)) for kind, value in identifiers.items())
        except FactError as error:
            self._touchpoint.count_refused(LINK, "link", error)
            return
        self.identifiers = tuple(dict.fromkeys([*self.identifiers, *found]))
        self._tell(LINK, "link", {}, None, MUST)

    @contextmanager
    def interaction(self, id: str, direction: str = "inbound", outcome: str = "served") -> Iterator[None]:
        """One call, chat or visit: everything told inside belongs to it. An exception ends it as abandoned."""
        before, self._interaction = self._interaction, InteractionRef(id, direction)
        self.track(STARTED)
        ended = outcome
        try:
            yield
        except BaseException:
            ended = "abandoned"
            raise
        finally:
            self._interaction = InteractionRef(id, direction, ended)
            self.track(ENDED)
            self._interaction = before

    def within(self, id: str, direction: str = "inbound") -> None:
        """From here on everything told belongs to this interaction; for hosts without a block to put it in."""
        self._interaction = InteractionRef(id, direction)

    def _tell(
        self, kind: str, type_: str, properties: Mapping[str, Any], occurred_at: datetime | None, lane: int,
        more: Mapping[str, Any] = NOTHING, *, durable: bool = False,
    ) -> bool:  # fmt: skip
        try:
            type_.encode()  # a text, and one that can be written
            fact = self._fact(kind, type_, {**properties, **more}, occurred_at)
            check(fact)
            if kind == EVENT:
                self._forms.keep(type_, self._runtime.plan, fact)
        except Exception as error:  # noqa: BLE001  # the host's own values: whatever they raise is counted, never raised
            self._touchpoint.count_refused(kind, type_, error)
            return False
        journalled = threading.Event() if durable else None
        self._offer(fact, lane, journalled)
        return journalled is not None and journalled.wait(1.0)

    def _fact(self, kind: str, type_: str, properties: dict[str, Any], occurred_at: datetime | None = None) -> Fact:
        runtime, touchpoint = self._runtime, self._touchpoint
        at = from_datetime(occurred_at) if occurred_at is not None else runtime.now()
        fact = Fact(
            runtime.ids.next(), kind, runtime.plan.vocabulary.canonical(type_, touchpoint.name, touchpoint.channel), at,
            runtime.next_seq(), self.identifiers, touchpoint.channel, touchpoint.name, self._interaction,
            properties_bytes(properties),
        )  # fmt: skip
        fact.written_from(properties)
        return fact

    def _offer(self, fact: Fact, lane: int, journalled: threading.Event | None = None) -> None:
        self._touchpoint.told(fact)
        self._runtime.offer(fact, lane, self._held, journalled)

    # -- the end -------------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Ends the session, once; the customer stays held until the lease runs out."""
        if self._closed:
            return
        self._closed = True
        self._let_go_of_all()
        self._runtime.release(self._held, self._runtime.clock() + self._keep)

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
