"""A head: one customer's folded content, kept so that the next fact costs a step.

Owns the cheap path for small inversions: forks taken behind the newest facts, from which a late one is folded again.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Collection, Iterable
from typing import Final

from segue.domain.content import Content
from segue.domain.fact import STATEMENTS, Fact
from segue.domain.fold import step
from segue.domain.identifier import Identifier
from segue.domain.plan import Plan

FORK_EVERY: Final = 8
"""Facts between forks; two are kept, so that a fact at most this late is folded from a fork."""
STEP: Final = "steps"
LATE: Final = "late"


class Head:
    """One live content.

    Attributes:
        content: as folded through the newest fact.
        position: the newest position of the change log that it includes.
        checkpointed: the position of its checkpoint in the store; 0 where there is none.
        moved: the position at which its customer last gained or lost identifiers.
        used: whether it was asked for since somebody last looked for what to let go of.
    """

    __slots__ = ("_base", "_mark", "_middle", "_tail", "checkpointed", "content", "moved", "position", "used")

    def __init__(self, content: Content, position: int, *, whole: bool, checkpointed: int = 0) -> None:
        self.content = content
        self.position = position
        self.checkpointed = checkpointed
        self.moved = 0
        self.used = True
        # None stands for the beginning: most customers have few facts, and no fork is kept for them.
        self._base = None if whole and content.through is None else content.fork()
        self._tail: list[Fact] = []
        self._middle: Content | None = None
        self._mark = 0

    def apply(self, plan: Plan, fact: Fact) -> str:
        """Folds one more fact in.

        Returns:
            STEP, LATE where it was folded from a fork, or nothing where it is too late for those: then nothing changed.
        """
        content = self.content
        if fact.kind in STATEMENTS:
            return STEP  # it selects links and is not folded; kept among the newest facts, it would break their order
        if not content.sorts_last((fact.occurred_at, fact.seq, fact.id)):
            return LATE if self._insert(plan, fact) else ""
        step(content, plan, fact)
        tail = self._tail
        tail.append(fact)
        if len(tail) >= 2 * FORK_EVERY and len(tail) >= self._mark + FORK_EVERY:
            if self._middle is not None:
                self._base = self._middle
                del tail[: self._mark]
            self._middle, self._mark = content.fork(), len(tail)
        return STEP

    def hold_apart(self, names: frozenset[Identifier]) -> None:
        """These are named by the customer's facts, and not the customer's."""
        for content in (self.content, self._base, self._middle):
            if content is not None:
                content.apart |= names

    def _insert(self, plan: Plan, fact: Fact) -> bool:
        base = self._base
        if base is not None and not base.sorts_last(fact.order):
            return False
        tail = self._tail
        insort(tail, fact, key=lambda other: other.order)
        content = base.fork() if base is not None else Content(apart=self.content.apart)
        for other in tail:
            step(content, plan, other)
        self.content, self._middle, self._mark = content, None, 0
        if len(tail) > 3 * FORK_EVERY:
            self._base = content.fork()
            tail.clear()
        return True


def head_of(plan: Plan, facts: Iterable[tuple[int, Fact]], members: Collection[Identifier]) -> Head:
    """A head folded from the first fact.

    Args:
        plan: to fold by.
        facts: with their positions.
        members: the customer's identifiers; others that the facts name are held apart.
    """
    found = sorted(facts, key=lambda entry: entry[1].order)
    head = Head(Content(), 0, whole=True)
    named = {name for _, fact in found if fact.kind not in STATEMENTS for name in fact.identifiers}
    head.hold_apart(frozenset(named.difference(members)))
    for position, fact in found:
        head.apply(plan, fact)
        head.position = max(head.position, position)
    return head
