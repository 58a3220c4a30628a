"""Decisions run by the hub, for channels that do not run their function themselves (L5).

Owns asking a team's function on exactly what its touchpoint may see, and recording the answer as the SDK would: the
same projection, the same `decide`, the same fact. What is central is the place; the function stays the team's own.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final

import structlog
from segue.domain.context import Context
from segue.domain.decision import FUNCTION_FAILED, Decision, Question, decide, exposed_arm
from segue.domain.decision_fact import HUB, answer_of, basis_of, details_of
from segue.domain.fact import DECISION, EXPOSURE, Fact, properties_bytes
from segue.domain.freshness import FRESH
from segue.domain.grant import SERVICE, Grant
from segue.domain.identifier import Identifier
from segue.domain.interaction import InteractionRef
from segue.domain.plan import Plan
from segue.domain.projection import NOBODY, Origin, project, receive
from segue.domain.section import Section
from segue.domain.shadow import pair_of, shadow_name, shadowed
from segue.domain.workspace import workspace_of
from segue.errors import FactError

from .contexts import Contexts
from .failure import Refusal
from .function_pool import FunctionPool, Overdue
from .ingest import Ingest
from .plans import Plans
from .question_book import QuestionBook
from .stored_content import dumps

log = structlog.get_logger("segue.hub")

SHADOWS: Final = 64
"""Shadows under way; beyond, they are skipped and counted."""
PAIRS: Final = 100_000
"""Customers whose last pair of answers is remembered, so that only a changed one is recorded."""
DEADLINE: Final = 500
"""Milliseconds that a function has, unless the caller says otherwise."""
LONGEST: Final = 10_000
"""Milliseconds that a caller may give it."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One question about one customer.

    Attributes:
        decision: the question.
        names: the customer's identifiers; the strongest says who she is.
        purpose: why it is read.
        interaction: that the question belongs to, if any.
        deadline_ms: how long the function may take; `DEADLINE` where 0.
    """

    decision: str
    names: tuple[Identifier, ...]
    purpose: str = SERVICE
    interaction: InteractionRef | None = None
    deadline_ms: int = 0


@dataclass(frozen=True, slots=True)
class _Visible:
    """What the caller may know at the moment it asks."""

    sections: list[Section]
    origin: Origin
    plan: Plan
    at: int

    def context(self) -> Context:
        """As the SDK makes it of what it received."""
        if not self.sections:
            return Context(NOBODY, self.plan, self.at)
        projected = replace(receive(self.sections), origin=self.origin)
        return Context(projected, self.plan, self.at, FRESH, self.origin.version)


@dataclass(frozen=True, slots=True)
class _Made:
    """A decision, and how it is written down."""

    decision: Decision
    answer: Any
    raw: bytes
    arms: dict[str, str]


@dataclass(frozen=True, slots=True)
class _Work:
    """One call of a team's function, on a thread of its own: all that the host's code may do is done there."""

    question: Question
    visible: _Visible
    channel: str
    touchpoint: str
    purpose: str

    def __call__(self) -> _Made:
        context = self.visible.context()
        return self.written(decide(self.question, context, self.channel, self.touchpoint), context)

    def paired(self, was: Decision) -> tuple[tuple[str, str], bytes]:
        """The new version's answer beside the one that was given."""
        context = self.visible.context()
        now = shadowed(self.question, context, self.channel, self.touchpoint)
        return pair_of(was, now, basis_of(context, self.purpose))

    def overdue(self, error: Overdue) -> _Made:
        """The default, since there is no answer."""
        context = self.visible.context()
        decision = Decision(self.question, context)
        decision.reason, decision.error = FUNCTION_FAILED, f"{type(error).__name__}: {error}"
        return self.written(decision, context)

    def written(self, decision: Decision, context: Context) -> _Made:
        """The decision as it is recorded."""
        answer = answer_of(decision)
        raw = details_of(decision, answer, basis_of(context, self.purpose), HUB)[1]
        holdouts = [g for v in decision.verdicts if (g := context.plan.guardrails.get(v.guardrail)) is not None]
        arms = {holdout.name: arm for holdout in holdouts if (arm := exposed_arm(holdout, context))}
        return _Made(decision, answer, raw, arms)


class Decisions:
    """Runs decision functions.

    Args:
        book: which function answers which question.
        contexts, plans: what is read.
        ingest: takes the recorded decisions.
        clock: the hub's time in microseconds.
        incarnation: of the store; versions speak of it.
    """

    def __init__(
        self, book: QuestionBook, contexts: Contexts, plans: Plans, ingest: Ingest, clock: Callable[[], int],
        incarnation: str,
    ) -> None:  # fmt: skip
        self.book = book
        self.pool = FunctionPool()
        self._contexts = contexts
        self._plans = plans
        self._ingest = ingest
        self._clock = clock
        self._incarnation = incarnation
        self._read_with: tuple[Plan, str, Plan] | None = None
        self._ordinal = 0
        self._shadows: set[asyncio.Task[None]] = set()
        self._last_pairs: dict[tuple[Identifier, str], tuple[str, str]] = {}
        self.counts = dict.fromkeys(("asked", "recorded", "failed", "shadows", "shadows_failed", "shadows_skipped"), 0)

    def plain(self) -> dict[str, Any]:
        """How it goes, for status."""
        return {
            "functions": self.book.plain(), **self.counts, **self.pool.counts, "overdue_now": self.pool.overdue,
        }  # fmt: skip

    async def decide(self, asked: Asked, grant: Grant) -> Decision:
        """Asks a question; where the answer is recorded, it is durable before it is given.

        Raises:
            Refusal: NAME_UNKNOWN (no such function), FACT_INVALID (who it is about), INPUT_INVALID (the deadline),
                OVERLOADED, STORE_FULL, STORE_BROKEN.
        """
        question, channel_by = self.book.find(grant.touchpoint, asked.decision)
        if not 0 <= asked.deadline_ms <= LONGEST:
            raise Refusal("INPUT_INVALID", f"deadline_ms: {asked.deadline_ms} is not between 1 and {LONGEST}")
        names = self._named(asked.names)
        visible = self._look(names[0], grant, asked.purpose)
        channel = channel_by(visible.plan)
        work = _Work(question, visible, channel, grant.touchpoint, asked.purpose)
        self.counts["asked"] += 1
        try:
            made = await self.pool.run(asked.decision, work, (asked.deadline_ms or DEADLINE) / 1000)
        except Overdue as error:
            made = work.overdue(error)
        decision = made.decision
        self.counts["failed"] += decision.reason == FUNCTION_FAILED
        facts = self._exposures(made, names[0])
        if self._is_told(question, made, grant, names[0]):
            decision.id = self._id()
            facts.append((decision.id, DECISION, decision.name, made.raw))
        if facts:
            await self._tell(facts, names, channel, asked.interaction, grant)
        self.counts["recorded"] += bool(decision.id)
        if question.shadow is not None:
            shadow = asyncio.create_task(self._ask_shadow(work, made, names, channel, asked.interaction, grant))
            self._shadows.add(shadow)
            shadow.add_done_callback(self._shadows.discard)
        return decision

    async def _ask_shadow(
        self, work: _Work, made: _Made, names: tuple[Identifier, ...], channel: str, interaction: InteractionRef | None,
        grant: Grant,
    ) -> None:  # fmt: skip
        """The new version, after the answer was given; whatever comes of it, nobody waits for it."""
        if len(self._shadows) > SHADOWS:
            self.counts["shadows_skipped"] += 1
            return
        name = shadow_name(work.question.name)
        try:
            key, raw = await self.pool.run(name, partial(work.paired, made.decision), DEADLINE / 1000)
            if made.decision.id or self._last_pairs.get((names[0], name)) != key:
                while len(self._last_pairs) >= PAIRS:
                    del self._last_pairs[next(iter(self._last_pairs))]
                self._last_pairs[names[0], name] = key
                await self._tell([(self._id(), DECISION, name, raw)], names, channel, interaction, grant)
            self.counts["shadows"] += 1
        except Exception as error:  # noqa: BLE001  # the shadow's own: whatever it is, it is counted
            self.counts["shadows_failed"] += 1
            log.warning("a shadow was not recorded", decision=work.question.name, error=type(error).__name__)

    def _named(self, names: tuple[Identifier, ...]) -> tuple[Identifier, ...]:
        """Whom it is about, strongest first, as a session holds her."""
        kinds = self._plans.current.kinds
        try:
            found = {kinds.normal(name) for name in names}
        except FactError as error:
            raise Refusal(error.code, f"identifiers: {error}") from None
        if not found:
            raise Refusal("FACT_INVALID", "identifiers: nobody is named. Name at least one, e.g. account=A-1009")
        return tuple(sorted(found, key=kinds.strength))

    def _look(self, name: Identifier, grant: Grant, purpose: str) -> _Visible:
        """The one projection, now: nothing that the touchpoint may not see reaches its function (VE6)."""
        plan, now = self._plan(), self._clock()
        known = self._contexts.known(name)
        if known is None:
            return _Visible([], Origin(), plan, now)
        _, head = known
        sections, _ = project(head.content, plan, grant, purpose, now, dumps)
        return _Visible(sections, Origin(self._incarnation, self._contexts.version(head), plan.digest), plan, now)

    def _plan(self) -> Plan:
        """The plan in force, with the workspace as touchpoints are told of it."""
        plan = self._plans.current
        digest, document = self._plans.told()
        if digest == plan.workspace.digest:
            return plan
        found = self._read_with
        if found is None or found[0] is not plan or found[1] != digest:
            found = self._read_with = plan, digest, plan.on(workspace_of(json.loads(document)))
        return found[2]

    def _is_told(self, question: Question, made: _Made, grant: Grant, name: Identifier) -> bool:
        """Whether the answer becomes a fact: as in the SDK, by what is known of the last answer."""
        if question.record == "never":
            return False
        known = self._contexts.find(name)
        if question.record != "changed" or made.decision.action is not None or known is None:
            return True
        for fact in reversed(self._contexts.read(known.customer).content.decisions):
            if fact.type == made.decision.name and fact.touchpoint == grant.touchpoint:
                told = fact.properties
                return told.get("value") != made.answer or told.get("reason") != made.decision.reason
        return True

    def _exposures(self, made: _Made, name: Identifier) -> list[tuple[bytes, str, str, bytes]]:
        """The first time that a holdout decides about an action becomes a fact (AC4)."""
        known = self._contexts.find(name) if made.arms else None
        told = self._contexts.read(known.customer).content.exposures if known is not None else {}
        return [
            (self._id(), EXPOSURE, holdout, properties_bytes({"arm": arm}))
            for holdout, arm in made.arms.items()
            if holdout not in told
        ]

    async def _tell(
        self, told: list[tuple[bytes, str, str, bytes]], names: tuple[Identifier, ...], channel: str,
        interaction: InteractionRef | None, grant: Grant,
    ) -> None:  # fmt: skip
        """Writes facts in the caller's name, by the caller's own right to write.

        Raises:
            Refusal: one of them is not taken.
        """
        now = self._clock()
        facts = [
            Fact(id_, kind, type_, now, 0, names, channel, grant.touchpoint, interaction, raw)
            for id_, kind, type_, raw in told
        ]
        for result in await self._ingest.publish(facts, grant):
            if result.status == "REJECTED":
                raise Refusal(result.code, result.reason)

    def _id(self) -> bytes:
        """16 bytes, UUIDv7: rising, so that what is said within one microsecond keeps its order (FA3)."""
        self._ordinal = max(self._clock() // 1000 << 12, self._ordinal + 1)
        millis, counter = self._ordinal >> 12, self._ordinal & 0xFFF
        tail = bytearray(secrets.token_bytes(8))
        tail[0] = 0x80 | (tail[0] & 0x3F)
        return millis.to_bytes(6, "big") + bytes((0x70 | counter >> 8, counter & 0xFF)) + bytes(tail)
