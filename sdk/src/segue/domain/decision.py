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
from .action import Action
from .context import FRESH, MISSING, PERSISTED, STALE, Asked, Context, Freshness, in_words
from .derivation import shipped_verdict
from .expression import NEVER
from .guardrail import ALLOW, Verdict
from .instant import instant_text
from .scope import Scope

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
    """

    name: str
    function: Function
    default: Any = None
    record: str = "changed"

    def __call__(self, context: Context) -> Any:
        return self.function(context)


class Actor(Protocol):
    """Who carries actions out and records them: a session of the SDK."""

    def act(self, decision: Decision) -> AbstractContextManager[None]:
        """Records what became of the action: completed, failed or skipped."""


class Decision:
    """A touchpoint's answer to a question.

    Attributes:
        name: of the question.
        value: the answer; an `Action` where one was proposed and is allowed.
        reason: `RULE`, `DEFAULT` (the function had no answer), `HELD_BACK` (guardrails), `FUNCTION_FAILED`,
            `NAME_UNKNOWN` or `NOT_GRANTED`.
        partial: whether a question reached further back than is kept.
        freshness: of what it was made on.
        at: the moment, in microseconds.
        version: of the context; 0 where it was missing.
        plan: digest of the plan.
        action: the action proposed, allowed or not.
        verdicts: of every guardrail that spoke, also of those that only observe.
        asked: what the function asked and was answered, in that order; `reads` has it in words.
        pending: why the customer may yet turn out to be more than is seen: `IDENTITY_PENDING`, or empty.
    """

    __slots__ = (
        "action", "actor", "asked", "at", "default", "error", "freshness", "id", "name", "partial", "pending", "plan",
        "reason", "value", "verdicts", "version",
    )  # fmt: skip

    def __init__(self, question: Question, context: Context) -> None:
        self.name = question.name
        self.default = question.default
        self.value: Any = question.default
        self.reason: str = DEFAULT
        self.error: str = ""
        self.freshness: Freshness = context.freshness
        self.at: int = context.at
        self.version: int = context.version
        self.plan: str = context.plan.digest
        self.action: Action | None = None
        self.verdicts: Sequence[Verdict] = ()
        self.asked: Sequence[Asked] = context.asked
        self.partial: bool = False
        self.pending: str = ""
        self.id: bytes = b""
        self.actor: Actor | None = None

    @property
    def reads(self) -> Sequence[tuple[str, Any]]:
        """(question, answer) in the order the function asked."""
        return in_words(self.asked)

    @property
    def allowed(self) -> bool:
        """Whether there is something to do and no guardrail holds it back."""
        return self.action is not None and not any(verdict.binds for verdict in self.verdicts)

    @property
    def verdict(self) -> Verdict:
        """The strictest binding verdict; ALLOW where none binds."""
        binding = [verdict for verdict in self.verdicts if verdict.binds]
        return max(binding, key=lambda v: v.severity, default=Verdict(kind=ALLOW, guardrail=""))

    def act(self) -> AbstractContextManager[None]:
        """`with d.act(): send()`: records the action as completed, or as failed where the block raises.

        Raises:
            RuntimeError: the decision allows no action.
        """
        if not self.allowed or self.actor is None:
            raise RuntimeError(f"{self.name} allows no action now: check d.allowed first")
        return self.actor.act(self)

    def explain(self, why_not: Any = None) -> str:
        """Why this answer; with `why_not`, why not another one, in one line."""
        if why_not is not None:
            return self._why_not(why_not)
        parts = [f"{self.name} = {shown(self.value)} ({self.reason})"]
        if self.error:
            parts.append(self.error)
        reads = self.reads
        if reads:
            parts.append("because " + ", ".join(f"{question} is {shown(answer)}" for question, answer in reads))
        parts += [_held(verdict) for verdict in self.verdicts if verdict.kind != ALLOW]
        if self.partial:
            parts.append("PARTIAL: a question reached further back than is kept")
        if self.pending:
            parts.append(self.pending)
        parts.append(f"context {self.freshness}")
        return "; ".join(parts)

    def _why_not(self, value: Any) -> str:
        if self.value == value:
            return f"{self.name} is {shown(value)}."
        binding = [verdict for verdict in self.verdicts if verdict.binds]
        if binding and (self.action == value or (self.action is not None and self.action.kind == value)):
            return f"Not {shown(value)}: {_held(max(binding, key=lambda v: v.severity))}."
        if self.error:
            return f"Not {shown(value)}: {self.error}."
        if self.freshness.state == MISSING:
            return f"Not {shown(value)}: nothing was known of the customer (context MISSING)."
        reads = self.reads
        failed = next((read for read in reads if not read[1]), reads[-1] if reads else None)
        if failed is None:
            return f"Not {shown(value)}: {self.name} asked nothing and answered {shown(self.value)}."
        return f"Not {shown(value)}: {failed[0]} is {shown(failed[1])}."

    def __repr__(self) -> str:
        return f"Decision({self.explain()})"


def shown(value: Any) -> str:
    """A value in words, whatever it is."""
    if isinstance(value, Action):
        return f"{value.kind}{f' about {value.topic}' if value.topic else ''}"
    return _safely(repr, value)


def _safely(say: Callable[[Any], str], value: Any) -> str:
    """A value in words; its type where it cannot say them."""
    try:
        return say(value)
    except Exception:  # noqa: BLE001  # the host's own code, as in `decide`
        return f"<{type(value).__name__}>"


def _held(verdict: Verdict) -> str:
    owner = f" by {verdict.owner}" if verdict.owner else ""
    until = f" until {instant_text(verdict.until)}" if verdict.until < NEVER else ""
    watching = "" if verdict.mode == "enforce" else "would be (only observing) "
    return f"{watching}held{owner}{until} by guardrail {verdict.guardrail}: {verdict.reason.rstrip('.')}"


def decide(question: Question, context: Context, channel: str = "") -> Decision:
    """Asks a question of a context.

    Args:
        question: the function, its name and default.
        context: what it may read, at the moment asked about.
        channel: of actions that name none.

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
        decision.error = f"{type(error).__name__}: {_safely(str, error)}"
        return decision
    decision.partial = context.partial
    if proposed is None:
        return decision
    decision.reason = RULE
    if type(proposed) is Action:
        _dispose(decision, [proposed], context, channel)
    elif type(proposed) is list and proposed and all(type(item) is Action for item in proposed):
        _dispose(decision, proposed, context, channel)
    else:
        decision.value = proposed
    return decision


def _dispose(decision: Decision, candidates: Sequence[Action], context: Context, channel: str) -> None:
    """The first candidate that no guardrail holds back; where none, the first one's verdicts are told."""
    first: tuple[Action, list[Verdict]] | None = None
    for action in candidates:
        verdicts = judge(action.asked(channel), context)
        if not any(verdict.binds for verdict in verdicts):
            decision.value = decision.action = action
            decision.verdicts = verdicts
            return
        first = first or (action, verdicts)
    assert first is not None
    decision.action, decision.verdicts = first
    decision.reason = HELD_BACK


def judge(action: Mapping[str, Any], context: Context) -> list[Verdict]:
    """The verdicts of all guardrails that apply to an action."""
    scope = Scope(context.content, context.at, context.plan, action=action)
    projected, state = context.projected, context.freshness.state
    found = []
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


__all__ = [
    "DEFAULT", "FRESH", "FUNCTION_FAILED", "HELD_BACK", "RULE", "Actor", "Decision", "Function", "Question", "decide",
    "judge", "shown",
]  # fmt: skip
