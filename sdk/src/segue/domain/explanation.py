"""Explanations: an answer, a guardrail's word and "why not" in one line, for people.

Owns the words in which a decision explains itself, be it just made or read back from its record. The same line comes of
both.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from . import choice
from .action import Action
from .expression.value import NEVER
from .instant import instant_text, parse_instant
from .verdict import ENFORCE, Verdict

NOTHING: Final = object()
"""An answer that equals no other: that of a decision which was held back, in a record."""


@dataclass(frozen=True, slots=True)
class Proposal:
    """An action that a function gave, as far as it is told of.

    Attributes:
        action: itself, or its kind where no more is known.
        verdicts: of guardrails; empty where a better one was taken before.
        score, outranks, priority: what decided its place.
    """

    action: Any
    verdicts: Sequence[Verdict] = ()
    score: float = 0.0
    outranks: bool = False
    priority: int = 0

    def is_meant(self, value: Any) -> bool:
        """Whether somebody who names an action, or a kind of action, means this one."""
        if self.action == value:
            return True
        return isinstance(self.action, Action) and self.action.kind == value

    @property
    def binding(self) -> list[Verdict]:
        """The verdicts that hold it back."""
        return [verdict for verdict in self.verdicts if verdict.binds]


@dataclass(frozen=True, slots=True)
class Told:
    """What a decision tells of itself.

    Attributes:
        name: of the question.
        value: the answer.
        proposals: the actions that the function gave, best first.
        reads: (question, answer) in the order the function asked.
        error: what failed; empty where nothing did.
        missing: whether nothing was known of the customer.
    """

    name: str
    value: Any
    proposals: Sequence[Proposal] = ()
    reads: Sequence[tuple[str, Any]] = ()
    error: str = ""
    missing: bool = False


def why_not(told: Told, value: Any) -> str:
    """The first thing that stood in another answer's way, in one line."""
    taken = next((p for p in told.proposals if p.action == told.value), None)
    if told.value == value or (taken is not None and taken.is_meant(value)):
        return f"{told.name} is {shown(value)}."
    wanted = next((p for p in told.proposals if p.is_meant(value)), None)
    if wanted is not None and wanted.binding:
        return f"Not {shown(value)}: {held(max(wanted.binding, key=lambda v: v.severity))}."
    if wanted is not None and taken is not None:
        return f"Not {shown(value)}: {shown(taken.action)} came first, {_before(taken, wanted)}."
    if told.error:
        return f"Not {shown(value)}: {told.error}."
    if told.missing:
        return f"Not {shown(value)}: nothing was known of the customer (context MISSING)."
    failed = next((read for read in told.reads if not read[1]), None)
    if failed is None and told.proposals:
        there = ", ".join(shown(proposal.action) for proposal in told.proposals)
        return f"Not {shown(value)}: it was not among the candidates ({there})."
    failed = failed or (told.reads[-1] if told.reads else None)
    if failed is None:
        return f"Not {shown(value)}: {told.name} asked nothing and answered {shown(told.value)}."
    return f"Not {shown(value)}: {failed[0]} is {shown(failed[1])}."


def _before(taken: Proposal, wanted: Proposal) -> str:
    if taken.outranks != wanted.outranks:
        return "since it advances a journey that outranks others"
    if taken.priority != wanted.priority:
        return f"by priority {taken.priority} over {wanted.priority}"
    if taken.score != wanted.score:
        return f"by score {taken.score:g} over {wanted.score:g}"
    return "since the function named it first"


def recorded(name: str, details: Mapping[str, Any]) -> Told:
    """What the record of a decision tells; see `decision_fact.details_of`.

    Raises:
        ValueError, TypeError, KeyError: it is no decision's.
    """
    value, action = details.get("value"), details.get("action")
    if details.get("candidates"):
        proposals = [_proposal(str(c["kind"]), c, c.get("verdicts", ())) for c in details["candidates"]]
    else:
        proposals = [_proposal(str(value), action, details.get("verdicts", ()))] if action is not None else []
    if details.get("reason") == "HELD_BACK":
        value = NOTHING
    elif action is not None:
        value = next((p.action for p in proposals if p.is_meant(value) and not p.binding), value)
    return Told(
        name, value, proposals, [(str(question), answer) for question, answer in details.get("reads", ())],
        str(details.get("error", "")), details.get("freshness") == "MISSING",
    )  # fmt: skip


def _proposal(kind: str, written: Mapping[str, Any], verdicts: Sequence[Mapping[str, Any]]) -> Proposal:
    topic, purpose, channel, advances = (str(written.get(n, "")) for n in ("topic", "purpose", "channel", "advances"))
    action = Action(kind, topic, purpose, channel, advances=advances)
    return Proposal(
        action, _verdicts(verdicts), float(written.get("score", 0.0)), bool(written.get("outranks")),
        int(written.get("priority", 0)),
    )  # fmt: skip


def _verdicts(written: Sequence[Mapping[str, Any]]) -> list[Verdict]:
    return [
        Verdict(
            kind=v["kind"], guardrail=v["guardrail"], until=parse_instant(v["until"]) if "until" in v else NEVER,
            reason=v.get("reason", ""), owner=v.get("owner", ""), mode=v.get("mode", ENFORCE),
            holder=v.get("holder", ""),
        )
        for v in written
    ]  # fmt: skip


def shown(value: Any) -> str:
    """A value in words, whatever it is."""
    if isinstance(value, Action):
        return f"{value.kind}{f' about {value.topic}' if value.topic else ''}"
    return safely(repr, value) if value is not NOTHING else "nothing"


def safely(say: Callable[[Any], str], value: Any) -> str:
    """A value in words; its type where it cannot say them."""
    try:
        return say(value)
    except Exception:  # noqa: BLE001  # the host's own code, as in `decide`
        return f"<{type(value).__name__}>"


def held(verdict: Verdict) -> str:
    """What a guardrail that speaks against an action says, with who holds it and until when."""
    owner = f" by {verdict.owner}" if verdict.owner else ""
    until = f" until {instant_text(verdict.until)}" if verdict.until < NEVER else ""
    holder = f"; {verdict.holder} holds it" if verdict.holder and verdict.guardrail != choice.NAME else ""
    watching = "" if verdict.mode == ENFORCE else "would be (only observing) "
    return f"{watching}held{owner}{until} by guardrail {verdict.guardrail}: {verdict.reason.rstrip('.')}{holder}"
