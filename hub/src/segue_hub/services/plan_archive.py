"""The archive of plans: by digest and by position of the change log, each with the workspace as it was known there.

Owns what a replay needs of plans that are not in force: one that was recorded, one that was in force at a version, and
the incidents that a hub or an SDK had heard of. Reads the history once; made for one replay, and let go of with it.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from segue.domain.fact import Fact
from segue.domain.plan import EMPTY, WAITING, Plan
from segue.domain.workspace import QUIET, REMEMBERED, Workspace

from ..storage.ports import Store
from .plans import Plans

COMPILED: Final = 16
"""Plans kept ready, and workspaces."""
TRIED: Final = 64
"""How many of the newest workspaces are looked at for a digest, and how many forms of each."""


class PlanArchive:
    """The plans of one replay.

    Args:
        store: where workspace facts are.
        plans: the history.
        decode: a fact as the store keeps it.
    """

    def __init__(self, store: Store, plans: Plans, decode: Callable[[bytes], Fact]) -> None:
        self._plans = plans
        self._history = plans.history
        rows = store.workspace_facts()
        self._positions = [row.position for row in rows]
        self._facts = [decode(row.body) for row in rows]
        self._compiled: OrderedDict[str, Plan | None] = OrderedDict()
        self._folding: OrderedDict[tuple[str, int], Plan] = OrderedDict()
        self._workspaces: OrderedDict[int, Workspace] = OrderedDict()
        self._told: dict[tuple[str, str], Workspace | None] = {}
        self.current = plans.current
        """The plan in force when the replay began, with the workspace of then."""

    def plan(self, digest: str) -> Plan | None:
        """A plan by its digest, read with nothing told; None where nobody here knows it."""
        if digest not in self._compiled:
            self._keep(self._compiled, digest, self._found(digest))
        self._compiled.move_to_end(digest)
        return self._compiled[digest]

    def _found(self, digest: str) -> Plan | None:
        for known in (self.current, EMPTY, WAITING):
            if digest == known.digest:
                return known.on(QUIET)
        for entry in reversed(self._history):
            if entry.digest == digest:
                return self._plans.plan(entry)
        return None

    def in_force(self, position: int) -> Plan:
        """The plan that was in force at a position."""
        count = bisect_right(self._history, position, key=lambda entry: entry.position)
        return (self.plan(self._history[count - 1].digest) if count else None) or EMPTY

    def known(self, digest: str, position: int) -> Plan | None:
        """A plan with what the hub knew, at a position, of the incidents that it reads: as contexts were folded then.
        The same object for the same.
        """
        plan = self.plan(digest)
        if plan is None or not plan.incidents:
            return plan
        count = bisect_right(self._positions, position)
        while count and self._facts[count - 1].type not in plan.incidents:
            count -= 1
        key = (digest, count)
        if key not in self._folding:
            self._keep(self._folding, key, plan.on(self._workspace(count)))
        self._folding.move_to_end(key)
        return self._folding[key]

    def told(self, plan: Plan, digest: str, before: int, at: int) -> Workspace | None:
        """The workspace that an SDK was told of, by its digest; None where none of this hub's is found.

        Args:
            plan: that was in force.
            digest: of the workspace.
            before: position of something that was said after it was told.
            at: when it was held, in microseconds.
        """
        key = (plan.digest, digest)
        if key not in self._told:
            self._told[key] = self._search(plan, digest, bisect_right(self._positions, before), at)
        return self._told[key]

    def _search(self, plan: Plan, digest: str, count: int, at: int) -> Workspace | None:
        """What is over is told of for a while: how much of it still was depends on when that was."""
        for number in range(count, max(-1, count - TRIED), -1):
            whole = self._workspace(number)
            ends = {state.since + REMEMBERED for incident in whole.incidents.values() for state in incident.states}
            earlier = sorted((end - 1 for end in ends if end <= at), reverse=True)
            for moment in (at, *earlier[:TRIED]):
                told = whole.told(plan.incidents, moment)
                if told.digest == digest:
                    return told
        return None

    def _workspace(self, count: int) -> Workspace:
        """What the first so many workspace facts say."""
        if count not in self._workspaces:
            about: dict[str, list[Fact]] = {}
            for fact in self._facts[:count]:
                about.setdefault(fact.type, []).append(fact)
            self._keep(self._workspaces, count, QUIET.telling(about))
        return self._workspaces[count]

    @staticmethod
    def _keep(kept: OrderedDict, key: object, value: object) -> None:  # type: ignore[type-arg]  # any of the three
        kept[key] = value
        if len(kept) > COMPILED:
            kept.popitem(last=False)
