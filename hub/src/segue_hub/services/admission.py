"""Admission of facts: everything that can be said about one without the store.

Owns the checks at the edge, each with a stable code: shape, grant, vocabulary, clock. An alias becomes the canonical
event type here, unknown names are counted with the nearest known one, and values are held against declared types.
Names repeat, so what was found of a name is remembered; what is new in every fact is checked in every fact.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from segue.domain.fact import EVENT, STATEMENTS, TRAIT, Fact, check, check_event, check_statement
from segue.domain.grant import Grant
from segue.domain.identifier import Identifier
from segue.domain.instant import SECOND, instant_text
from segue.domain.plan import Plan
from segue.domain.property import check_properties, check_trait
from segue.domain.vocabulary import EventName, Vocabulary, nearest
from segue.errors import FactError

from .blocked_values import BlockedValues

SKEW: Final = 5 * SECOND
AHEAD: Final = 300 * SECOND
"""How far in the future a fact may claim to be."""
_NAMES_COUNTED: Final = 1000
_TYPES_KNOWN: Final = 4096
IDENTIFIERS_KNOWN: Final = 200_000
"""Identifiers whose normal form is remembered at most."""


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a fact: ACCEPTED, DUPLICATE or REJECTED with code, reason (it may quote the fact) and field."""

    status: str
    code: str = ""
    reason: str = ""
    field: str = ""


ACCEPTED: Final = Result("ACCEPTED")
DUPLICATE: Final = Result("DUPLICATE")


def rejected(code: str, reason: str, field: str = "") -> Result:
    """A fact that is not taken, and never will be as it is; `reason` says why in full."""
    return Result("REJECTED", code, reason, field)


def misfit(error: FactError) -> Result:
    """The refusal of a fact that cannot be one."""
    return rejected(error.code, str(error), error.field)


@dataclass(slots=True)
class UnknownNames:
    """Names of one sort that the vocabulary does not know: how often, and the nearest known one."""

    counts: Counter[str] = field(default_factory=Counter)
    nearest: dict[str, str] = field(default_factory=dict)

    def count(self, name: str, known: Iterable[str]) -> str:
        """Counts one; returns the nearest known name."""
        if name in self.counts or len(self.counts) < _NAMES_COUNTED:
            self.counts[name] += 1
            if name not in self.nearest:
                self.nearest[name] = nearest(name, known)
        return self.nearest.get(name, "")


@dataclass(frozen=True, slots=True)
class _Passage:
    """An event type that a touchpoint may send on a channel: the canonical one, and what is declared of it."""

    type: str
    declared: EventName | None


class Admission:
    """The edge. Keeps the counts of unknown names since the hub started.

    What it remembers of names holds for one plan: which event types a touchpoint may send, by touchpoint, and then by
    type and channel as they come; and by identifier as it comes, the normal form in a tuple. That tuple is the same for
    all facts of a customer, which keeps names once in memory.
    """

    def __init__(self) -> None:
        self.unknown = UnknownNames()
        self.unknown_traits = UnknownNames()
        self.blocked = BlockedValues()
        self._plan: Plan | None = None
        self._grant: Grant | None = None
        self._passages: dict[tuple[str, bool], dict[tuple[str, str], _Passage]] = {}
        self._current: dict[tuple[str, str], _Passage] = {}
        self._normal: dict[Identifier, tuple[Identifier, ...]] = {}

    def _turn_to(self, grant: Grant, plan: Plan) -> None:
        if plan is not self._plan:
            self._passages.clear()
            self._normal.clear()
        self._plan, self._grant = plan, grant
        self._current = self._passages.setdefault((grant.touchpoint, grant.everything), {})

    def admit(self, fact: Fact, grant: Grant, plan: Plan, now: int, sent_at: int) -> Result | None:
        """Checks a fact and brings it to its canonical form; None where it may go on.

        Args:
            fact: changed in place: canonical type, normalised identifiers, touchpoint, channel, corrected time.
            grant: of the touchpoint that sent it.
            plan: in force.
            now: the hub's clock, microseconds.
            sent_at: the producer's clock when it sent this; 0 where it keeps none.
        """
        if grant is not self._grant or plan is not self._plan:
            self._turn_to(grant, plan)
        fact.touchpoint = grant.touchpoint
        if not fact.channel:
            fact.channel = grant.channel
        if fact.kind == EVENT and len(fact.identifiers) == 1:
            passage = self._current.get((fact.type, fact.channel))
            names = self._normal.get(fact.identifiers[0])
            if passage is not None and names is not None:
                try:
                    properties = check_event(fact)
                    if passage.declared is not None:
                        check_properties(passage.type, properties, passage.declared)
                except FactError as error:
                    return misfit(error)
                fact.type, fact.identifiers = passage.type, names
                return _timed(fact, now, sent_at) if sent_at or fact.occurred_at > now else None
        return self._admit(fact, grant, plan) or _timed(fact, now, sent_at)

    def _admit(self, fact: Fact, grant: Grant, plan: Plan) -> Result | None:
        """Checks all but the clock, and remembers the names that passed."""
        said = fact.type
        named = fact.identifiers
        try:
            check(fact)
            fact.identifiers = self._linking(fact, plan)
            if fact.kind in STATEMENTS:
                check_statement(fact)  # in their normal form, and without blocked values, they may not be two any more
        except FactError as error:
            return misfit(error)
        vocabulary = plan.vocabulary
        if fact.kind == EVENT:
            fact.type = vocabulary.canonical(fact.type, grant.touchpoint, fact.channel)
        unknown = self._unknown(fact, vocabulary)
        if unknown is not None:
            return unknown
        if not grant.may_write(fact.kind, fact.type):
            return rejected(
                "NOT_GRANTED",
                f"type: touchpoint {grant.touchpoint!r} may not write {fact.kind} {fact.type!r}."
                " Add it under `writes` in touchpoints.yaml",
                "type",
            )
        try:
            _check_values(fact, vocabulary)
        except FactError as error:
            return misfit(error)
        if fact.kind == EVENT:
            self._remember(fact, said, named, vocabulary)
        return None

    def _remember(self, fact: Fact, said: str, named: tuple[Identifier, ...], vocabulary: Vocabulary) -> None:
        # An unknown name is counted every time.
        if vocabulary.knows_event(fact.type) and len(self._current) < _TYPES_KNOWN:
            event = vocabulary.events.get(fact.type)
            declared = event if event is not None and event.properties else None
            self._current[said, fact.channel] = _Passage(fact.type, declared)
        if len(named) == 1:
            if len(self._normal) >= IDENTIFIERS_KNOWN:
                self._normal.clear()
            self._normal[named[0]] = fact.identifiers

    def _unknown(self, fact: Fact, vocabulary: Vocabulary) -> Result | None:
        """Counts a name that the vocabulary does not know; a refusal where it says so."""
        if fact.kind == EVENT:
            if vocabulary.knows_event(fact.type):
                return None
            sort, near = EVENT, self.unknown.count(fact.type, vocabulary.events)
        elif fact.kind == TRAIT:
            if vocabulary.knows_trait(fact.type):
                return None
            sort, near = TRAIT, self.unknown_traits.count(fact.type, vocabulary.traits)
        else:
            return None
        if vocabulary.unknown_events != "reject":
            return None
        hint = f" Did you mean {near!r}?" if near else ""
        return rejected(f"{sort.upper()}_UNKNOWN", f"type: no {sort} is called {fact.type!r}.{hint}", "type")

    def _linking(self, fact: Fact, plan: Plan) -> tuple[Identifier, ...]:
        """Whom a fact names, in normal form: what is blocked, or has nothing left in that form, stands for nobody."""
        kinds = plan.kinds
        linking, blocked = dict[Identifier, None](), list[Identifier]()
        for identifier in fact.identifiers:
            name = kinds.normal(identifier)
            if kinds.is_blocked(identifier) or kinds.is_blocked(name):
                blocked.append(identifier if kinds.is_blocked(identifier) else name)
            else:
                linking[name] = None
        for name in blocked:
            self.blocked.note(fact.touchpoint, name, linking=bool(linking))
        if not linking:
            names = ", ".join(str(identifier) for identifier in fact.identifiers)
            raise FactError(
                f"{names} stands for nobody", field="identifiers", cure="Name a real identifier", code="BLOCKED_VALUE"
            )
        return tuple(linking)


def _timed(fact: Fact, now: int, sent_at: int) -> Result | None:
    """Takes out the skew of a foreign clock; a refusal where the fact would lie in the future."""
    if sent_at and abs(now - sent_at) > SKEW:
        fact.occurred_at += now - sent_at
        if not 0 < fact.occurred_at < 1 << 62:
            return rejected("FACT_INVALID", "sent_at: is no instant. Microseconds since 1970, or 0", "sent_at")
    if fact.occurred_at > now + AHEAD:
        return rejected(
            "TOO_FAR_AHEAD",
            f"occurred_at: {instant_text(fact.occurred_at)} is in the future. Set the producer's clock",
            "occurred_at",
        )
    return None


def _check_values(fact: Fact, vocabulary: Vocabulary) -> None:
    """Holds values against the types that the vocabulary declares; what it does not declare is free."""
    if fact.kind == EVENT:
        event = vocabulary.events.get(fact.type)
        if event is not None and event.properties:
            check_properties(fact.type, fact.properties, event)
    elif fact.kind == TRAIT:
        trait = vocabulary.traits.get(fact.type)
        if trait is not None:
            check_trait(fact.type, fact.properties["value"], trait)
