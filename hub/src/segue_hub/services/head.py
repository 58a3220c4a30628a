"""A head: one customer's folded content, kept so that the next fact costs a step.

Owns the cheap path for small inversions: forks taken behind the newest facts, from which a late one is folded again.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterable

from segue.domain.content import Content
from segue.domain.fact import Fact
from segue.domain.fold import step
from segue.domain.plan import Plan

FORK_EVERY = 8
"""Facts between forks; two are kept, so that a fact at most this late is folded from a fork."""


class Head:
    """One live content.

    Attributes:
        content: as folded through the newest fact.
        position: the newest position of the change log that it includes.
        checkpointed: the position of its checkpoint in the store; 0 where there is none.
    """

    __slots__ = ("_base", "_mark", "_middle", "_tail", "checkpointed", "content", "position")

    def __init__(self, content: Content, position: int, *, whole: bool, checkpointed: int = 0) -> None:
        self.content = content
        self.position = position
        self.checkpointed = checkpointed
        # None stands for the beginning: most customers have few facts, and no fork is kept for them.
        self._base = None if whole and content.through is None else content.fork()
        self._tail: list[Fact] = []
        self._middle: Content | None = None
        self._mark = 0

    def apply(self, plan: Plan, fact: Fact) -> bool:
        """Folds one more fact in; False where it is too late for the forks, and nothing was changed."""
        content = self.content
        if not content.sorts_last(fact.order):
            return self._insert(plan, fact)
        step(content, plan, fact)
        tail = self._tail
        tail.append(fact)
        if len(tail) >= 2 * FORK_EVERY and len(tail) >= self._mark + FORK_EVERY:
            if self._middle is not None:
                self._base = self._middle
                del tail[: self._mark]
            self._middle, self._mark = content.fork(), len(tail)
        return True

    def _insert(self, plan: Plan, fact: Fact) -> bool:
        base = self._base
        if base is not None and not base.sorts_last(fact.order):
            return False
        tail = self._tail
        insort(tail, fact, key=lambda other: other.order)
        content = base.fork() if base is not None else Content()
        for other in tail:
            step(content, plan, other)
        self.content, self._middle, self._mark = content, None, 0
        if len(tail) > 3 * FORK_EVERY:
            self._base = content.fork()
            tail.clear()
        return True


def head_of(plan: Plan, facts: Iterable[tuple[int, Fact]]) -> Head:
    """A head folded from the first fact."""
    found = sorted(facts, key=lambda entry: entry[1].order)
    head = Head(Content(), 0, whole=True)
    for position, fact in found:
        head.apply(plan, fact)
        head.position = max(head.position, position)
    return head
