"""What `incident("IOS-481").open` and `calendar("support").open` mean in expressions, and when they flip.

Owns the parts of both and their types, which the hub declares to the checker. An incident is not known to the plan: it
comes live, and one that nobody has told of is not open. A calendar is part of the plan.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

from .expression.node import Node, Refused
from .expression.value import NEVER, Timestamp, Value
from .incident import MAX_ID, UNHEARD, IncidentState
from .vocabulary import did_you_mean

if TYPE_CHECKING:
    from .scope import Scope

INCIDENT_FIELDS: Final = {
    "open": "bool", "opened_at": "timestamp", "fixed_at": "timestamp", "title": "string", "workaround": "string",
}  # fmt: skip
CALENDAR_FIELDS: Final = {"open": "bool"}

# Environments are typed by their smallest protocol; here they are always scopes.
_At = Callable[[Any], tuple[Value, int]]


def _pair(function: _At) -> Node:
    return Node(lambda env: function(env)[0], function)


def incident_node(id_: str) -> Node:
    """`incident("IOS-481")`.

    Raises:
        Refused: the id cannot be one.
    """
    if not id_.strip() or len(id_) > MAX_ID:
        raise Refused(f"{id_!r} names no incident")

    def state(env: Scope) -> tuple[IncidentState, int]:
        incident = env.plan.workspace.incidents.get(id_)
        if incident is None:
            return UNHEARD, NEVER
        return incident.at(env.at), incident.next(env.at)

    def whole(env: Scope) -> tuple[Value, int]:
        found, flip = state(env)
        return {name: _told(value) for name, value in asdict(found).items() if name in INCIDENT_FIELDS}, flip

    def is_open(env: Scope) -> tuple[Value, int]:
        incident = env.plan.workspace.incidents.get(id_)
        return (False, NEVER) if incident is None else incident.open_until(env.at)

    def part(name: str) -> Node:
        if name == "open":
            return _pair(is_open)
        _known(name, INCIDENT_FIELDS, "an incident")

        def moving(env: Scope) -> tuple[Value, int]:
            found, flip = state(env)
            return _told(getattr(found, name)), flip

        return _pair(moving)

    node = _pair(whole)
    node.part = part
    return node


def _told(value: Any) -> Value:
    """An instant as the language has it; 1970 where it never was (TI9)."""
    return Timestamp(value * 1000) if type(value) is int else value


def calendar_node(name: str, calendars: tuple[str, ...]) -> Node:
    """`calendar("support")`.

    Raises:
        Refused: the plan has no such calendar.
    """
    if name not in calendars:
        raise Refused(f"no calendar is called {name!r}. {did_you_mean(name, calendars)}")

    def is_open(env: Scope) -> tuple[Value, int]:
        return env.plan.calendars[name].open_until(env.at)

    def whole(env: Scope) -> tuple[Value, int]:
        value, flip = is_open(env)
        return {"open": value}, flip

    def part(field: str) -> Node:
        _known(field, CALENDAR_FIELDS, "a calendar")
        return _pair(is_open)

    node = _pair(whole)
    node.part = part
    return node


def _known(name: str, fields: Mapping[str, str], what: str) -> None:
    if name not in fields:
        raise Refused(f"{what} has no {name!r}. {did_you_mean(name, fields)}")
