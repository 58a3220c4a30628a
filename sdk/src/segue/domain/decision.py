"""The one decision: the team's function proposes, shared guardrails dispose, the answer explains itself (law 4).

Owns `decide` and what a decision tells of itself. Calls the team's function and nothing else; an exception there gives
the default, never an exception here (except in tests, where a misspelt name should be loud).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Final, Protocol

from ..errors import NameUnknown, NotCovered, NotGranted
from . import choice
from .action import Action
from .context import Context
from .derivation import outcome_at, shipped_verdict
from .explanation import Proposal, Told, held, safely, shown
from .explanation import why_not as why_not_line
from .expression.value import NEVER
from .freshness import FRESH, MISSING, PERSISTED, STALE, Freshness
from .guardrail import Guardrail
from .holdout import HELD_OUT, TREATED
from .ranking import Candidate, Scorer, ranked
from .scope import Scope
from .snapshot import REMEMBERED, Asked, in_words
from .verdict import ALLOW, ENFORCE, Verdict, Verdicts

RULE: Final = "RULE"
DEFAULT: Final = "DEFAULT"
FUNCTION_FAILED: Final = "FUNCTION_FAILED"
HELD_BACK: Final = "HELD_BACK"

Function = Callable[[Context], Any]


@dataclass(frozen=True, slots=True)
class Question:
    """A decision function with its name and default.

    Attributes:
        name: for example `chat.route`.
        record: when the answer becomes a fact: `changed`, `always` or `never`.
        scorer: gives candidate actions their scores; the function's own order where there is none.
        shadow: a new version of the function, asked beside it; what it answers is recorded and never acts.
    """

    name: str
    function: Function
    default: Any = None
    record: str = "changed"
    scorer: Scorer | None = None
    shadow: Function | None = None

    def __call__(self, context: Context) -> Any:
        return self.function(context)


class Actor(Protocol):
    """Who carries actions out and records them: a session of the SDK."""

    def act(self, decision: Decision) -> AbstractContextManager[Any]:
        """Records what became of the action: completed, failed or skipped."""


class Decision:
    """A touchpoint's answer to a question.

    Attributes:
        question: that was asked.
        context: what it was asked on.
        value: the answer; an `Action` where one was proposed and is allowed.
        reason: `RULE`, `DEFAULT` (the function had no answer), `HELD_BACK` (guardrails), `FUNCTION_FAILED`,
            `NAME_UNKNOWN` or `NOT_GRANTED`.
        partial: whether a question reached further back than is kept.
        action: the action proposed, allowed or not.
        verdicts: of every guardrail that spoke, also of those that only observe.
        candidates: where the function gave several actions, all of them, best first, with scores and verdicts.
        pending: why the customer may yet turn out to be more than is seen: `IDENTITY_PENDING`, or empty.
    """

    __slots__ = (
        "action", "actor", "candidates", "context", "error", "id", "partial", "pending", "question", "reason", "value",
        "verdicts",
    )  # fmt: skip

    def __init__(self, question: Question, context: Context) -> None:
        self.question = question
        self.context = context
        self.value: Any = question.default
        self.reason: str = DEFAULT
        self.error: str = ""
        self.action: Action | None = None
        self.verdicts: Sequence[Verdict] = ()
        self.candidates: Sequence[Candidate] = ()
        self.partial: bool = False
        self.pending: str = ""
        self.id: bytes = b""
        self.actor: Actor | None = None

    def copy(self) -> Decision:
        """The same as it is now: what is held back later does not change it."""
        made = Decision(self.question, self.context)
        made.value, made.reason, made.error, made.action = self.value, self.reason, self.error, self.action
        made.verdicts, made.candidates, made.partial = self.verdicts, self.candidates, self.partial
        made.pending, made.id, made.actor = self.pending, self.id, self.actor
        return made

    @property
    def name(self) -> str:
        """Of the question."""
        return self.question.name

    @property
    def function(self) -> Function:
        """That was asked."""
        return self.question.function

    @property
    def default(self) -> Any:
        """The answer where there is no other."""
        return self.question.default

    @property
    def freshness(self) -> Freshness:
        """Of what it was made on."""
        return self.context.freshness

    @property
    def at(self) -> int:
        """The moment, in microseconds."""
        return self.context.at

    @property
    def version(self) -> int:
        """Of the context; 0 where it was missing."""
        return self.context.version

    @property
    def plan(self) -> str:
        """Digest of the plan."""
        return self.context.plan.digest

    @property
    def asked(self) -> Sequence[Asked]:
        """What the function asked and was answered, in that order; `reads` has it in words."""
        return self.context.asked

    @property
    def reads(self) -> Sequence[tuple[str, Any]]:
        """(question, answer) in the order the function asked."""
        return in_words(self.asked)

    @property
    def allowed(self) -> bool:
        """Whether there is something to do and no guardrail holds it back."""
        return self.action is not None and not _bound(self.verdicts)

    @property
    def verdict(self) -> Verdict:
        """The strictest binding verdict; ALLOW where none binds."""
        binding = [verdict for verdict in self.verdicts if verdict.binds]
        return max(binding, key=lambda v: v.severity, default=Verdict(kind=ALLOW, guardrail=""))

    def refused(self, verdicts: Sequence[Verdict]) -> None:
        """The hub knew better when a place was to be reserved: from here on the action is held back."""
        self.verdicts = [*(v for v in self.verdicts if v.kind == ALLOW), *(v for v in verdicts if v.kind != ALLOW)]
        self.value, self.reason = self.default, HELD_BACK

    def act(self) -> AbstractContextManager[Any]:
        """`with d.act(): send()`: records the action as completed, or as failed where the block raises.

        Where a strict cap speaks about the action, a place is reserved at the hub first, within 150 ms.

        Raises:
            RuntimeError: the decision allows no action.
            HeldBack: there is no place, or the hub cannot be asked; says who holds it, and until when.
        """
        if not self.allowed or self.actor is None:
            raise RuntimeError(f"{self.name} allows no action now: check d.allowed first")
        return self.actor.act(self)

    def explain(self, why_not: Any = None) -> str:
        """Why this answer; with `why_not`, why not another one, in one line."""
        if why_not is not None:
            return why_not_line(self._told(), why_not)
        parts = [f"{self.name} = {shown(self.value)} ({self.reason})"]
        if self.error:
            parts.append(self.error)
        reads = self.reads
        if reads:
            parts.append("because " + ", ".join(f"{question} is {shown(answer)}" for question, answer in reads))
        parts += [held(verdict) for verdict in self.verdicts if verdict.kind != ALLOW]
        if self.partial:
            parts.append("PARTIAL: a question reached further back than is kept")
        if self.pending:
            parts.append(self.pending)
        parts.append(f"context {self.freshness}")
        return "; ".join(parts)

    def _told(self) -> Told:
        candidates = self.candidates or ([Candidate(self.action)] if self.action is not None else ())
        proposals = [
            Proposal(c.action, c.verdicts or (self.verdicts if c.action is self.action else ()), c.score, c.outranks,
                     c.priority)
            for c in candidates
        ]  # fmt: skip
        return Told(self.name, self.value, proposals, self.reads, self.error, self.freshness.state == MISSING)

    def __repr__(self) -> str:
        return f"Decision({self.explain()})"


def decide(question: Question, context: Context, channel: str = "", touchpoint: str = "") -> Decision:
    """Asks a question of a context.

    Args:
        question: the function, its name and default.
        context: what it may read, at the moment asked about.
        channel: of actions that name none.
        touchpoint: who asks; a claim of its own does not hold it back.

    Raises:
        NameUnknown, NotCovered: only where the context is strict (in tests).
    """
    decision = Decision(question, context)
    try:
        proposed = question.function(context)
    except NameUnknown as error:
        if context.strict:
            raise
        decision.reason = "NOT_GRANTED" if isinstance(error, NotGranted) else "NAME_UNKNOWN"
        decision.error = str(error)
        return decision
    except NotCovered:
        raise
    except Exception as error:  # noqa: BLE001  # the host's own code: whatever it raises, the answer is the default (promise 7)
        decision.reason = FUNCTION_FAILED
        decision.error = f"{type(error).__name__}: {safely(str, error)}"
        return decision
    if context.partial:
        decision.partial = True
    if proposed is None:
        return decision
    decision.reason = RULE
    if type(proposed) is Action:
        decision.action = proposed
        verdicts = decision.verdicts = spoken(proposed, context, channel, touchpoint)
        if _bound(verdicts):
            decision.reason = HELD_BACK
        else:
            decision.value = proposed
    elif type(proposed) is list and proposed and all(type(item) is Action for item in proposed):
        decision.candidates = ranked(proposed, context, question.scorer)
        _dispose(decision, context, channel, touchpoint)
    else:
        decision.value = proposed
    return decision


def _dispose(decision: Decision, context: Context, channel: str, touchpoint: str) -> None:
    """The first candidate that no guardrail holds back; where none, the first one's verdicts are told."""
    for candidate in decision.candidates:
        candidate.verdicts = spoken(candidate.action, context, channel, touchpoint)
        if not _bound(candidate.verdicts):
            decision.value = decision.action = candidate.action
            decision.verdicts = candidate.verdicts
            return
    first = decision.candidates[0]
    decision.action, decision.verdicts, decision.reason = first.action, first.verdicts, HELD_BACK


def _bound(verdicts: Sequence[Verdict]) -> bool:
    """Whether one of them binds; most do not."""
    if type(verdicts) is Verdicts:
        return verdicts.binding
    for verdict in verdicts:  # noqa: SIM110  # a generator would cost more than what it asks
        if verdict.kind != ALLOW and verdict.binds:
            return True
    return False


def spoken(action: Action, context: Context, channel: str = "", touchpoint: str = "") -> Sequence[Verdict]:
    """The verdicts of all guardrails that apply to an action, as `judge` gives them.

    What they say to it holds until the first of them turns; it is remembered until then where nothing but the context
    and time speaks: it is live, nothing of it is hidden, and the action says plain texts.

    Args:
        action: what is wanted to be done.
        context: of whom, and when.
        channel: of an action that names none.
        touchpoint: who asks.
    """
    kind, topic, purpose, advances = action.kind, action.topic, action.purpose, action.advances
    where = action.channel or channel
    plain = type(kind) is type(topic) is type(purpose) is type(where) is type(advances) is type(touchpoint) is str
    snapshot = context.snapshot
    if not plain or snapshot.projected.hidden or not context.live:
        return judge(action.asked(channel) | {"touchpoint": touchpoint}, context)
    key = kind, topic, purpose, where, advances, touchpoint
    at, remembered = context.at, snapshot.judged
    known = remembered.get(key)
    if known is not None and known[0] <= at < known[1]:
        return known[2]
    found = Verdicts.of(judge(action.asked(channel) | {"touchpoint": touchpoint}, context))
    if known is not None or len(remembered) < REMEMBERED:
        snapshot.remember(key, (at, min((verdict.flips_at for verdict in found), default=NEVER), found))
    return found


def judge(action: Mapping[str, Any], context: Context) -> list[Verdict]:
    """The verdicts of all guardrails that apply to an action, worked out."""
    scope = Scope(context.content, context.at, context.plan, action=action)
    projected, state = context.projected, context.freshness.state
    chosen = choice.verdict(context.content.choices, action, context.plan.unstoppable)
    found = [] if chosen is None else [chosen]
    for guardrail in context.plan.guardrails.values():
        if not guardrail.applies(scope):
            continue
        if state == MISSING:
            verdict = guardrail.without_context(action)
        elif not projected.hidden.isdisjoint(guardrail.inputs):
            shipped = projected.guardrails
            intervals = shipped.get(guardrail.outcome_name(action)) or shipped.get(guardrail.name, [])
            verdict = shipped_verdict(guardrail, intervals, context.at, action)
        else:
            verdict = guardrail.verdict(scope)
        if state in (STALE, PERSISTED):
            verdict = guardrail.on_old_context(verdict)
        found.append(verdict)
    return found


def exposed_arm(guardrail: Guardrail, context: Context) -> str:
    """The arm in which a holdout that spoke puts a customer for the first time; empty where nothing was decided by it:
    it is not in force or only observes, her arm is told already, or nobody here knows what it is.
    """
    holdout = guardrail.holdout
    if holdout is None or guardrail.mode != ENFORCE or not guardrail.in_force(context.at):
        return ""
    if context.freshness.state == MISSING or guardrail.name in context.content.exposures:
        return ""
    if context.projected.hidden.isdisjoint(guardrail.inputs):
        return holdout.arm(context.content.groups, context.plan.kinds)
    shipped = outcome_at(context.projected.guardrails.get(guardrail.name, []), context.at)
    return "" if shipped is None else TREATED if shipped.kind == ALLOW else HELD_OUT


__all__ = [
    "DEFAULT", "FRESH", "FUNCTION_FAILED", "HELD_BACK", "RULE", "Actor", "Decision", "Function", "Question", "decide",
    "exposed_arm", "judge", "shown", "spoken",
]  # fmt: skip
