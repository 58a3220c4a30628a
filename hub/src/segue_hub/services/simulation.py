"""A plan simulated: what a new plan would have made of what really happened, beside the plan in force.

Owns the walk over all customers and the figures. Every customer is folded by both plans; every action that was wanted
since a moment is judged by both, where each stands: an action that a plan holds back did not happen for what that plan
says next. Nothing is written, and live traffic has its turn in between.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from segue.domain.content import Content
from segue.domain.context import Context
from segue.domain.decision import judge
from segue.domain.derivation import derive
from segue.domain.fact import ACTION, DECISION, Fact
from segue.domain.fold import advance, step
from segue.domain.holding import Eras, holding
from segue.domain.identifier import Identifier
from segue.domain.instant import instant_text
from segue.domain.journey import Tally
from segue.domain.plan import Plan
from segue.domain.projection import Projected
from segue.domain.shadow import is_shadow
from segue.domain.verdict import Verdict

from .contexts import Contexts
from .failure import overloaded
from .ingest import Ingest
from .plans import Plans
from .reports import journey_report, summed, with_running

Plain = dict[str, Any]
SLICE: Final = 0.004
"""Seconds of folding before others get their turn."""
SHARE: Final = 3.0
"""While facts come in, it rests so many times as long as it worked."""
TOLD_EVERY: Final = 0.25
"""Seconds between words of progress."""
EXAMPLES: Final = 10
"""Customers and actions named of each sort."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far it is. `document` is the result, at the end."""

    done: int
    of: int
    document: Plain | None = None


@dataclass(slots=True)
class _Membership:
    """Who is in an audience, by both plans."""

    before: int = 0
    after: int = 0
    joiners: int = 0
    leavers: int = 0
    join: list[str] = field(default_factory=list)
    leave: list[str] = field(default_factory=list)

    def count(self, was: bool, now: bool, name: Callable[[], str]) -> None:
        """One customer."""
        self.before += was
        self.after += now
        if now and not was:
            self.joiners += 1
            if len(self.join) < EXAMPLES:
                self.join.append(name())
        elif was and not now:
            self.leavers += 1
            if len(self.leave) < EXAMPLES:
                self.leave.append(name())


class _Side:
    """One plan's own view of one customer, fact by fact."""

    def __init__(self, plan: Plan, facts: Sequence[Fact], eras: Eras) -> None:
        self.plan = plan
        self.holding = holding(facts, eras, plan.kinds)
        self.content = Content()
        self.content.hold(self.holding)
        self.skipped = False

    def judged(self, action: Mapping[str, Any], at: int) -> list[Verdict]:
        """What this plan's guardrails hold an action back with."""
        context = Context(Projected(self.content), self.plan, at)
        return [verdict for verdict in judge(action, context) if verdict.binds]


class Simulation:
    """One simulation of one plan.

    Args:
        contexts, plans: what is read.
        ingest: has the right of way.
        clock: the hub's time in microseconds.
        plan: to try out.
        since: actions from this instant on are judged, in microseconds.
    """

    def __init__(
        self, contexts: Contexts, plans: Plans, ingest: Ingest, clock: Callable[[], int], plan: Plan, since: int
    ) -> None:
        self._contexts = contexts
        self._ingest = ingest
        self._before = plans.current
        self._after = plan.on(self._before.workspace)
        self._now = clock()
        self._since = since
        self._customers = self._facts = self._judged = 0
        self._held = [0, 0]
        self._newly = [0, 0]
        self._by: dict[tuple[str, str], list[int]] = {}
        self._by_touchpoint: dict[str, list[int]] = {}
        self._examples: list[Plain] = []
        self._audiences = {name: _Membership() for name in [*self._before.audiences, *self._after.audiences]}
        self._maps: tuple[dict[str, Tally], dict[str, Tally]] = ({}, {})
        self._stalled: tuple[Counter[str], Counter[str]] = (Counter(), Counter())
        self._with_map: tuple[Counter[str], Counter[str]] = (Counter(), Counter())

    async def walk(self, of: int) -> AsyncIterator[Progress]:
        """Everything, once; the last word holds the result."""
        began = told = time.perf_counter()
        for customer in self._contexts.customers():
            for _ in self._look(customer):
                now = time.perf_counter()
                if now - began > SLICE:
                    if now - told > TOLD_EVERY:
                        told = now
                        yield Progress(self._customers, max(of, self._customers))
                    await asyncio.sleep((now - began) * SHARE if self._ingest.busy else 0)
                    began = time.perf_counter()
            self._customers += 1
        yield Progress(self._customers, self._customers, self._document())

    def _look(self, customer: int) -> Iterator[None]:
        """One customer by both plans; yields where others may have their turn."""
        names = self._contexts.identifiers(customer)
        facts = self._contexts.facts(customer)
        yield
        if not facts:
            return
        self._facts += len(facts)
        eras = self._contexts.eras(customer)
        sides = _Side(self._before, facts, eras), _Side(self._after, facts, eras)
        held: tuple[set[bytes], set[bytes]] = (set(), set())
        decided: set[bytes] = set()
        for fact in facts:
            action = _wanted(fact, decided) if fact.occurred_at >= self._since else None
            verdicts: Sequence[list[Verdict]] = ()
            if action is not None:
                verdicts = [side.judged(action, fact.occurred_at) for side in sides]
                self._count(fact, action, verdicts, names)
            for index, side in enumerate(sides):
                if verdicts and verdicts[index]:
                    held[index].add(fact.id)
                if fact.kind == ACTION and (fact.id in held[index] or _decision_id(fact) in held[index]):
                    side.skipped = True
                else:
                    step(side.content, side.plan, fact)
            yield
        contents = []
        for side in sides:
            content = side.content
            if side.skipped:
                # Who she is by a plan is asked of what really happened.
                content = Content()
                content.hold(side.holding)
                for fact in facts:
                    step(content, side.plan, fact)
                    yield
            advance(content, side.plan, self._now)
            contents.append(content)
        self._tally(contents)
        self._join(contents, names)

    def _count(self, fact: Fact, action: Mapping[str, Any], verdicts: Sequence[list[Verdict]], names: Any) -> None:
        self._judged += 1
        by_touchpoint = self._by_touchpoint.setdefault(fact.touchpoint, [0, 0, 0])
        by_touchpoint[0] += 1
        for index, found in enumerate(verdicts):
            self._held[index] += bool(found)
            by_touchpoint[index + 1] += bool(found)
            for guardrail in {verdict.guardrail for verdict in found}:
                self._by.setdefault((guardrail, fact.touchpoint), [0, 0])[index] += 1
        was, now = verdicts
        self._newly[0] += bool(now and not was)
        self._newly[1] += bool(was and not now)
        if now and not was and len(self._examples) < EXAMPLES:
            verdict = max(now, key=lambda v: v.severity)
            self._examples.append(
                {
                    "customer": str(names[0]) if names else "", "touchpoint": fact.touchpoint,
                    "action": action["kind"], "at": instant_text(fact.occurred_at), "verdict": verdict.kind,
                    "guardrail": verdict.guardrail, "reason": verdict.reason,
                }
            )  # fmt: skip

    def _tally(self, contents: Sequence[Content]) -> None:
        for index, (plan, content) in enumerate(zip((self._before, self._after), contents, strict=True)):
            for name in plan.maps:
                tally = with_running(content, plan, name)
                if tally is not None:
                    self._maps[index][name] = summed(self._maps[index].get(name, Tally()), tally)
                    self._with_map[index][name] += 1
            for journey in content.journeys.values():
                self._stalled[index][journey.map] += journey.stalled(plan.maps[journey.map], self._now)

    def _join(self, contents: Sequence[Content], names: list[Identifier]) -> None:
        was = derive(contents[0], self._before, self._now, journeys=False).audiences
        now = derive(contents[1], self._after, self._now, journeys=False).audiences
        for name, membership in self._audiences.items():
            membership.count(was.get(name, False), now.get(name, False), lambda: str(names[0]) if names else "")

    # -- the result ----------------------------------------------------------------------------------------------------

    def _document(self) -> Plain:
        return {
            "since": instant_text(self._since),
            "until": instant_text(self._now),
            "plans": {"in_force": self._before.digest, "new": self._after.digest},
            "customers": self._customers,
            "facts": self._facts,
            "actions": {
                "judged": self._judged,
                "held_back": {"in_force": self._held[0], "new": self._held[1]},
                "newly_held_back": self._newly[0],
                "newly_allowed": self._newly[1],
                "by_touchpoint": [
                    {"touchpoint": name, "owner": self._owner(name), "judged": n[0], "in_force": n[1], "new": n[2]}
                    for name, n in sorted(self._by_touchpoint.items())
                ],
                "by_guardrail": [
                    {"guardrail": guardrail, "owner": self._guardrail_owner(guardrail), "touchpoint": touchpoint,
                     "touchpoint_owner": self._owner(touchpoint), "in_force": n[0], "new": n[1]}
                    for (guardrail, touchpoint), n in sorted(self._by.items())
                ],
                "examples": self._examples,
            },
            "audiences": {
                name: {
                    "in_force": found.before if name in self._before.audiences else None,
                    "new": found.after if name in self._after.audiences else None,
                    "joiners": found.joiners, "leavers": found.leavers,
                    "examples": {"join": found.join, "leave": found.leave},
                }
                for name, found in sorted(self._audiences.items())
            },
            "journeys": {
                name: {"in_force": self._map(0, self._before, name), "new": self._map(1, self._after, name)}
                for name in sorted({*self._before.maps, *self._after.maps})
            },
        }  # fmt: skip

    def _map(self, index: int, plan: Plan, name: str) -> Plain | None:
        if name not in plan.maps:
            return None
        tally = self._maps[index].get(name, Tally())
        return journey_report(plan, plan.maps[name], tally, self._stalled[index][name], self._with_map[index][name])

    def _owner(self, touchpoint: str) -> str:
        grant = self._after.grants.get(touchpoint) or self._before.grants.get(touchpoint)
        return grant.owner if grant is not None else ""

    def _guardrail_owner(self, name: str) -> str:
        found = self._after.guardrails.get(name) or self._before.guardrails.get(name)
        return found.owner if found is not None else "the customer"


class Simulations:
    """Makes simulations, one at a time.

    Args:
        contexts, plans: what is read.
        ingest: has the right of way.
        clock: the hub's time in microseconds.
        count: how many customers there are, about.
    """

    def __init__(
        self, contexts: Contexts, plans: Plans, ingest: Ingest, clock: Callable[[], int], count: Callable[[], int]
    ) -> None:
        self._contexts = contexts
        self._plans = plans
        self._ingest = ingest
        self._clock = clock
        self._count = count
        self._running = False

    async def simulate(self, document: Mapping[str, Any], since: int) -> AsyncGenerator[Progress, None]:
        """Tries a checked document out.

        Raises:
            Refusal: OVERLOADED, another one is under way.
            PlanError: it is no plan.
        """
        if self._running:
            raise overloaded("another simulation is under way: try again when it has ended", 5000)
        self._running = True
        try:
            simulation = Simulation(
                self._contexts, self._plans, self._ingest, self._clock, Plan(document), since
            )  # fmt: skip
            async for progress in simulation.walk(self._count()):
                yield progress
        finally:
            self._running = False


def _wanted(fact: Fact, decided: set[bytes]) -> dict[str, Any] | None:
    """The action that a fact tells was wanted; None where it tells of none, or of one that was judged already."""
    details = fact.properties
    if fact.kind == DECISION:
        if is_shadow(fact.type):
            return None
        action = details.get("action")
        if not isinstance(action, dict) or not isinstance(details.get("value"), str):
            return None
        decided.add(fact.id)
        told = {"kind": details["value"], **{n: str(action.get(n, "")) for n in ("topic", "purpose", "advances")}}
        return told | {"channel": str(action.get("channel") or fact.channel), "touchpoint": fact.touchpoint}
    if fact.kind != ACTION or _decision_id(fact) in decided:
        return None
    told = {name: str(details.get(name) or "") for name in ("topic", "purpose", "advances")}
    return told | {
        "kind": fact.type, "channel": str(details.get("channel") or fact.channel), "touchpoint": fact.touchpoint,
    }  # fmt: skip


def _decision_id(fact: Fact) -> bytes:
    said = fact.properties.get("decision_id")
    try:
        return bytes.fromhex(said) if isinstance(said, str) else b""
    except ValueError:
        return b""
