"""Comparisons: what a new version of a decision function answered beside the one that acts (L6).

Owns the figures over recorded pairs of answers: how many agree, how the others differ, and what they read. Looks
through the log in windows and at one customer at a time; changes nothing.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from segue.domain.decision_fact import Treatment
from segue.domain.fact import DECISION, Fact
from segue.domain.instant import NEVER, instant_text
from segue.domain.shadow import Pair, pair_from, shadow_name

from ..storage.ports import Store
from .contexts import Contexts

Plain = dict[str, Any]
WINDOW: Final = 20_000
"""Positions of the log searched in one go."""
SLICE: Final = 0.004
"""Seconds of work before others get their turn."""
EXAMPLES: Final = 5
"""Customers named of each difference."""
KINDS: Final = 1_000
"""Differences told apart; what else there is, is counted together."""


@dataclass(slots=True)
class _Difference:
    """All pairs with the same two answers."""

    was: Treatment
    now: Treatment
    count: int = 0
    customers: set[int] = field(default_factory=set)
    examples: list[str] = field(default_factory=list)
    reads: Counter[str] = field(default_factory=Counter)


class Comparison:
    """Compares the versions of one decision.

    Args:
        store, contexts: what is read.
        decision: the question.
        since: the first instant that counts, in microseconds.
    """

    def __init__(self, store: Store, contexts: Contexts, decision: str, since: int) -> None:
        self._store = store
        self._contexts = contexts
        self._decision = decision
        self._since = since
        self._pairs = self._agree = self._failed = self._unreadable = self._more = 0
        self._customers: set[int] = set()
        self._touchpoints: Counter[str] = Counter()
        self._versions: tuple[Counter[str], Counter[str]] = (Counter(), Counter())
        self._differences: dict[tuple[Treatment, Treatment], _Difference] = {}

    async def made(self) -> Plain:
        """The comparison."""
        began = time.perf_counter()
        for _ in self._walk():
            if time.perf_counter() - began > SLICE:
                await asyncio.sleep(0)
                began = time.perf_counter()
        return self._document()

    def _walk(self) -> Iterator[None]:
        name = shadow_name(self._decision)
        text = name.encode()
        leaves: set[int] = set()
        last = self._store.head()[0]
        for after in range(0, last, WINDOW):
            leaves.update(self._store.holding(after, min(after + WINDOW, last), self._since, NEVER, text))
            yield
        for customer in sorted({c for leaf in leaves for c in self._of(leaf)}):
            for fact in self._contexts.facts(customer):
                if fact.type == name and fact.kind == DECISION and fact.occurred_at >= self._since:
                    self._count(customer, fact)
            yield

    def _of(self, leaf: int) -> set[int]:
        """The customers that an identifier's facts belong to: one for each of its eras."""
        name = self._store.names([leaf])[leaf]
        known = self._store.resolve(name)
        eras = self._store.eras(leaf) or ([known] if known is not None else [])
        return {era.customer for era in eras}

    def _count(self, customer: int, fact: Fact) -> None:
        try:
            pair = pair_from(fact.properties)
        except (ValueError, TypeError, KeyError, AttributeError):
            self._unreadable += 1
            return
        self._pairs += 1
        self._agree += pair.agree
        self._failed += pair.failed
        self._customers.add(customer)
        self._touchpoints[fact.touchpoint] += 1
        for versions, details in zip(self._versions, (fact.properties["was"], fact.properties), strict=True):
            versions[str(details.get("function", ""))] += 1
        if not pair.agree:
            self._differ(customer, pair)

    def _differ(self, customer: int, pair: Pair) -> None:
        found = self._differences.get((pair.was, pair.now))
        if found is None:
            if len(self._differences) >= KINDS:
                self._more += 1
                return
            found = self._differences[pair.was, pair.now] = _Difference(pair.was, pair.now)
        found.count += 1
        if customer not in found.customers:
            found.customers.add(customer)
            if len(found.examples) < EXAMPLES:
                found.examples.append(str(self._contexts.identifiers(customer)[0]))
        if pair.decided_by is not None:
            found.reads[f"{pair.decided_by[0]} is {pair.decided_by[1]!r}"] += 1

    def _document(self) -> Plain:
        return {
            "decision": self._decision,
            "since": instant_text(self._since) if self._since else None,
            "pairs": self._pairs,
            "customers": len(self._customers),
            "agree": self._agree,
            "differ": self._pairs - self._agree,
            "agreement": round(self._agree / self._pairs, 4) if self._pairs else None,
            "failed": self._failed,
            "unreadable": self._unreadable,
            "touchpoints": dict(self._touchpoints.most_common()),
            "functions": {"was": dict(self._versions[0].most_common()), "now": dict(self._versions[1].most_common())},
            "differences": [
                {
                    "was": _plain(d.was), "now": _plain(d.now), "count": d.count, "customers": len(d.customers),
                    "examples": d.examples,
                    "read": [{"what": what, "count": count} for what, count in d.reads.most_common(3)],
                }
                for d in sorted(self._differences.values(), key=lambda d: (-d.count, d.was.answer, d.now.answer))
            ],
            "other_differences": self._more,
        }  # fmt: skip


def _plain(treatment: Treatment) -> str:
    """An answer as people read it: itself, and whether a guardrail holds it back."""
    return treatment.answer + (f" (held back: {treatment.held})" if treatment.held else "")


Make = Callable[[str, int], Comparison]
"""`make(decision, since)`."""
