"""What a fact does to journeys: recognition along the plan's maps.

Owns rules TI3 and TI4. Every condition reads the content before the fact and the journeys as they were then; only
afterwards is anything changed, map by map, in the order start, interactions, stages, goal, fails.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from .content import ENDED_KEPT, Content
from .instant import NEVER, SECOND
from .journey import (
    ABANDONED,
    COMPLETED,
    DROPPED,
    FAILED,
    INTERACTIONS_KEPT,
    INTERACTIONS_MOST,
    ORPHAN,
    Journey,
    Tally,
)
from .journey_map import NOTHING, Found, JourneyMap, Matcher
from .scope import Scope

if TYPE_CHECKING:
    from .fact import Fact
    from .plan import Plan


def recognise(content: Content, plan: Plan, fact: Fact, matchers: tuple[Matcher, ...]) -> None:
    """Applies an event to the journeys of `content`, which is already advanced to the event's time."""
    journeys, reference = content.journeys, fact.interaction
    if reference is None and len(matchers) == 1 and not matchers[0].asks:
        _decided(content, plan, fact, matchers[0])
        return
    scope: Scope | None = None
    findings: list[tuple[Matcher, Found, str | None]] = []
    for matcher in matchers:
        journey_map, found = matcher.map, matcher.decided
        if scope is None and matcher.asks:
            scope = Scope(content, fact.occurred_at, plan, fact=fact)
        if found is None:
            assert scope is not None
            found = matcher.found(scope)
        if found == NOTHING and (
            # Most events only touch a map of which nothing runs, or say of no interaction: nothing to count.
            reference is None or not any(name[0] == journey_map.name for name in journeys)
        ):
            continue
        findings.append((matcher, found, journey_map.key_of(fact, scope)))
    touched: list[tuple[str, str]] = []
    for matcher, found, key in findings:
        own = key is not None and _apply(content, plan, fact, matcher.map, found, key)
        if matcher.touched and not own and (key is None or matcher.map.key is None):
            touched += [name for name in journeys if name[0] == matcher.map.name]
    if touched and reference is not None:
        told = _told(reference.id, fact.channel)
        if any(told in journeys[name].recent_interactions for name in touched):
            return  # counted before: one call counts once, also where another journey has progressed since
        latest = max(touched, key=lambda name: (journeys[name].progress_at, name))
        journeys[latest] = _changed(journeys[latest], fact, told, content)


def _decided(content: Content, plan: Plan, fact: Fact, matcher: Matcher) -> None:
    """One map, and the type says it all: the shortest way."""
    found, key = matcher.decided, matcher.map.key_of(fact, None)
    if found is not None and found != NOTHING and key is not None:
        _apply(content, plan, fact, matcher.map, found, key)


def _apply(content: Content, plan: Plan, fact: Fact, journey_map: JourneyMap, found: Found, key: str) -> bool:
    """Start, interactions, stages, goal, fails of one map. Returns whether the fact belongs to a journey of its own."""
    at, reference = fact.occurred_at, fact.interaction
    name = (journey_map.name, key)
    journey = content.journeys.get(name)
    starts, stages, goal, fails = found
    told = _told(reference.id, fact.channel) if reference is not None else ""
    if journey is None:
        opens = starts or (bool(stages) and journey_map.key is not None)
        if opens or goal:
            if _settling(content, journey_map, key, at, (COMPLETED, ORPHAN) if opens else (COMPLETED,)):
                return True
            if not opens:
                _orphan(content, journey_map, key, at)
                return False
        if not opens:
            return False
        _make_room(content, plan, journey_map, at)
        content.journeys[name] = journey = Journey(journey_map.name, key, at, starts, at)
    elif found == NOTHING:
        if journey_map.key is None:
            return False
        if told and told not in journey.recent_interactions:
            content.journeys[name] = _changed(journey, fact, told, content)
        return True
    new = [stage for stage in stages if stage not in journey.stages] if stages else stages
    begins = starts and not journey.start_seen
    if new or begins or (told and told not in journey.recent_interactions):
        content.journeys[name] = journey = _changed(journey, fact, told, content)
        if new or begins:
            journey.stalls += at >= journey.stalls_at(journey_map)
            journey.progress_at = at
            journey.start_seen |= begins
            for stage in new:
                journey.stage = stage
                journey.stages = {**journey.stages, stage: at}
    if goal:
        end(content, plan, journey, COMPLETED, at)
    elif fails:
        end(content, plan, journey, FAILED, at)
    else:
        content.next_due = min(content.next_due, journey.abandons_at(journey_map))
    return True


def _settling(content: Content, journey_map: JourneyMap, key: str, at: int, outcomes: tuple[str, ...]) -> bool:
    """Whether this key reached its goal so recently that a new start is an echo of clocks that differ."""
    name = journey_map.name
    for ended in reversed(content.ended):
        if ended.key == key and ended.map == name and ended.outcome in outcomes:
            return at < ended.ended_at + journey_map.settles
    return False


def _orphan(content: Content, journey_map: JourneyMap, key: str, at: int) -> None:
    """Counts a goal alone, and remembers it: its start may follow by a clock that is late (TI3)."""
    content.ended.append(Journey(journey_map.name, key, at, False, at, outcome=ORPHAN, ended_at=at))
    del content.ended[:-ENDED_KEPT]
    tally = (content.tallies.get(journey_map.name) or Tally()).copy()
    tally.orphan_goals += 1
    content.tallies = {**content.tallies, journey_map.name: tally}


def _make_room(content: Content, plan: Plan, journey_map: JourneyMap, at: int) -> None:
    if len(content.journeys) < journey_map.running:
        return
    running = [journey for name, journey in content.journeys.items() if name[0] == journey_map.name]
    if len(running) >= journey_map.running:
        least = min(running, key=lambda journey: (journey.progress_at, journey.key))
        end(content, plan, least, DROPPED, at)


def _told(interaction: str, channel: str) -> str:
    return f"{channel}:{interaction}"


def _changed(journey: Journey, fact: Fact, told: str, content: Content) -> Journey:
    """A copy of one's own, with the fact's interaction counted once on each channel: a call that is handed from the
    menu to an agent is one on each.
    """
    journey = journey.copy()
    if told and told not in journey.recent_interactions:
        journey.interactions = {**journey.interactions, fact.channel: journey.interactions.get(fact.channel, 0) + 1}
        recent = journey.recent_interactions
        if len(recent) >= INTERACTIONS_KEPT:
            recent = _remembered(recent, content)
        journey.recent_interactions = (*recent, told)
    return journey


def _remembered(recent: tuple[str, ...], content: Content) -> tuple[str, ...]:
    """The newest, and of the older those that may well come back: they are still among the customer's newest."""
    older, newest = recent[: -INTERACTIONS_KEPT + 1], recent[-INTERACTIONS_KEPT + 1 :]
    known = content.interactions
    return (*[told for told in older if told.partition(":")[2] in known][-INTERACTIONS_MOST:], *newest)


def end(content: Content, plan: Plan, journey: Journey, outcome: str, at: int) -> None:
    """Ends a running journey and counts what became of it."""
    journey_map = plan.maps[journey.map]
    journey = journey.copy()
    journey.stalls += at >= journey.stalls_at(journey_map)
    journey.outcome, journey.ended_at = outcome, at
    content.journeys.pop((journey.map, journey.key), None)
    content.ended.append(journey)
    del content.ended[:-ENDED_KEPT]
    tally = tallied(content.tallies.get(journey.map) or Tally(), journey, plan)
    content.tallies = {**content.tallies, journey.map: tally}


def tallied(tally: Tally, journey: Journey, plan: Plan) -> Tally:
    """A tally with one more journey; a running one counts under the outcome `running`."""
    tally = tally.copy()
    if journey.outcome == COMPLETED:
        taken = journey.ended_at - journey.started_at
        tally.goal_time += taken
        tally.goal_times = _more(tally.goal_times, str((taken // SECOND).bit_length()))
    for stage in journey.stages:
        tally.stages = _more(tally.stages, stage)
    for channel, count in journey.interactions.items():
        tally.interactions = _more(tally.interactions, channel, count)
    tally.outcomes = _more(tally.outcomes, journey.outcome or "running")
    tally.stalled += journey.stalls > 0
    tally.assisted += any(plan.is_assisted(channel) for channel in journey.interactions)
    return tally


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
