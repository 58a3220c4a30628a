"""A journey: one customer's own passage along a map, as it really went.

Owns its state and what follows from its deadlines. Stalled and abandoned are derived from the last progress, never
stored as truth (semantics TI1 to TI4).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from .expression.value import NEVER

if TYPE_CHECKING:
    from .journey_map import JourneyMap

COMPLETED: Final = "completed"
FAILED: Final = "failed"
ABANDONED: Final = "abandoned"
DROPPED: Final = "dropped"
ORPHAN: Final = "orphan"
"""A goal without a journey, among those that ended."""
INTERACTIONS_KEPT: Final = 8
"""Newest interaction ids remembered per journey, so that one call counts once; older ones too, as long as they are
among the customer's newest interactions (`content.RECENT_KEPT`)."""
INTERACTIONS_MOST: Final = 56
"""Of those older ones, at most."""


@dataclass(slots=True)
class Journey:
    """One passage. Instants in microseconds. Nobody changes one that others see, a change makes a new one (`frozen`
    would treble what that costs).

    Attributes:
        map: name of the map.
        key: which of several at once; empty where the map has no key.
        started_at: the start, or the first keyed stage where no start was seen.
        start_seen: whether the start itself was seen.
        progress_at: the start, or the last stage reached for the first time.
        stage: that stage; empty at the start.
        stages: by stage, when it was first reached.
        interactions: by channel, how many interactions it took.
        recent_interactions: `channel:id` of the newest of them.
        stalls: how often it had stalled before it went on.
        outcome: empty while running.
        ended_at: when it ended; 0 while running.
    """

    map: str
    key: str
    started_at: int
    start_seen: bool
    progress_at: int
    stage: str = ""
    stages: Mapping[str, int] = field(default_factory=dict)
    interactions: Mapping[str, int] = field(default_factory=dict)
    recent_interactions: tuple[str, ...] = ()
    stalls: int = 0
    outcome: str = ""
    ended_at: int = 0

    def copy(self) -> Journey:
        """A journey of one's own, to change before anyone else sees it."""
        return Journey(
            self.map, self.key, self.started_at, self.start_seen, self.progress_at, self.stage, self.stages,
            self.interactions, self.recent_interactions, self.stalls, self.outcome, self.ended_at,
        )  # fmt: skip

    def abandons_at(self, journey_map: JourneyMap) -> int:
        """When it is given up if nothing more happens."""
        return self.progress_at + journey_map.abandons if journey_map.abandons else NEVER

    def stalls_at(self, journey_map: JourneyMap) -> int:
        """When it stalls if nothing more happens."""
        return self.progress_at + journey_map.stalls if journey_map.stalls else NEVER

    def active(self, journey_map: JourneyMap, at: int) -> bool:
        """Whether it runs at `at` (at or after its last fact)."""
        abandons = journey_map.abandons
        return not self.outcome and not (abandons and at >= self.progress_at + abandons)

    def stalled(self, journey_map: JourneyMap, at: int) -> bool:
        """Whether it runs and waits longer than its map expects."""
        return self.active(journey_map, at) and at >= self.stalls_at(journey_map)

    def flips_at(self, journey_map: JourneyMap, at: int) -> int:
        """When its state next changes by mere passing of time."""
        if self.outcome:
            return NEVER
        for due in (self.stalls_at(journey_map), self.abandons_at(journey_map)):
            if due > at:
                return due
        return NEVER


@dataclass(slots=True)
class Tally:
    """What became of a customer's ended journeys along one map, for reports. Changed as a journey is: as a copy.

    Attributes:
        outcomes: by outcome, how many.
        stages: by stage, how many of them reached it.
        goal_time: sum of the times to the goal, in microseconds.
        goal_times: how many by size: the bit length of the seconds, for medians.
        stalled: how many had stalled at least once.
        assisted: how many took an interaction on an assisted channel.
        interactions: by channel, how many interactions they took.
        orphan_goals: goals without a journey.
    """

    outcomes: Mapping[str, int] = field(default_factory=dict)
    stages: Mapping[str, int] = field(default_factory=dict)
    goal_time: int = 0
    goal_times: Mapping[str, int] = field(default_factory=dict)
    stalled: int = 0
    assisted: int = 0
    interactions: Mapping[str, int] = field(default_factory=dict)
    orphan_goals: int = 0

    def copy(self) -> Tally:
        """A tally of one's own, to change before anyone else sees it."""
        return Tally(
            self.outcomes, self.stages, self.goal_time, self.goal_times, self.stalled, self.assisted,
            self.interactions, self.orphan_goals,
        )  # fmt: skip
