"""Replay: a question of the past, asked again of what was known then (VE8).

Owns that asking again is the same as asking was: the same overlay, context and decision, on the same basis; and in what
two answers differ. Calls the team's function and nothing else. Where moments come from is `wire_replay`'s.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from .context import Context
from .decision import Decision, Question, decide
from .decision_fact import Basis, Treatment, answer_of, details_of, treatment_of
from .fact import DECISION, Fact
from .freshness import FRESH, Freshness
from .overlay import links_someone_new, overlaid
from .plan import EMPTY, Plan
from .projection import NOBODY, Projected

NO_BASIS: Final = Basis()


@dataclass(frozen=True, slots=True)
class Moment:
    """One moment of the past. Proto: `segue.v1.ReplayMoment`.

    Attributes:
        fact: the recorded decision, or the fact at which is asked.
        customer: opaque; who she is today.
        at: in microseconds.
        plan: read by, with its workspace.
        projected: what was known, before own facts.
        overlay: own facts over it.
        freshness: how old it was.
        version: of the context.
        channel: of actions that name none.
        touchpoint: who asks.
        basis: what the decision says that it was made on.
        gap: why it cannot be asked again; empty where it can.
        late: how many facts had happened and were not known.
        merged_late: whether another customer turned out to be the same by one of them.
        narrowed: whether the touchpoint may read less now than then.
    """

    fact: Fact
    customer: str
    at: int
    plan: Plan = EMPTY
    projected: Projected = NOBODY
    overlay: tuple[Fact, ...] = ()
    freshness: Freshness = FRESH
    version: int = 0
    channel: str = ""
    touchpoint: str = ""
    basis: Basis = NO_BASIS
    gap: str = ""
    late: int = 0
    merged_late: bool = False
    narrowed: bool = False

    @property
    def recorded(self) -> Answer | None:
        """What was answered then; None where nothing was asked."""
        return Answer(self.fact.raw) if self.fact.kind == DECISION else None


class Answer:
    """An answer in its written form. Two with the same bytes are the same answer, of one function, for one reason."""

    __slots__ = ("_details", "raw")

    def __init__(self, raw: bytes, details: dict[str, Any] | None = None) -> None:
        self.raw = raw
        self._details = details

    @property
    def details(self) -> Mapping[str, Any]:
        """As decoded."""
        if self._details is None:
            self._details = json.loads(self.raw)
        return self._details

    def is_identical(self, other: Answer) -> bool:
        """Whether all is the same bit for bit: value, reads, verdicts, words; whichever function gave it."""
        if self.raw == other.raw:
            return True
        mine, others = json.loads(self.raw), json.loads(other.raw)
        return bool({**mine, "function": ""} == {**others, "function": ""})

    @property
    def treatment(self) -> Treatment:
        """What becomes of the customer by it."""
        return treatment_of(self.details)

    @property
    def reads(self) -> dict[str, str]:
        """What was asked, with its answer, as JSON text."""
        return {question: _text(answer) for question, answer in self.details.get("reads", ())}


def asked_again(question: Question, moment: Moment) -> tuple[Answer, str]:
    """The answer of a question at a moment, and why it is none; empty where it is one."""
    decision = ask(question, moment)
    decided_by = moment.fact.properties.get("decided_by", "") if moment.fact.kind == DECISION else ""
    details, raw = details_of(decision, answer_of(decision), moment.basis, decided_by)
    return Answer(raw, details), decision.error


def ask(question: Question, moment: Moment) -> Decision:
    """Asks a question at a moment of the past, as a session asks it now."""
    base, overlay = moment.projected, moment.overlay
    shown = overlaid(base, moment.plan, overlay) if overlay else base
    context = Context(shown, moment.plan, moment.at, moment.freshness, moment.version)
    decision = decide(question, context, moment.channel, moment.touchpoint)
    if any(links_someone_new(base, fact) for fact in overlay):
        decision.pending = "IDENTITY_PENDING"
    return decision


@dataclass(frozen=True, slots=True)
class Difference:
    """How an answer differs from an earlier one.

    Attributes:
        was, now: what became, and what would become, of the customer.
        decided_by: what the later one read that the earlier did not, or that answered otherwise; where there is no such
            thing, what it read last. (question, answer, what the earlier read there or empty), as JSON texts.
    """

    was: Treatment
    now: Treatment
    decided_by: tuple[tuple[str, str, str], ...]


def difference(was: Answer, now: Answer) -> Difference | None:
    """How two answers to one question differ; None where they treat the customer alike."""
    if was.raw == now.raw or was.treatment == now.treatment:
        return None
    before, after = was.reads, now.reads
    other = [(question, answer, before.get(question, "")) for question, answer in after.items()]
    found = [read for read in other if read[1] != read[2]]
    held = [(f"guardrail {name}", verdict, "") for name, verdict in _binding(now).items() if name not in _binding(was)]
    return Difference(was.treatment, now.treatment, tuple([*found, *held] or other[-1:]))


def _binding(answer: Answer) -> dict[str, str]:
    verdicts = answer.details.get("verdicts", ())
    return {v["guardrail"]: v["kind"] for v in verdicts if v["kind"] != "ALLOW" and v.get("mode") == "enforce"}


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False)
