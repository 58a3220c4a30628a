"""A head: one customer's folded content, kept so that the next fact costs a step.

Owns the cheap path for small inversions: forks taken behind the newest facts, from which a late one is folded again;
and marks further back in a long life, so that a later one need not be folded from the first fact. They are dense where
late facts mostly belong, and each knows from which position of the change log on its later facts have to be read;
those that lie further back are kept as a store keeps contents, in a tenth of the memory.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterable, Sequence
from itertools import islice
from operator import attrgetter
from typing import Final

from segue.domain.content import Content
from segue.domain.fact import EVENT, STATEMENTS, Fact, Order
from segue.domain.fold import step
from segue.domain.holding import EVERYTHING, Eras, Holding, holding
from segue.domain.identifier import Identifier
from segue.domain.plan import Plan

from .stored_content import stored, unstored

FORK_EVERY: Final = 8
"""Facts between forks; two are kept, so that a fact at most this late is folded from a fork."""
AT_ONCE: Final = 2 * FORK_EVERY
"""Late facts that are folded together from a fork at most: of more the marks would come to lie too far apart."""
MARK_EVERY: Final = 256
"""Facts between marks; a life that is shorter has none."""
MARKS: Final = 64
"""Marks kept so far apart at most; beyond, every other one goes."""
NEAR_EVERY: Final = 32
"""Facts between marks among the newest, at least."""
NEAR: Final = 4
"""Marks kept so close at most; the older ones of them go, but for one in `MARK_EVERY` facts."""
EMPTY: Final = 6
"""What a head takes besides the facts in its lists, in facts of about 450 bytes."""
FORK: Final = 3
"""What a fork takes whose facts are those of the head, in facts."""
AWAY: Final = 8
"""What a mark takes that was put away, in facts."""
_ORDER: Final = attrgetter("order")
STEP: Final = "steps"
LATE: Final = "late"


class Mark:
    """A content of the past, for late facts.

    Attributes:
        facts: how many are in it.
        after: all facts of the customer that sort after it came later than this position of the change log.
    """

    __slots__ = ("_at", "_content", "_through", "after", "facts")

    def __init__(self, content: Content, after: int) -> None:
        self._content: Content | bytes = content
        self._at, self._through = content.at, content.through
        self.facts, self.after = content.facts, after

    def content(self) -> Content:
        """A copy, to be folded further."""
        content = self._content
        return unstored(content) if isinstance(content, bytes) else content.fork()

    def put_away(self, plan: Plan) -> None:
        """From here on it takes little memory, and a moment more to be asked for."""
        if not isinstance(self._content, bytes):
            self._content = stored(self._content, plan)

    def sorts_last(self, order: Order) -> bool:
        """As of its content."""
        return order[0] >= self._at and (self._through is None or order > self._through)

    @property
    def weight(self) -> int:
        """What it takes in memory, in facts."""
        return AWAY if isinstance(self._content, bytes) else _weight(self._content)


def _weight(content: Content) -> int:
    return EMPTY + len(content.timeline) + len(content.decisions) + len(content.actions)


class Head:
    """One live content.

    Attributes:
        content: as folded through the newest fact.
        position: the newest position of the change log that it includes: all of her facts up to it.
        checkpointed: the position of its checkpoint, in the store or on its way there; 0 where there is none.
        kept: how many facts are in that checkpoint.
        weight: what it takes in memory, in facts: counted as it grows, and exactly now and then.
        moved: the position at which its customer last gained or lost identifiers.
        used: whether it was asked for since somebody last looked for what to let go of.
    """

    __slots__ = (
        "_after", "_base", "_far", "_holding", "_mark", "_marks", "_middle", "_next_mark", "_tail", "_whole",
        "checkpointed", "content", "kept", "moved", "position", "used", "weight",
    )  # fmt: skip

    def __init__(self, content: Content, position: int, *, whole: bool, checkpointed: int = 0) -> None:
        self.content = content
        self.position = position
        self.checkpointed = checkpointed
        self.kept = 0
        self.weight = 0
        self.moved = 0
        self.used = True
        # None stands for the beginning: most customers have few facts, and no fork is kept for them.
        self._whole = whole and content.through is None
        self._base = None if self._whole else content.fork()
        self._tail: list[Fact] = []
        self._middle: Content | None = None
        self._mark = 0
        self._after = (position, position)  # of the base and of the middle, as `Mark.after`
        self._marks: list[Mark] = []
        self._far = 0
        self._next_mark = content.facts + MARK_EVERY
        self._holding = EVERYTHING

    def apply(self, plan: Plan, fact: Fact) -> str:
        """Folds one more fact in.

        Returns:
            STEP, LATE where it was folded from a fork, or nothing where it is too late for those: then nothing changed.
        """
        if self.append(plan, fact):
            return STEP
        return LATE if self.insert(plan, (fact,)) else ""

    def append(self, plan: Plan, fact: Fact) -> bool:
        """Folds one more fact in, if it sorts last; returns whether it does."""
        content, at = self.content, fact.occurred_at
        if fact.kind is not EVENT and fact.kind in STATEMENTS:
            return True  # it selects links and is not folded; kept among the newest facts, it would break their order
        through = content.through
        # Nearly always it is later than all that was folded; a tie, and what is late, is looked at closely.
        if (at <= content.at or (through is not None and at <= through[0])) and not content.sorts_last(fact.order):
            return False
        step(content, plan, fact)
        tail = self._tail
        tail.append(fact)
        if len(tail) >= 2 * FORK_EVERY and len(tail) >= self._mark + FORK_EVERY:
            middle = self._middle
            if middle is not None:
                self._base = middle
                del tail[: self._mark]
                if middle.facts >= self._next_mark:
                    self._keep(Mark(middle, self._after[1]), plan)
            self._middle, self._mark = content.fork(), len(tail)
            self._after = (self._after[middle is not None], self.position)
        return True

    def follow(self, plan: Plan, positions: Sequence[int], facts: Iterable[Fact]) -> None:
        """Folds many at once that sort last, in their order; forks are taken behind the newest of them only.

        Args:
            plan: to fold by.
            positions: of the facts.
            facts: taken one at a time: what is decoded only then is still near at hand when it is folded.
        """
        content, behind, coming = self.content, len(positions) - 3 * FORK_EVERY, iter(facts)
        if behind > 0:
            marks, place, near = [], 0, behind - NEAR * NEAR_EVERY
            last, due = self._last_mark, self._next_mark
            while place < behind:
                # No mark is due before so many more: nothing is asked at each of them.
                wanted = due if place > near else max(due, min(last + MARK_EVERY, content.facts + near - place + 1))
                count = min(behind - place, max(1, wanted - content.facts))
                for fact in islice(coming, count):
                    step(content, plan, fact)
                place += count
                if content.facts >= due and (place > near or content.facts >= last + MARK_EVERY):
                    marks.append((content.fork(), place))
                    last, due = content.facts, content.facts + NEAR_EVERY
            after = min(positions[behind:]) - 1
            self._base, self._tail, self._middle, self._mark = content.fork(), [], None, 0
            self._after = (after, after)
            self.position = after  # forks of the newest know no more than that
            self._keep_all(marks, positions[:behind], after, plan)
        for fact in coming:
            self.apply(plan, fact)

    @property
    def _last_mark(self) -> int:
        return self._marks[-1].facts if self._marks else 0

    @property
    def heft(self) -> int:
        """What it takes in memory as it is now, in facts: its lists, its forks and its marks."""
        forks = (1 if self._base is not None else 0) + (1 if self._middle is not None else 0)
        return _weight(self.content) + forks * FORK + sum(mark.weight for mark in self._marks)

    def _keep_all(self, marks: Sequence[tuple[Content, int]], positions: Sequence[int], after: int, plan: Plan) -> None:
        """Keeps marks, each with how many of the facts at these positions are in it; the rest came `after` one."""
        end, found = len(positions), list[Mark]()
        for content, place in reversed(marks):
            after = min([after + 1, *positions[place:end]]) - 1
            end = place
            found.append(Mark(content, after))
        for mark in reversed(found):
            self._keep(mark, plan)

    def _keep(self, mark: Mark, plan: Plan) -> None:
        marks = self._marks
        marks.append(mark)
        self._next_mark = mark.facts + NEAR_EVERY
        if len(marks) - self._far > NEAR:
            far = marks[self._far]
            if self._far and far.facts < marks[self._far - 1].facts + MARK_EVERY:
                del marks[self._far]
                return
            far.put_away(plan)
            self._far += 1
            if self._far > MARKS:
                del marks[: self._far : 2]
                self._far //= 2

    def hold(self, holding: Holding) -> None:
        """What of the names in its facts holds; before the first fact."""
        self._holding = holding
        self.content.hold(holding)

    def hold_apart(self, names: frozenset[Identifier]) -> None:
        """These are named by the customer's facts, and not the customer's."""
        for content in (self.content, self._base, self._middle):
            if content is not None:
                content.apart |= names

    def rewound(self, fact: Fact) -> Head | None:
        """As it was at the newest mark before a fact, or at the beginning where that is known, for what follows to be
        folded again; None where neither is.

        Its position is that of the mark: all facts that are not in it came later.
        """
        self._forget_marks(fact)
        if self._marks:
            mark = self._marks[-1]
            head = Head(mark.content(), mark.after, whole=False, checkpointed=self.checkpointed)
            head.hold_apart(self.content.apart)
            head._next_mark = mark.facts + NEAR_EVERY
        elif self._whole:
            head = Head(self._beginning(), 0, whole=True, checkpointed=self.checkpointed)
        else:
            return None
        head._holding, head._whole = self._holding, self._whole
        head.moved, head._marks, head._far = self.moved, self._marks, self._far
        return head

    def _beginning(self) -> Content:
        content = Content()
        content.hold(self._holding)
        content.apart = self.content.apart
        return content

    def _forget_marks(self, fact: Fact) -> None:
        """Those that a late fact belongs before are of another life."""
        marks = self._marks
        while marks and not marks[-1].sorts_last(fact.order):
            self._next_mark = marks.pop().facts
        self._far = min(self._far, len(marks))

    def insert(self, plan: Plan, facts: Iterable[Fact]) -> bool:
        """Folds facts in that do not all sort last, from the nearest fork before the first of them, once for all.

        Returns:
            Whether there is such a fork; if not, nothing changed.
        """
        late = [fact for fact in facts if fact.kind not in STATEMENTS]  # as of `append`
        earliest = min(late, key=_ORDER)
        base = self._base
        if base is not None and not base.sorts_last(earliest.order):
            return False
        self._forget_marks(earliest)
        middle, tail = self._middle, self._tail
        if middle is not None and not middle.sorts_last(earliest.order):
            middle = None
        nearest, start = (middle, self._mark) if middle is not None else (base, 0)
        content = nearest.fork() if nearest is not None else self._beginning()
        for fact in late:
            insort(tail, fact, lo=start, key=_ORDER)
        # Behind a new base some facts are kept: the next one may be late as well.
        done = len(tail) - 2 * FORK_EVERY
        if len(tail) <= 3 * FORK_EVERY or done < start:
            done = 0
        for place in range(start, len(tail)):
            if done and place == done:
                self._base = content.fork()
                if content.facts >= self._next_mark:
                    self._keep(Mark(self._base, self._after[0]), plan)
            step(content, plan, tail[place])
        self.content = content
        if done or middle is None:
            self._middle, self._mark = None, 0
        del tail[:done]
        return True


def head_of(plan: Plan, facts: Iterable[tuple[int, Fact]], eras: Eras) -> Head:
    """A head folded from the first fact.

    Args:
        plan: to fold by.
        facts: with their positions.
        eras: the customer's identifiers, with when each began; others that the facts name are held apart.
    """
    found = sorted(facts, key=lambda entry: entry[1].order)
    head = Head(Content(), 0, whole=True)
    head.hold(holding([fact for _, fact in found], eras, plan.kinds))
    head.follow(plan, [position for position, _ in found], (fact for _, fact in found))
    head.position = max((position for position, _ in found), default=0)
    return head
