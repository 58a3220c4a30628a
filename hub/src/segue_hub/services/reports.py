"""Reports: what became of journeys, and the whole of one customer, as plain data.

Owns the figures that journey owners read, and their definitions. A report is a scan at a moment; it changes nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from segue.domain.content import Content
from segue.domain.fold import advance
from segue.domain.identifier import Identifier
from segue.domain.instant import SECOND, instant_text
from segue.domain.journey import Tally
from segue.domain.journey_map import JourneyMap
from segue.domain.plan import Plan
from segue.domain.recognition import tallied
from segue.domain.vocabulary import did_you_mean

from .contexts import Contexts
from .failure import Refusal, not_found
from .plans import Plans
from .portrait import Plain, portrait


class Reports:
    """Reads contexts for people.

    Args:
        contexts, plans: what is read.
        clock: the hub's time in microseconds.
    """

    def __init__(self, contexts: Contexts, plans: Plans, clock: Callable[[], int]) -> None:
        self._contexts = contexts
        self._plans = plans
        self._clock = clock

    async def journeys(self, name: str = "") -> Plain:
        """By map: started, running, stalled, completed, failed, abandoned, time to goal, funnel, against targets.

        Raises:
            Refusal: NAME_UNKNOWN.
        """
        plan, at = self._plans.current, self._clock()
        if name and name not in plan.maps:
            raise Refusal("NAME_UNKNOWN", f"no journey map is called {name!r}. {did_you_mean(name, plan.maps)}")
        wanted = [name] if name else list(plan.maps)
        totals = {map_: Tally() for map_ in wanted}
        stalled = dict.fromkeys(wanted, 0)
        customers = dict.fromkeys(wanted, 0)
        for count, customer in enumerate(self._contexts.customers()):
            content = self._contexts.glance(customer).content
            if at >= content.next_due:
                content = content.fork()
                advance(content, plan, at)
            for map_ in wanted:
                tally = with_running(content, plan, map_)
                if tally is not None:
                    totals[map_] = summed(totals[map_], tally)
                    customers[map_] += 1
            for journey in content.journeys.values():
                if journey.map in stalled and journey.stalled(plan.maps[journey.map], at):
                    stalled[journey.map] += 1
            if count % 64 == 63:
                await asyncio.sleep(0)
        return {
            "at": instant_text(at),
            "plan": plan.digest,
            "maps": {
                map_: journey_report(plan, plan.maps[map_], totals[map_], stalled[map_], customers[map_])
                for map_ in wanted
            },
        }

    def customer(self, identifier: Identifier) -> Plain:
        """The whole context of a customer.

        Raises:
            Refusal: NOT_FOUND.
        """
        known = self._contexts.find(identifier)
        if known is None:
            raise not_found(f"nobody is known by {identifier}")
        plan, at = self._plans.current, self._clock()
        head = self._contexts.read(known.customer)
        content = head.content.fork()
        advance(content, plan, at)
        names = self._contexts.identifiers(known.customer)
        return portrait(content, plan, at, [str(name) for name in names], self._contexts.version(head))


def with_running(content: Content, plan: Plan, name: str) -> Tally | None:
    """What became of a customer's journeys of a map, the running ones included; None where there were none."""
    tally = content.tallies.get(name)
    for (map_, _), journey in content.journeys.items():
        if map_ == name:
            tally = tallied(tally or Tally(), journey, plan)
    return tally


def _add(left: Mapping[str, int], right: Mapping[str, int]) -> dict[str, int]:
    total = dict(left)
    for name, count in right.items():
        total[name] = total.get(name, 0) + count
    return total


def summed(left: Tally, right: Tally) -> Tally:
    """Two tallies as one."""
    return Tally(
        _add(left.outcomes, right.outcomes),
        _add(left.stages, right.stages),
        left.goal_time + right.goal_time,
        _add(left.goal_times, right.goal_times),
        left.stalled + right.stalled,
        left.assisted + right.assisted,
        _add(left.interactions, right.interactions),
        left.orphan_goals + right.orphan_goals,
    )


def journey_report(plan: Plan, journey_map: JourneyMap, tally: Tally, stalled_now: int, customers: int) -> Plain:
    """What a journey's owner reads of a map."""
    outcomes = tally.outcomes
    started = sum(outcomes.values())
    completed = outcomes.get("completed", 0)
    ended = started - outcomes.get("running", 0)
    channels = plan.vocabulary.channels
    assisted_interactions = sum(n for channel, n in tally.interactions.items() if plan.is_assisted(channel))
    actual = {
        "completion": _share(completed, ended),
        "assisted_interactions_per_journey": _share(assisted_interactions, started),
        "assisted_share": _share(tally.assisted, started),
    }
    cost = sum(n * channels[channel].cost for channel, n in tally.interactions.items() if channel in channels)
    return {
        "title": journey_map.title,
        "goal": journey_map.goal_text,
        "owner": journey_map.owner,
        "status": journey_map.status,
        "customers": customers,
        "started": started,
        "running": outcomes.get("running", 0),
        "stalled": stalled_now,
        "stalled_ever": tally.stalled,
        "completed": completed,
        "failed": outcomes.get("failed", 0),
        "abandoned": outcomes.get("abandoned", 0),
        "dropped": outcomes.get("dropped", 0),
        "orphan_goals": tally.orphan_goals,
        "mean_time_to_goal_s": round(tally.goal_time / completed / SECOND, 6) if completed else None,
        "median_time_to_goal_s": _median(tally.goal_times),
        "funnel": {stage.name: tally.stages.get(stage.name, 0) for stage in journey_map.stages},
        "interactions": dict(sorted(tally.interactions.items())),
        "cost": round(cost, 2),
        "value": round(completed * float(journey_map.value.get("per_completion", {}).get("amount", 0.0)), 2),
        **actual,
        "targets": {
            name: {"target": target, "actual": actual.get(name), "met": _met(name, target, actual.get(name))}
            for name, target in journey_map.targets.items()
        },
    }


def _share(part: int, whole: int) -> float | None:
    return round(part / whole, 4) if whole else None


def _met(name: str, target: float, value: float | None) -> bool | None:
    if value is None:
        return None
    return value <= target if name.startswith("assisted") else value >= target


def _median(goal_times: Mapping[str, int]) -> float | None:
    """The middle of the power-of-two bucket (in seconds) that holds the median."""
    total, seen = sum(goal_times.values()), 0
    for bits, count in sorted((int(bits), count) for bits, count in goal_times.items()):
        seen += count
        if seen * 2 >= total:
            return 0.75 * (1 << bits) if bits else 0.0
    return None
