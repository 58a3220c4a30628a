"""Journey maps: goal, stages and deadlines, as the plan states them. A map recognises, it does not drive.

Owns the compiled map, which event types it can react to at all, and the key of a journey. What a fact does to
journeys is in `recognition`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any, Final

from .expression import Compiled
from .instant import SECOND

RUNNING: Final = 16
"""Journeys of one map that run at once, unless the map says otherwise."""
SETTLES: Final = 300 * SECOND
"""How long after a goal a start of the same key is taken for a late echo (semantics TI3)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """A named place on a map.

    Attributes:
        types: event types that can reach it; None where any can.
    """

    name: str
    reached: Compiled
    types: frozenset[str] | None
    expect_within: int = 0
    moment_of_truth: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class JourneyMap:
    """One map of the plan. Durations in microseconds, 0 where not set.

    Attributes:
        starts: when a journey begins.
        key: which journey a fact belongs to; None where one runs at a time.
        goal: when it completes.
        fails: when it fails.
        types: by condition name, the event types that can make it true; None where any can.
        touches: patterns of event types or channels of facts without the key that still belong to it.
    """

    name: str
    position: int
    title: str = ""
    goal_text: str = ""
    owner: str = ""
    status: str = "hypothesis"
    parent: str = ""
    starts: Compiled | None = None
    key: Compiled | None = None
    stages: tuple[Stage, ...] = ()
    goal: Compiled | None = None
    fails: Compiled | None = None
    types: Mapping[str, frozenset[str] | None] = field(default_factory=dict)
    touches: tuple[str, ...] = ()
    stalls: int = 0
    abandons: int = 0
    settles: int = SETTLES
    running: int = RUNNING
    value: Mapping[str, Any] = field(default_factory=dict)
    targets: Mapping[str, Any] = field(default_factory=dict)
    inputs: frozenset[str] = frozenset()

    def is_touched_by(self, type_: str, channel: str) -> bool:
        """Whether a fact without the key belongs to the running journeys of this map."""
        return any(pattern == channel or fnmatchcase(type_, pattern) for pattern in self.touches)

    def can(self, condition: str, type_: str) -> bool:
        """Whether an event of this type can make the condition (`starts`, `goal`, `fails`) true at all."""
        types = self.types.get(condition)
        return types is None or type_ in types


@dataclass(frozen=True, slots=True)
class Matcher:
    """What of one map can react to one event type on one channel: the rest is not evaluated."""

    map: JourneyMap
    starts: Compiled | None
    stages: tuple[Stage, ...]
    goal: Compiled | None
    fails: Compiled | None
    touched: bool


def matchers(maps: Mapping[str, JourneyMap], type_: str, channel: str) -> tuple[Matcher, ...]:
    """Specialises the maps for an event type and channel."""
    found = []
    for journey_map in maps.values():
        matcher = Matcher(
            journey_map,
            journey_map.starts if journey_map.can("starts", type_) else None,
            tuple(stage for stage in journey_map.stages if stage.types is None or type_ in stage.types),
            journey_map.goal if journey_map.can("goal", type_) else None,
            journey_map.fails if journey_map.can("fails", type_) else None,
            journey_map.is_touched_by(type_, channel),
        )
        # Whatever its type, a fact with the key of a running journey belongs to it (TI3).
        if matcher.starts or matcher.stages or matcher.goal or matcher.fails or matcher.touched or journey_map.key:
            found.append(matcher)
    return tuple(found)


def key_text(value: Any) -> str | None:
    """The key of a journey as text: strings, integers and integral doubles; None where it is no key."""
    if type(value) is str:
        return value or None
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return str(int(value))
    if type(value) is float and value.is_integer():
        return str(int(value))
    return None
