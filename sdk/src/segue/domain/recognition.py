"""What a fact does to journeys: recognition along the plan's maps.

Owns rules TI3 and TI4. Every condition reads the content before the fact and the journeys as they were then; only
afterwards is anything changed, map by map, in the order start, interactions, stages, goal, fails.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from .content import ENDED_KEPT, Content
from .expression import NEVER, Compiled, ExpressionError
from .journey import ABANDONED, COMPLETED, DROPPED, FAILED, INTERACTIONS_KEPT, ORPHAN, Journey, Tally
from .journey_map import JourneyMap, Matcher, key_text

if TYPE_CHECKING:
    from .fact import Fact
    from .plan import Plan
    from .scope import Scope


def _holds(condition: Compiled | None, scope: Scope) -> bool:
    return condition is not None and condition.holds(scope)


class _Findings:
    """What one map made of a fact, before anything is changed."""

    __slots__ = ("fails", "goal", "key", "map", "stages", "starts", "touched")

    def __init__(self, matcher: Matcher, scope: Scope) -> None:
        self.map = matcher.map
        self.touched = matcher.touched
        self.starts = _holds(matcher.starts, scope)
        self.stages = [stage.name for stage in matcher.stages if stage.reached.holds(scope)]
        self.goal = _holds(matcher.goal, scope)
        self.fails = _holds(matcher.fails, scope)
        # Most events only touch a map of which nothing runs: then no key needs to be read.
        self.key = self._key(matcher.map.key, scope) if self.matters(scope.content) else None

    def matters(self, content: Content) -> bool:
        """Whether the fact can change anything of this map."""
        if self.starts or self.stages or self.goal or self.fails:
            return True
        return bool(content.journeys) and any(name[0] == self.map.name for name in content.journeys)

    @staticmethod
    def _key(key: Compiled | None, scope: Scope) -> str | None:
        if key is None:
            return ""
        try:
            return key_text(key.value(scope))
        except ExpressionError:
            return None


def recognise(content: Content, plan: Plan, fact: Fact, matchers: tuple[Matcher, ...], scope: Scope) -> None:
    """Applies an event to the journeys of `content`, which is already advanced to the event's time."""
    findings = [_Findings(matcher, scope) for matcher in matchers]
    touched: list[tuple[str, str]] = []
    for found in findings:
        own = found.key is not None and _apply(content, plan, fact, found, found.key)
        if found.touched and not own and (found.key is None or found.map.key is None):
            touched += [name for name in content.journeys if name[0] == found.map.name]
    reference = fact.interaction
    if touched and reference is not None:
        if any(_told(reference.id, fact.channel) in content.journeys[name].recent_interactions for name in touched):
            return  # counted before: one call counts once, also where another journey has progressed since
        latest = max(touched, key=lambda name: (content.journeys[name].progress_at, name))
        content.journeys[latest] = _interacted(content.journeys[latest], fact)


def _apply(content: Content, plan: Plan, fact: Fact, found: _Findings, key: str) -> bool:
    """Start, interactions, stages, goal, fails of one map. Returns whether the fact belongs to a journey of its own."""
    journey_map, at = found.map, fact.occurred_at
    name = (journey_map.name, key)
    journey = content.journeys.get(name)
    if not (found.starts or found.stages or found.goal or found.fails):
        if journey is not None and journey_map.key is not None:
            content.journeys[name] = _interacted(journey, fact)
            return True
        return False
    if journey is None:
        opens = found.starts or (bool(found.stages) and journey_map.key is not None)
        if opens or found.goal:
            if _settling(content, journey_map, name, at, (COMPLETED, ORPHAN) if opens else (COMPLETED,)):
                return True
            if not opens:
                _orphan(content, journey_map, key, at)
                return False
        if not opens:
            return False
        journey = Journey(journey_map.name, key, at, found.starts, at)
        _make_room(content, plan, journey_map, at)
    elif found.starts and not journey.start_seen:
        journey = replace(_progressed(journey, journey_map, at), start_seen=True)
    journey = _interacted(journey, fact)
    for stage in found.stages:
        if stage not in journey.stages:
            journey = replace(_progressed(journey, journey_map, at), stage=stage, stages={**journey.stages, stage: at})
    content.journeys[name] = journey
    if found.goal:
        end(content, plan, journey, COMPLETED, at)
    elif found.fails:
        end(content, plan, journey, FAILED, at)
    else:
        content.next_due = min(content.next_due, journey.abandons_at(journey_map))
    return True


def _settling(
    content: Content, journey_map: JourneyMap, name: tuple[str, str], at: int, outcomes: tuple[str, ...]
) -> bool:
    """Whether this key reached its goal so recently that a new start is an echo of clocks that differ."""
    for ended in reversed(content.ended):
        if (ended.map, ended.key) == name and ended.outcome in outcomes:
            return at < ended.ended_at + journey_map.settles
    return False


def _orphan(content: Content, journey_map: JourneyMap, key: str, at: int) -> None:
    """Counts a goal alone, and remembers it: its start may follow by a clock that is late (TI3)."""
    content.ended.append(Journey(journey_map.name, key, at, False, at, outcome=ORPHAN, ended_at=at))
    del content.ended[:-ENDED_KEPT]
    _tally(content, journey_map.name, lambda tally: replace(tally, orphan_goals=tally.orphan_goals + 1))


def _make_room(content: Content, plan: Plan, journey_map: JourneyMap, at: int) -> None:
    if len(content.journeys) < journey_map.running:
        return
    running = [journey for name, journey in content.journeys.items() if name[0] == journey_map.name]
    if len(running) >= journey_map.running:
        least = min(running, key=lambda journey: (journey.progress_at, journey.key))
        end(content, plan, least, DROPPED, at)


def _progressed(journey: Journey, journey_map: JourneyMap, at: int) -> Journey:
    stalled = at >= journey.stalls_at(journey_map)
    return Journey(
        journey.map, journey.key, journey.started_at, journey.start_seen, at, journey.stage, journey.stages,
        journey.interactions, journey.recent_interactions, journey.stalls + stalled, journey.outcome, journey.ended_at,
    )  # fmt: skip


def _told(interaction: str, channel: str) -> str:
    return f"{channel}:{interaction}"


def _interacted(journey: Journey, fact: Fact) -> Journey:
    """Counts the fact's interaction once on each channel: a call handed from the menu to an agent is one on each."""
    if fact.interaction is None:
        return journey
    told = _told(fact.interaction.id, fact.channel)
    if told in journey.recent_interactions:
        return journey
    counts = {**journey.interactions, fact.channel: journey.interactions.get(fact.channel, 0) + 1}
    recent = (*journey.recent_interactions[-INTERACTIONS_KEPT + 1 :], told)
    return replace(journey, interactions=counts, recent_interactions=recent)


def end(content: Content, plan: Plan, journey: Journey, outcome: str, at: int) -> None:
    """Ends a running journey and counts what became of it."""
    journey_map = plan.maps[journey.map]
    stalled = at >= journey.stalls_at(journey_map)
    journey = replace(journey, outcome=outcome, ended_at=at, stalls=journey.stalls + stalled)
    content.journeys.pop((journey.map, journey.key), None)
    content.ended.append(journey)
    del content.ended[:-ENDED_KEPT]
    _tally(content, journey.map, lambda tally: tallied(tally, journey, plan))


def tallied(tally: Tally, journey: Journey, plan: Plan) -> Tally:
    """A tally with one more journey; a running one counts under the outcome `running`."""
    goal_time, goal_times = tally.goal_time, tally.goal_times
    if journey.outcome == COMPLETED:
        taken = journey.ended_at - journey.started_at
        goal_time += taken
        goal_times = _more(goal_times, str((taken // 1_000_000).bit_length()))
    stages, interactions = tally.stages, tally.interactions
    for stage in journey.stages:
        stages = _more(stages, stage)
    for channel, count in journey.interactions.items():
        interactions = _more(interactions, channel, count)
    return replace(
        tally,
        outcomes=_more(tally.outcomes, journey.outcome or "running"),
        stages=stages,
        goal_time=goal_time,
        goal_times=goal_times,
        stalled=tally.stalled + (journey.stalls > 0),
        assisted=tally.assisted + any(plan.is_assisted(channel) for channel in journey.interactions),
        interactions=interactions,
    )


def _tally(content: Content, name: str, change: Any) -> None:
    content.tallies[name] = change(content.tallies.get(name) or Tally())


def _more(counts: Mapping[str, int], name: str, by: int = 1) -> Mapping[str, int]:
    return {**counts, name: counts.get(name, 0) + by}


def abandon_due(content: Content, plan: Plan, at: int) -> None:
    """Ends what its deadline has passed, each at its own deadline, in the order of deadlines (TI1)."""
    due = []
    for journey in content.journeys.values():
        deadline = journey.abandons_at(plan.maps[journey.map])
        if deadline <= at:
            due.append((deadline, plan.maps[journey.map].position, journey.key, journey))
    for deadline, _, _, journey in sorted(due, key=lambda entry: entry[:3]):
        end(content, plan, journey, ABANDONED, deadline)
    content.next_due = min(
        (journey.abandons_at(plan.maps[journey.map]) for journey in content.journeys.values()), default=NEVER
    )
