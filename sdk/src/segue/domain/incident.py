"""Incidents: something broken, with a workaround, until it is fixed (FA5).

Owns what became of one incident: a function of the set of facts about it, whatever their order of arrival. Everything
is as of a moment: what is known to come (a maintenance on Sunday) is a flip, not yet so.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from ..errors import FactError
from .expression.value import NEVER
from .fact import INCIDENT, Fact, properties_bytes

OPENED: Final = "opened"
FIXED: Final = "fixed"
MAX_ID: Final = 128
MAX_TITLE: Final = 512
MAX_WORKAROUND: Final = 2000


@dataclass(frozen=True, slots=True)
class IncidentState:
    """How an incident is from an instant on, until its next state begins. Instants in microseconds, 0 where never.

    Attributes:
        since: when this began.
        open: whether it is open.
        opened_at: when the time that it is open now, or was last, began.
        fixed_at: when it was last fixed.
        title, workaround: for people; as last told.
    """

    since: int
    open: bool = False
    opened_at: int = 0
    fixed_at: int = 0
    title: str = ""
    workaround: str = ""

    @property
    def parts(self) -> list[int | bool | str]:
        """The plain form, in the order of the attributes."""
        return [self.since, self.open, self.opened_at, self.fixed_at, self.title, self.workaround]


UNHEARD: Final = IncidentState(0)
"""How an incident is that nobody has told of."""


@dataclass(frozen=True, slots=True)
class Incident:
    """One incident through time.

    Attributes:
        id: for example `IOS-481`.
        states: one after the other, each begins later than the one before.
        turns: the instants at which it opens, is fixed, opens ...
    """

    id: str
    states: Sequence[IncidentState]
    turns: Sequence[int] = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        turns: list[int] = []
        for state in self.states:
            if state.open is (len(turns) % 2 == 0):
                turns.append(state.since)
        object.__setattr__(self, "turns", tuple(turns))

    def at(self, at: int) -> IncidentState:
        """How it is at a moment."""
        number = bisect_right(self.states, at, key=_since)
        return self.states[number - 1] if number else UNHEARD

    def next(self, at: int) -> int:
        """When its next state that is known to come begins; NEVER where none is."""
        number = bisect_right(self.states, at, key=_since)
        return self.states[number].since if number < len(self.states) else NEVER

    def open_until(self, at: int) -> tuple[bool, int]:
        """Whether it is open at a moment, and the first later instant at which that differs, as far as is known."""
        turns = self.turns
        number = bisect_right(turns, at)
        return number % 2 == 1, turns[number] if number < len(turns) else NEVER


def _since(state: IncidentState) -> int:
    return state.since


def incident_of(id_: str, facts: Iterable[Fact]) -> Incident:
    """The incident that a set of facts tells of; a fact given twice counts once.

    Of several at one instant, the last in the order (occurred_at, seq, id) holds. Told again without a title or
    workaround, an incident keeps those it had.
    """
    states: list[IncidentState] = []
    state = UNHEARD
    for fact in sorted({fact.id: fact for fact in facts}.values(), key=lambda fact: fact.order):
        state = _after(state, fact)
        if states and states[-1].since == state.since:
            states.pop()
        if not states or replace(states[-1], since=state.since) != state:
            states.append(state)
    return Incident(id_, tuple(states))


def _after(state: IncidentState, fact: Fact) -> IncidentState:
    told, at = fact.properties, fact.occurred_at
    is_open = told["state"] == OPENED
    return IncidentState(
        at,
        is_open,
        at if is_open and not state.open else state.opened_at,
        at if not is_open and (state.open or not state.fixed_at) else state.fixed_at,
        told.get("title") or state.title,
        told.get("workaround") or state.workaround,
    )


def incident_fact(
    id_: bytes, incident: str, state: str, at: int, seq: int, *, title: str = "", workaround: str = "",
    touchpoint: str = "",
) -> Fact:  # fmt: skip
    """The fact that an incident was opened or fixed. It names no identifiers: it belongs to no customer."""
    told = {"state": state, "title": title, "workaround": workaround}
    return Fact(id_, INCIDENT, incident, at, seq, (), "", touchpoint, None, properties_bytes(told))


def check_incident(fact: Fact) -> None:
    """Checks a fact about an incident, as far as that depends on nothing else.

    Raises:
        FactError: names the field and the cure.
    """
    if len(fact.id) != 16:
        raise FactError(f"{len(fact.id)} bytes", field="id", cure="Give 16 bytes, e.g. a UUIDv7")
    if not isinstance(fact.type, str) or not fact.type.strip() or not fact.type.isprintable():
        raise FactError(f"{fact.type!r} names no incident", field="type", cure="Give its id, e.g. IOS-481")
    if fact.identifiers:
        raise FactError("an incident belongs to no customer", field="identifiers", cure="Leave them out")
    if not 0 < fact.occurred_at < 1 << 62:
        raise FactError(f"{fact.occurred_at} is no instant", field="occurred_at", cure="Microseconds since 1970")
    told = fact.properties
    if not isinstance(told, dict):
        raise FactError("no JSON object", field="incident", cure="Send state, title and workaround")
    if told.get("state") not in (OPENED, FIXED):
        raise FactError(f"{told.get('state')!r} is not known", field="incident.state", cure=f"One of {OPENED}, {FIXED}")
    for name, text, most in (
        ("type", fact.type, MAX_ID),
        ("incident.title", told.get("title", ""), MAX_TITLE),
        ("incident.workaround", told.get("workaround", ""), MAX_WORKAROUND),
    ):
        if not isinstance(text, str):
            raise FactError(f"is of type {type(text).__name__}", field=name, cure="Give a text")
        if len(text) > most:
            raise FactError(f"{len(text)} characters", field=name, cure=f"At most {most}")
