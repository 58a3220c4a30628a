"""Journey maps: goal, stages and deadlines, as the plan states them. A map recognises, it does not drive.

Owns the compiled map, what of it the type and channel of an event decide, and the key of a journey. What a fact does
to journeys is in `recognition`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from .expression import Compiled, ExpressionError
from .instant import SECOND

if TYPE_CHECKING:
    from .fact import Fact
    from .scope import Scope

RUNNING: Final = 16
"""Journeys of one map that run at once, unless the map says otherwise."""
SETTLES: Final = 300 * SECOND
"""How long after a goal a start of the same key is taken for a late echo (semantics TI3)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """A named place on a map.

    Attributes:
        types: event types that can reach it; None where any can.
        decided: whether the type alone decides.
    """

    name: str
    reached: Compiled
    types: frozenset[str] | None
    decided: bool = False
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
        decided: names of the conditions that the type alone decides.
        key_property: where the key is nothing but a property of the event, its name.
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
    decided: frozenset[str] = frozenset()
    key_property: str = ""
    touches: tuple[str, ...] = ()
    stalls: int = 0
    abandons: int = 0
    settles: int = SETTLES
    running: int = RUNNING
    outranks: bool = False
    value: Mapping[str, Any] = field(default_factory=dict)
    targets: Mapping[str, Any] = field(default_factory=dict)
    inputs: frozenset[str] = frozenset()

    def is_touched_by(self, type_: str, channel: str) -> bool:
        """Whether a fact without the key belongs to the running journeys of this map."""
        return any(pattern == channel or fnmatchcase(type_, pattern) for pattern in self.touches)

    def condition(self, name: str, type_: str) -> Condition:
        """A condition (`starts`, `goal`, `fails`) for an event type: decided where the type decides it."""
        types = self.types.get(name)
        if types is not None and type_ not in types:
            return False
        condition: Compiled | None = getattr(self, name)
        return condition is not None and (name in self.decided or condition)

    def key_of(self, fact: Fact, scope: Scope | None) -> str | None:
        """Which journey a fact belongs to; None where it does not say. `scope` may be absent for a plain property."""
        if self.key_property:
            properties = fact.properties
            return key_text(properties.get(self.key_property)) if type(properties) is dict else None
        if self.key is None:
            return ""
        assert scope is not None
        try:
            return key_text(self.key.value(scope))
        except ExpressionError:
            return None


Condition = Compiled | bool
"""What is to be asked, or what is decided."""


class Found(NamedTuple):
    """What one map makes of a fact, before anything is changed. `stages` are names."""

    starts: bool
    stages: tuple[str, ...]
    goal: bool
    fails: bool


NOTHING: Final = Found(False, (), False, False)


@dataclass(frozen=True, slots=True)
class Matcher:
    """What of one map can react to one event type on one channel: the rest is not evaluated.

    Attributes:
        stages: by name, those that can be reached.
        touched: whether the event belongs to running journeys also without their key.
        decided: what the type alone makes of the event; None where conditions are to be asked.
        asks: whether anything, a condition or the key, is to be asked of the content.
    """

    map: JourneyMap
    starts: Condition
    stages: tuple[tuple[str, Condition], ...]
    goal: Condition
    fails: Condition
    touched: bool
    decided: Found | None
    asks: bool

    def found(self, scope: Scope) -> Found:
        """Asks."""
        return Found(
            _holds(self.starts, scope),
            tuple([name for name, reached in self.stages if _holds(reached, scope)]),
            _holds(self.goal, scope),
            _holds(self.fails, scope),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Reaction:
    """What a plan makes of events of one type on one channel.

    Attributes:
        matchers: the maps that such an event may belong to.
        acting: those of which it can change a journey by itself; of others it only counts as an interaction.
        folds: whether it is folded at all.
        kept: the names under which it is seen, type and channel, and how many recent instants are kept of each.
    """

    matchers: tuple[Matcher, ...]
    acting: tuple[Matcher, ...]
    folds: bool
    kept: tuple[tuple[str, int], ...]


def _holds(condition: Condition, scope: Scope) -> bool:
    return condition if type(condition) is bool else condition.holds(scope)


def matchers(maps: Mapping[str, JourneyMap], type_: str, channel: str) -> tuple[Matcher, ...]:
    """Specialises the maps for an event type and channel."""
    found = []
    for journey_map in maps.values():
        starts, goal, fails = (journey_map.condition(name, type_) for name in ("starts", "goal", "fails"))
        stages: tuple[tuple[str, Condition], ...] = tuple(
            (stage.name, stage.decided or stage.reached)
            for stage in journey_map.stages
            if stage.types is None or type_ in stage.types
        )
        conditions = (starts, goal, fails, *(reached for _, reached in stages))
        decided = None
        if all(type(condition) is bool for condition in conditions):
            decided = Found(starts is True, tuple(name for name, _ in stages), goal is True, fails is True)
        touched = journey_map.is_touched_by(type_, channel)
        # Whatever its type, a fact with the key of a running journey belongs to it (TI3).
        if decided != NOTHING or touched or journey_map.key:
            asks = decided is None or (journey_map.key is not None and not journey_map.key_property)
            found.append(Matcher(journey_map, starts, stages, goal, fails, touched, decided, asks))
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
