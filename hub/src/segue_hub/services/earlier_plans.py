"""Earlier plans: contexts by a plan that is no longer in force, for instances that still run it (VE3).

Owns which plan a stream is served by, and the few contexts folded so. An instance that refuses the plan in force goes
on with its last good one, and sees what that plan says of the customer, not gaps. Folded from the first fact and kept
until the customer changes: it is the way of few, and for a while.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Final

from segue.domain.plan import Plan

from .contexts import Contexts
from .entry import Entry
from .failure import Refusal
from .fan_out import Stream
from .head import Head
from .plans import News, Plans
from .resolved import Resolved

PLANS: Final = 8
"""Earlier plans kept ready."""
HEADS: Final = 5_000
"""Contexts by earlier plans kept."""


class EarlierPlans:
    """Serves what is no longer in force.

    Args:
        contexts: folds.
        plans: the history.
    """

    def __init__(self, contexts: Contexts, plans: Plans) -> None:
        self._contexts = contexts
        self._plans = plans
        self._ready: OrderedDict[str, Plan] = OrderedDict()
        self._heads: OrderedDict[int, dict[str, Head]] = OrderedDict()
        plans.listeners.append(self._heads.clear)

    def plan_of(self, stream: Stream) -> Plan:
        """The plan that a stream's contexts are folded by: the one in force, unless its instance refused that."""
        current = self._plans.current
        if not stream.refused or stream.plan == current.digest:
            return current
        return self._find(stream.plan) or current

    def _find(self, digest: str) -> Plan | None:
        plan = self._ready.get(digest)
        if plan is None:
            try:
                entry = self._plans.find(digest) if digest else None
            except Refusal:
                entry = None  # of another hub, or of before a restore
            if entry is None:
                return None
            plan = self._ready[digest] = self._plans.plan(entry)
            if len(self._ready) > PLANS:
                self._ready.popitem(last=False)
        return plan.on(self._plans.current.workspace)

    def read(self, customer: int, plan: Plan) -> Head:
        """The head of a customer by a plan."""
        if plan.digest == self._plans.current.digest:
            return self._contexts.read(customer)
        heads = self._heads.setdefault(customer, {})
        head = heads.get(plan.digest)
        if head is None:
            head = heads[plan.digest] = self._contexts.folded(customer, plan)
            if len(self._heads) > HEADS:
                self._heads.popitem(last=False)
        return head

    def informed(self, news: News) -> None:
        """Incidents are others than they were."""
        if news.incidents:
            self._heads.clear()

    def resolved(self, resolved: Resolved) -> None:
        """Customers became one or came apart."""
        for customer in resolved.changed if self._heads else ():
            self._heads.pop(customer, None)

    def accepted(self, entries: Sequence[Entry]) -> None:
        """Customers changed."""
        for entry in entries if self._heads else ():
            self._heads.pop(entry.customer, None)
