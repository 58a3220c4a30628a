"""Moments: which facts, by which plan, a question about the past means (VE8).

Owns the step from what somebody asks (as of an instant, as known at an instant or position, by a plan) to the bounds
of what is looked at. A moment is (at, position, plan): links and facts that occurred by `at` and that stood in the
change log by `position`. Retractions, endings and separations count whenever they were said, as soon as they are known:
they tell what was so all along (ID2).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from segue.domain.fact import Fact
from segue.domain.instant import NEVER
from segue.domain.plan import Plan

from ..storage.ports import Store, Until
from .failure import Refusal
from .plan_archive import PlanArchive
from .plans import Plans

LATEST: Final = 1 << 62
"""An instant (microseconds) after all facts."""


@dataclass(frozen=True, slots=True)
class Known:
    """What of the log is looked at: up to an instant of the hub's clock (microseconds), or up to a position."""

    at: int | None = None
    position: int | None = None


@dataclass(frozen=True, slots=True)
class Moment:
    """Which facts, by which plan. `at` in microseconds; `position` of the change log."""

    at: int
    position: int
    plan: Plan

    @property
    def until(self) -> Until:
        """Which links are looked at."""
        return Until(self.at, self.position)


class Moments:
    """Makes moments.

    Args:
        store: what was known when.
        plans: the plan in force, and the history.
        clock: the hub's time in microseconds.
        decode: a fact as the store keeps it.
    """

    def __init__(
        self, store: Store, plans: Plans, clock: Callable[[], int], decode: Callable[[bytes], Fact]
    ) -> None:  # fmt: skip
        self._store = store
        self._plans = plans
        self._clock = clock
        self._decode = decode

    def ever(self) -> Moment:
        """All that is known, of whatever time, by the plan in force."""
        return Moment(LATEST, NEVER, self._plans.current)

    def moment(self, at: int = 0, known: Known | None = None, digest: str = "") -> Moment:
        """A moment.

        Args:
            at: an instant in microseconds; 0 for now.
            known: what of the log is looked at; all where not given.
            digest: of the plan, or its beginning; where empty, of the plan that was in force at the end of what is
                known.

        Raises:
            Refusal: INPUT_INVALID, or NOT_FOUND where there is no such plan.
        """
        position = self.position(known)
        if known is None and not digest:
            return self._moment(at, position, self._plans.current)
        archive = PlanArchive(self._store, self._plans, self._decode)
        named = self._plans.find(digest).digest if digest else archive.in_force(position).digest
        plan = archive.known(named, position)
        assert plan is not None, "it is in the history"
        return self._moment(at, position, plan)

    def by_the_plan_in_force(self, at: int, known: Known | None) -> Moment:
        """A moment as touchpoints may ask for it: what they are granted is said by the plan in force.

        Raises:
            Refusal: INPUT_INVALID.
        """
        position = self.position(known)
        archive = PlanArchive(self._store, self._plans, self._decode)
        return self._moment(at, position, archive.known(self._plans.current.digest, position) or self._plans.current)

    def position(self, known: Known | None) -> int:
        """Through which position of the change log is looked.

        Raises:
            Refusal: INPUT_INVALID.
        """
        if known is None:
            return NEVER
        if known.position is not None:
            if known.position < 0:
                raise Refusal("INPUT_INVALID", f"known.position: {known.position} is no position. Give 0 or more")
            return known.position
        if known.at is None or not 0 <= known.at < LATEST:
            raise Refusal("INPUT_INVALID", "known.at: is no instant. Give microseconds since 1970")
        return self._store.known_at(known.at)

    def _moment(self, at: int, position: int, plan: Plan) -> Moment:
        if not 0 <= at < LATEST:
            raise Refusal("INPUT_INVALID", f"as_of: {at} is no instant. Give microseconds since 1970")
        return Moment(at or self._clock(), position, plan)
