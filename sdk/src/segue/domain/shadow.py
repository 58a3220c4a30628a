"""A shadow: a new version of a decision function beside the one that acts. It is asked the same, and never acts.

Owns what is written down of a pair of answers. It is a decision of another name, so that nobody takes it for one: it
stands in no context, and counts for nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from .context import Context
from .decision import Decision, Question, decide
from .decision_fact import Basis, Treatment, answer_of, details_of, json_text, treatment_of
from .fact import MAX_PROPERTIES, properties_bytes

SUFFIX: Final = "#shadow"
"""Behind the name of a question, the name of what its shadow answered."""


def shadow_name(question: str) -> str:
    """The type of the facts that tell of a question's shadow."""
    return question + SUFFIX


def is_shadow(name: str) -> bool:
    """Whether a decision of this name acted on nobody."""
    return name.endswith(SUFFIX)


def shadowed(question: Question, context: Context, channel: str, touchpoint: str) -> Decision:
    """What the new version answers to what the old one was asked.

    Raises:
        Exception: whatever comes of a context that reaches less far than is asked; the caller counts it.
    """
    assert question.shadow is not None, "somebody is asked"
    return decide(replace(question, function=question.shadow, shadow=None), context, channel, touchpoint)


def pair_of(was: Decision, now: Decision, basis: Basis) -> tuple[tuple[str, str], bytes]:
    """Both answers: what tells whether the pair changed, and what is written down of it."""
    before = details_of(was, answer_of(was), basis)[0]
    after, raw = details_of(now, answer_of(now), basis)
    kept = ("value", "reason", "action", "verdicts", "reads", "error", "function")
    after["was"] = {name: before[name] for name in kept if name in before} | {"id": was.id.hex()}
    raw = properties_bytes(after)
    if len(raw) > MAX_PROPERTIES:
        after["was"] |= {"reads": [], "verdicts": []}
        after |= {"reads": [], "explain": ""}
        after.pop("candidates", None)
        raw = properties_bytes(after)
    if len(raw) > MAX_PROPERTIES:
        after["was"]["value"], after["value"] = ("too large to be written down",) * 2
        raw = properties_bytes(after)
    return (str(json_text(before["value"])), str(json_text(after["value"]))), raw


@dataclass(frozen=True, slots=True)
class Pair:
    """Two answers to one question on one context.

    Attributes:
        was, now: what became of the customer, and what would have.
        decided_by: what the new one read that the old one did not, or that answered otherwise, first; as (question,
            answer). Empty where both read the same.
        failed: whether the new one failed.
    """

    was: Treatment
    now: Treatment
    decided_by: tuple[str, Any] | None
    failed: bool

    @property
    def agree(self) -> bool:
        """Whether both treat the customer alike."""
        return self.was == self.now


def pair_from(details: Mapping[str, Any]) -> Pair:
    """The pair that a shadow's fact tells of.

    Raises:
        ValueError, TypeError, KeyError: it tells of none.
    """
    was = details["was"]
    before = {str(question): answer for question, answer in was.get("reads", ())}
    missing = object()
    other = ((str(q), a) for q, a in details.get("reads", ()) if before.get(str(q), missing) != a)
    failed = details.get("reason") in ("FUNCTION_FAILED", "NAME_UNKNOWN", "NOT_GRANTED")
    return Pair(treatment_of(was), treatment_of(details), next(other, None), failed)
