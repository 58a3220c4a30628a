"""Admission of facts: everything that can be said about one without the store.

Owns the checks at the edge, each with a stable code: shape, grant, vocabulary, clock. An alias becomes the canonical
event type here, and unknown names are counted with the nearest known one.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Final

from segue.domain.fact import EVENT, Fact, check
from segue.domain.grant import Grant
from segue.domain.identifier import Identifier
from segue.domain.instant import SECOND, instant_text
from segue.domain.plan import Plan
from segue.domain.vocabulary import nearest
from segue.errors import FactError

SKEW: Final = 5 * SECOND
AHEAD: Final = 300 * SECOND
"""How far in the future a fact may claim to be."""
_NAMES_COUNTED: Final = 1000


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a fact: ACCEPTED, DUPLICATE or REJECTED with code and reason."""

    status: str
    code: str = ""
    reason: str = ""


ACCEPTED: Final = Result("ACCEPTED")
DUPLICATE: Final = Result("DUPLICATE")


def rejected(code: str, reason: str) -> Result:
    """A fact that is not taken, and never will be as it is."""
    return Result("REJECTED", code, reason)


@dataclass(slots=True)
class UnknownNames:
    """Event types that the vocabulary does not know: how often, and the nearest known name."""

    counts: Counter[str] = field(default_factory=Counter)
    nearest: dict[str, str] = field(default_factory=dict)

    def count(self, name: str, plan: Plan) -> str:
        """Counts one; returns the nearest known name."""
        if name in self.counts or len(self.counts) < _NAMES_COUNTED:
            self.counts[name] += 1
            if name not in self.nearest:
                self.nearest[name] = nearest(name, plan.vocabulary.events)
        return self.nearest.get(name, "")


class Admission:
    """The edge. Keeps the counts of unknown names since the hub started."""

    def __init__(self) -> None:
        self.unknown = UnknownNames()

    def admit(self, fact: Fact, grant: Grant, plan: Plan, now: int, sent_at: int) -> Result | None:
        """Checks a fact and brings it to its canonical form; None where it may go on.

        Args:
            fact: changed in place: canonical type, normalised identifiers, touchpoint, channel, corrected time.
            grant: of the touchpoint that sent it.
            plan: in force.
            now: the hub's clock, microseconds.
            sent_at: the producer's clock when it sent this; 0 where it keeps none.
        """
        fact.touchpoint = grant.touchpoint
        if not fact.channel:
            fact.channel = grant.channel
        try:
            check(fact)
            if len(fact.identifiers) == 1 and not plan.kinds.is_blocked(fact.identifiers[0]):
                fact.identifiers = (plan.kinds.normal(fact.identifiers[0]),)
            else:
                fact.identifiers = self._linking(fact, plan)
        except FactError as error:
            return rejected(error.code, str(error))
        vocabulary = plan.vocabulary
        if fact.kind == EVENT:
            fact.type = vocabulary.canonical(fact.type, grant.touchpoint, fact.channel)
            if not vocabulary.knows_event(fact.type):
                near = self.unknown.count(fact.type, plan)
                if vocabulary.unknown_events == "reject":
                    hint = f" Did you mean {near!r}?" if near else ""
                    return rejected("EVENT_UNKNOWN", f"type: no event is called {fact.type!r}.{hint}")
        if not grant.may_write(fact.kind, fact.type):
            return rejected(
                "NOT_GRANTED",
                f"type: touchpoint {grant.touchpoint!r} may not write {fact.kind} {fact.type!r}."
                " Add it under `writes` in touchpoints.yaml",
            )
        if sent_at and abs(now - sent_at) > SKEW:
            fact.occurred_at += now - sent_at
            if not 0 < fact.occurred_at < 1 << 62:
                return rejected("FACT_INVALID", "sent_at: is no instant. Microseconds since 1970, or 0")
        if fact.occurred_at > now + AHEAD:
            return rejected(
                "TOO_FAR_AHEAD",
                f"occurred_at: {instant_text(fact.occurred_at)} is in the future. Set the producer's clock",
            )
        return None

    def _linking(self, fact: Fact, plan: Plan) -> tuple[Identifier, ...]:
        kinds = plan.kinds
        linking = dict.fromkeys(kinds.normal(i) for i in fact.identifiers if not kinds.is_blocked(i))
        if not linking:
            names = ", ".join(str(identifier) for identifier in fact.identifiers)
            raise FactError(
                f"{names} stands for nobody", field="identifiers", cure="Name a real identifier", code="BLOCKED_VALUE"
            )
        return tuple(linking)
