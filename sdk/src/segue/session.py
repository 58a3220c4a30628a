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
from types import TracebackType
from typing import TYPE_CHECKING, Any

from .domain.brief import Brief
from .domain.context import Context
from .domain.decision import Decision, Question, decide, shown
from .domain.expression import NEVER
from .domain.fact import (
    ACTION,
    CONSENT,
    DECISION,
    EVENT,
    LINK,
    MAX_PROPERTIES,
    SUBSCRIPTION,
    TRAIT,
    Fact,
    check,
    properties_bytes,
)
from .domain.identifier import Identifier, identifier_of
from .domain.instant import from_datetime, instant_text
from .domain.interaction import ENDED, STARTED, InteractionRef
from .domain.plan import Plan
from .errors import FactError
from .outbox import ANALYTICS, MUST
from .runtime import Runtime, json_text
from .wire import action_properties

if TYPE_CHECKING:
    from .touchpoint import Touchpoint

log = logging.getLogger("segue")
_forks = [0]
os.register_at_fork(after_in_child=lambda: _forks.__setitem__(0, _forks[0] + 1))
NOTHING: Mapping[str, Any] = {}


class Session:
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
        self.purpose = purpose
        self._keep = keep
        self._held = self._runtime.hold(identifiers[0], purpose)
        self._interaction: InteractionRef | None = None
        self._closed = False
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
        """Waits until the hub has answered once; returns whether it has. `timeout` in seconds."""
        return self._held.answered.wait(timeout)

    # -- reading -------------------------------------------------------------------------------------------------------

    def context(self) -> Context:
        """What is known now, own facts included."""
        runtime, held = self._runtime, self._held
        at = runtime.clock()
        return Context(
            held.shown, runtime.machine.plan, at + runtime.machine.offset, held.freshness(at), held.version,
            runtime.config.strict,
        )  # fmt: skip

    def brief(self) -> Brief:
        """The hand-over summary."""
        return self.context().brief()

    # -- deciding ------------------------------------------------------------------------------------------------------

    def decide(self, question: Question) -> Decision:
        """Asks a question in process. Never raises (but for misspelt names in tests), never waits."""
        runtime, held = self._runtime, self._held
        machine, at = runtime.machine, runtime.clock()
        plan = machine.plan
        if plan is not self._channel_by:
            self._channel, self._channel_by = self._touchpoint.channel, plan
        context = Context(
            held.shown, plan, at + machine.offset, held.freshness(at), held.version, runtime.config.strict
        )
        decision = decide(question, context, self._channel)
        decision.actor = self
        runtime.decisions += 1
        if held.identity_pending:
            decision.pending = "IDENTITY_PENDING"
        if question.record != "never":
            self._record(question, decision)
        return decision

    def _record(self, question: Question, decision: Decision) -> None:
        """The answer becomes a fact when it changed for this customer, or an action may follow."""
        action, answers = decision.action, self._held.last_answers
        if action is None:
            answer = json_text(decision.value)
            key = (answer, decision.reason, False)
            if question.record == "changed" and answers.get(question.name) == key:
                return
        else:
            answer, key = action.kind, (action.kind, decision.reason, decision.allowed)
        answers[question.name] = key
        decision.id = self._runtime.ids.next()
        seq, at, reference = self._runtime.next_seq(), self._runtime.now(), self._interaction
        self._runtime.record(lambda: self._decision_fact(decision, answer, at, seq, reference))

    def _decision_fact(
        self, decision: Decision, answer: Any, at: int, seq: int, reference: InteractionRef | None
    ) -> Fact:
        details = {
            "value": answer,
            "reason": decision.reason,
            "freshness": decision.freshness.state,
            "age_us": decision.freshness.age,
            "version": decision.version,
            "plan": decision.plan,
            "at": decision.at,
            "reads": [[question, json_text(value)] for question, value in decision.reads],
            "verdicts": [
                {"guardrail": v.guardrail, "kind": v.kind, "reason": v.reason, "owner": v.owner, "mode": v.mode}
                | ({"until": instant_text(v.until)} if v.until < NEVER else {})
                for v in decision.verdicts
            ],
            "explain": decision.explain(),
        }
        raw = properties_bytes(details)
        if len(raw) > MAX_PROPERTIES:
            # An answer of any size is the host's to give; what is recorded of it has a bound.
            cut = {"value": shown(answer)[:1000], "explain": decision.explain()[:2000], "reads": [], "verdicts": []}
            raw = properties_bytes(details | cut)
        return Fact(
            decision.id, DECISION, decision.name, at, seq, self.identifiers, self._touchpoint.channel,
            self._touchpoint.name, reference, raw,
        )  # fmt: skip

    @contextmanager
    def act(self, decision: Decision) -> Iterator[None]:
        """See `Decision.act`."""
        try:
            yield
        except BaseException:
            self._acted(decision, "failed")
            raise
        self._acted(decision, "completed")

    def skip(self, decision: Decision) -> None:
        """Records that an allowed action was not carried out after all."""
        if decision.action is not None:
            self._acted(decision, "skipped")

    def _acted(self, decision: Decision, status: str) -> None:
        action = decision.action
        assert action is not None
        try:
            asked = action.asked(self._touchpoint.channel) | {"details": json_text(dict(action.properties))}
            fact = self._fact(ACTION, action.kind, action_properties(action.kind, asked, status, decision.id))
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
    ) -> None:
        """Tells that something happened. Returns at once; never raises.

        Args:
            type: event type, by the plan's vocabulary or the team's alias.
            properties: details.
            **more: details too.
            occurred_at: aware; now where not given.
            durable: waits (at most a second) until it is on this machine's disk.
        """
        self._tell(EVENT, type, properties or {}, occurred_at, ANALYTICS, more, durable=durable)

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
            found = tuple(kinds.normal(identifier_of(kind, value)) for kind, value in identifiers.items())
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
    ) -> None:  # fmt: skip
        try:
            type_.encode()  # a text, and one that can be written
            fact = self._fact(kind, type_, {**properties, **more}, occurred_at)
            check(fact)
        except Exception as error:  # noqa: BLE001  # the host's own values: whatever they raise is counted, never raised
            self._touchpoint.count_refused(kind, type_, error)
            return
        journalled = threading.Event() if durable else None
        self._offer(fact, lane, journalled)
        if journalled is not None:
            journalled.wait(1.0)

    def _fact(self, kind: str, type_: str, properties: dict[str, Any], occurred_at: datetime | None = None) -> Fact:
        runtime, touchpoint = self._runtime, self._touchpoint
        at = from_datetime(occurred_at) if occurred_at is not None else runtime.now()
        return Fact(
            runtime.ids.next(), kind, runtime.plan.vocabulary.canonical(type_, touchpoint.name, touchpoint.channel), at,
            runtime.next_seq(), self.identifiers, touchpoint.channel, touchpoint.name, self._interaction,
            properties_bytes(properties),
        )  # fmt: skip

    def _offer(self, fact: Fact, lane: int, journalled: threading.Event | None = None) -> None:
        self._touchpoint.told(fact)
        self._runtime.offer(fact, lane, self._held, journalled)

    # -- the end -------------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Ends the session, once; the customer stays held until the lease runs out."""
        if self._closed:
            return
        self._closed = True
        self._runtime.release(self._held, self._runtime.clock() + self._keep)

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
