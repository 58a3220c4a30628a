"""What the names in expressions mean: `trait.x`, `journey.m.stalled`, `seen("ivr", "1h")`, `event.type` ...

Owns the bridge from names to contents. Each name gives a value at a moment and, where time moves it, the instant at
which it flips. The same words are methods of `Context`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from .activity import MOST, NONE
from .consent import allows
from .coordination_binding import choice_node, claim_node, holdout_node
from .effort import PARTS, effort
from .expression.conversion import parse_timestamp
from .expression.node import Environment, Node, Refused
from .expression.value import NEVER, Timestamp, Value
from .instant import span
from .vocabulary import Vocabulary, did_you_mean
from .workspace_binding import calendar_node, incident_node

if TYPE_CHECKING:
    from .journey import Journey
    from .journey_map import JourneyMap
    from .scope import Scope

JOURNEY_FIELDS: Final = {
    "active": "bool", "stalled": "bool", "stage": "string", "started_at": "timestamp", "progress_at": "timestamp",
    "completed_at": "timestamp",
}  # fmt: skip
EVENT_FIELDS: Final = {
    "type": "string", "channel": "string", "touchpoint": "string", "occurred_at": "timestamp", "properties": "map",
    "interaction": "string", "direction": "string", "outcome": "string",
}  # fmt: skip
ACTION_FIELDS: Final = {
    "kind": "string", "channel": "string", "topic": "string", "purpose": "string", "advances": "string",
    "touchpoint": "string",
}  # fmt: skip
EFFORT_FIELDS: Final = {"score": "int", **dict.fromkeys(PARTS, "int")}

# Environments are typed by their smallest protocol; here they are always scopes.
_At = Callable[[Any], tuple[Value, int]]


def _pair(function: _At) -> Node:
    return Node(lambda env: function(env)[0], function)


class ContextBindings:
    """The names of a plan's expressions.

    Args:
        vocabulary: declared traits, channels and events.
        journey_maps: names of the maps.
        audiences: names of audiences that may be asked for; empty while audiences themselves are compiled.
        calendars: names of the calendars.
        holdouts: names of the guardrails that have a holdout.
    """

    def __init__(
        self, vocabulary: Vocabulary, journey_maps: tuple[str, ...], audiences: tuple[str, ...] = (),
        calendars: tuple[str, ...] = (), holdouts: tuple[str, ...] = (),
    ) -> None:  # fmt: skip
        self._vocabulary = vocabulary
        self._maps = journey_maps
        self._audiences = audiences
        self._calendars = calendars
        self._holdouts = holdouts

    def variable(self, name: str) -> Node | None:
        """The node of a dotted name."""
        if name == "now":
            return Node(lambda env: Timestamp(env.at * 1000), lambda env: (Timestamp(env.at * 1000), NEVER), slope=1)
        head, _, rest = name.partition(".")
        if head == "trait" and rest:
            return self._trait(rest)
        if head == "journey" and rest:
            return self._journey(*rest.rpartition(".")[::2])
        if head == "effort" and rest in EFFORT_FIELDS:
            return _pair(lambda env: _effort(env, rest))
        if head == "event" and rest in EVENT_FIELDS:
            return Node(_EVENT[rest])
        if head == "action" and rest in ACTION_FIELDS:
            return Node(lambda env: str(env.action.get(rest) or ""))  # type: ignore[attr-defined]
        return None

    def function(self, name: str, arguments: list[Node]) -> Node | None:
        """The node of a call."""
        build = _FUNCTIONS.get(name)
        if build is None:
            return None
        texts: list[str] = []
        for argument in arguments:
            if argument.constant is None or type(argument.constant[0]) is not str:
                raise Refused(f"{name}(...) takes constant texts, so that the plan can be checked")
            texts.append(argument.constant[0])
        return build(self, *texts)

    def _trait(self, name: str) -> Node:
        declared = self._vocabulary.traits.get(name)
        if declared is None and self._vocabulary.traits:
            raise Refused(f"no trait is called {name!r}. {did_you_mean(name, self._vocabulary.traits)}")
        zero = declared.zero if declared else ""
        if declared is not None and declared.type == "double":
            return Node(lambda env: _double(_trait_value(env, name, zero)))
        if declared is not None and declared.type == "timestamp":
            return Node(lambda env: _instant(_trait_value(env, name, zero)))
        return Node(lambda env: _trait_value(env, name, zero))

    def _map(self, name: str) -> None:
        if name not in self._maps:
            raise Refused(f"no journey map is called {name!r}. {did_you_mean(name, self._maps)}")

    def _journey(self, name: str, field: str) -> Node:
        self._map(name)
        if field in ("active", "stalled"):
            return _pair(lambda env: journey_state(env, name, field))
        if field == "completed_at":
            return Node(lambda env: Timestamp(completed_at(env, name) * 1000))
        if field in JOURNEY_FIELDS:
            return _pair(lambda env: _latest(env, name, field))
        raise Refused(f"a journey has no {field!r}. {did_you_mean(field, JOURNEY_FIELDS)}")

    def journeys(self, name: str) -> Node:
        """`journeys("m")`: the running journeys of a map, as maps."""
        self._map(name)
        return _pair(lambda env: _journeys(env, name))

    def _activity_name(self, name: str) -> None:
        if not self._vocabulary.knows_activity(name):
            known = [*self._vocabulary.channels, *self._vocabulary.events]
            raise Refused(f"no channel or event is called {name!r}. {did_you_mean(name, known)}")

    def seen(self, name: str, within: str = "") -> Node:
        """`seen("ivr", "1h")`."""
        self._activity_name(name)
        if not within:
            return Node(lambda env: name in env.content.activity)  # type: ignore[attr-defined]
        window = _window(within)

        def moving(env: Scope) -> tuple[Value, int]:
            activity = env.content.activity.get(name)
            if activity is None or activity.last <= env.at - window:
                return False, NEVER
            return True, activity.last + window

        return _pair(moving)

    def count(self, name: str, within: str = "") -> Node:
        """`count("call.started", "24h")`; without a window, all that were ever seen."""
        self._activity_name(name)
        if not within:
            return Node(lambda env: env.content.activity.get(name, NONE).total)  # type: ignore[attr-defined]
        window = _window(within)
        node = _pair(lambda env: env.content.activity.get(name, NONE).count(env.at, window)[:2])
        node.threshold = lambda function, number: _at_least(name, window, function, number)
        return node

    def last(self, name: str) -> Node:
        """`last("transfer.failed")`: 1970 where never seen (TI9)."""
        self._activity_name(name)

        def plain(env: Environment) -> Value:
            activity = env.content.activity.get(name)  # type: ignore[attr-defined]
            return Timestamp(activity.last * 1000 if activity else 0)

        return Node(plain)

    def known(self, name: str) -> Node:
        """`known("value_tier")`: whether a trait was ever set."""
        if self._vocabulary.traits and name not in self._vocabulary.traits:
            raise Refused(f"no trait is called {name!r}. {did_you_mean(name, self._vocabulary.traits)}")
        return Node(lambda env: name in env.content.traits)  # type: ignore[attr-defined]

    def consents_to(self, purpose: str) -> Node:
        """`consents_to("marketing")`."""
        purposes = self._vocabulary.purposes
        if purposes and purpose not in purposes:
            raise Refused(f"no purpose is called {purpose!r}. {did_you_mean(purpose, purposes)}")
        return Node(lambda env: allows(env.content.consents.get(purpose)))  # type: ignore[attr-defined]

    def subscribed(self, channel: str, topic: str) -> Node:
        """`subscribed("email", "offers")`."""
        name = f"{channel}:{topic}"
        return Node(lambda env: allows(env.content.subscriptions.get(name)))  # type: ignore[attr-defined]

    def in_audience(self, name: str) -> Node:
        """`in_audience("stuck")`, in guardrails."""
        if name not in self._audiences:
            raise Refused(f"no audience is called {name!r} here. {did_you_mean(name, self._audiences)}")
        return _pair(lambda env: env.plan.audiences[name].when.holds_until(env))

    def incident(self, id_: str) -> Node:
        """`incident("IOS-481").open`."""
        return incident_node(id_)

    def calendar(self, name: str) -> Node:
        """`calendar("support").open`."""
        return calendar_node(name, self._calendars)

    def choice(self, about: str) -> Node:
        """`choice("topic:offers")`: what she chose, empty where nothing."""
        return choice_node(about, self._vocabulary, self._maps)

    def claim(self, scope: str) -> Node:
        """`claim("conversation").holder`."""
        return claim_node(scope)

    def holdout(self, name: str) -> Node:
        """`holdout("control")`: the arm that she was first exposed in, empty before."""
        return holdout_node(name, self._holdouts)


def _window(text: str) -> int:
    try:
        window = span(text)
    except ValueError as error:
        raise Refused(str(error)) from None
    if window <= 0:
        raise Refused(f"the window {text!r} is empty")
    return window


def _trait_value(env: Any, name: str, zero: Value) -> Value:
    trait = env.content.traits.get(name)
    return zero if trait is None else trait.value


def _double(value: Value) -> Value:
    """A whole number where the plan says double; what is no number stays what it is, and fails in the expression."""
    return float(value) if type(value) is int else value


def _instant(value: Value) -> Value:
    """The instant of a trait's text; 1970 where unset (TI9)."""
    return Timestamp(parse_timestamp(value) if value else 0) if type(value) is str else value


def _effort(env: Any, field: str) -> tuple[Value, int]:
    """How hard it has been for the customer, and when that is next less."""
    found = effort(env.content, env.plan.effort, env.at)
    return (found.score if field == "score" else found.parts[field]), found.flips_at


def running(env: Any, name: str) -> list[tuple[Journey, JourneyMap]]:
    """The journeys of a map that run at `env.at`, in the order of their keys."""
    journey_map = env.plan.maps[name]
    return [
        (journey, journey_map)
        for key, journey in sorted(env.content.journeys.items())
        if key[0] == name and journey.active(journey_map, env.at)
    ]


def runs_until(journeys: Mapping[tuple[str, str], Journey], journey_map: JourneyMap) -> int:
    """Until when a journey of a map runs if nothing more happens; 0 where none does. `Journey.active` spelt out."""
    name, abandons, until = journey_map.name, journey_map.abandons, 0
    for key, journey in journeys.items():
        if key[0] == name and not journey.outcome:
            until = max(until, journey.progress_at + abandons if abandons else NEVER)
    return until


def journey_state(env: Any, name: str, field: str) -> tuple[Value, int]:
    """Whether any running journey of a map is active or stalled, and when that may change."""
    content = env.content
    if not content.journeys:
        return False, NEVER
    found = running(env, name)
    if field == "active":
        return bool(found), max((j.abandons_at(m) for j, m in found), default=NEVER)
    stalled = [(j, m) for j, m in found if j.stalled(m, env.at)]
    if stalled:
        return True, max(j.abandons_at(m) for j, m in stalled)
    return False, min((j.flips_at(m, env.at) for j, m in found), default=NEVER)


def completed_at(env: Any, name: str) -> int:
    """When a journey of the map was last completed; 0 where none was."""
    return max((j.ended_at for j in env.content.ended if j.map == name and j.outcome == "completed"), default=0)


def _latest(env: Any, name: str, field: str) -> tuple[Value, int]:
    found = running(env, name)
    if not found:
        return ("" if field == "stage" else Timestamp(0)), NEVER
    journey = max((j for j, _ in found), key=lambda j: (j.progress_at, j.key))
    flip = min(j.abandons_at(m) for j, m in found)
    value = getattr(journey, field)
    return (value if field == "stage" else Timestamp(value * 1000)), flip


def _journeys(env: Any, name: str) -> tuple[Value, int]:
    found = running(env, name)
    flip = min((j.flips_at(m, env.at) for j, m in found), default=NEVER)
    return [
        {
            "key": j.key, "stage": j.stage, "active": True, "stalled": j.stalled(m, env.at),
            "started_at": Timestamp(j.started_at * 1000), "progress_at": Timestamp(j.progress_at * 1000),
        }
        for j, m in found
    ], flip  # fmt: skip


def _at_least(name: str, window: int, function: str, number: int) -> Node | None:
    """`count(...) >= n` flips only when the n-th newest leaves the window (TI5)."""
    wanted = function in ("_>=_", "_>_")
    needed = number + (function not in ("_>=_", "_<_"))
    if needed > MOST:
        raise Refused(f"a count is kept up to {MOST}; compare it with less, or count in a report")
    if function in ("_==_", "_!=_"):
        return None

    def moving(env: Any) -> tuple[Value, int]:
        if needed <= 0:
            return wanted, NEVER
        activity = env.content.activity.get(name, NONE)
        if len(activity.recent) >= needed:
            oldest = activity.recent[-needed]
            if oldest > env.at - window:
                return wanted, oldest + window
        return not wanted, NEVER

    return _pair(moving)


def _reference(env: Any, field: str) -> str:
    reference = env.fact.interaction
    return str(getattr(reference, field)) if reference is not None else ""


_EVENT: Final[dict[str, Callable[[Any], Value]]] = {
    "type": lambda env: env.fact.type,
    "channel": lambda env: env.fact.channel,
    "touchpoint": lambda env: env.fact.touchpoint,
    "occurred_at": lambda env: Timestamp(env.fact.occurred_at * 1000),
    "properties": lambda env: env.fact.properties,
    "interaction": lambda env: _reference(env, "id"),
    "direction": lambda env: _reference(env, "direction"),
    "outcome": lambda env: _reference(env, "outcome"),
}
_FUNCTIONS: Final[dict[str, Callable[..., Node]]] = {
    "seen": ContextBindings.seen,
    "count": ContextBindings.count,
    "last": ContextBindings.last,
    "known": ContextBindings.known,
    "consents_to": ContextBindings.consents_to,
    "subscribed": ContextBindings.subscribed,
    "in_audience": ContextBindings.in_audience,
    "journeys": ContextBindings.journeys,
    "incident": ContextBindings.incident,
    "calendar": ContextBindings.calendar,
    "choice": ContextBindings.choice,
    "claim": ContextBindings.claim,
    "holdout": ContextBindings.holdout,
}
FUNCTIONS: Final[dict[str, tuple[tuple[int, ...], str]]] = {
    "seen": ((1, 2), "bool"),
    "count": ((1, 2), "int"),
    "last": ((1,), "timestamp"),
    "known": ((1,), "bool"),
    "consents_to": ((1,), "bool"),
    "subscribed": ((2,), "bool"),
    "in_audience": ((1,), "bool"),
    "journeys": ((1,), "journeys"),
    "incident": ((1,), "incident"),
    "calendar": ((1,), "calendar"),
    "choice": ((1,), "string"),
    "claim": ((1,), "claim"),
    "holdout": ((1,), "string"),
}
"""By function: how many texts it takes, and the type of its value; the hub declares them so to the checker."""
