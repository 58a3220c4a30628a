"""The content of a context: all that is folded about one customer.

Owns the state that `fold` builds and copies. It is content only: version, plan and freshness are the envelope's
(semantics VE1). Containers are changed in place by the one who folds, and activities that are its own; what else they
hold is replaced, never changed, so that `fork` is a copy of containers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from .activity import Activity
from .claim import Claim
from .consent import Bound
from .expression.value import NEVER
from .fact import Fact, Order
from .holding import Holding, Pair, Retracted
from .identifier import Identifier
from .interaction import Interaction
from .journey import Journey, Tally
from .reservation import Reservation
from .trait import Trait

ENDED_KEPT: Final = 16
"""Ended journeys kept."""
RECENT_KEPT: Final = 32
"""Decisions, actions and interactions kept."""


class _Nothing(dict[Any, Any]):
    """A table without entries that all share; hashable, so that it may be a default."""

    __hash__ = object.__hash__  # type: ignore[assignment]  # a dict has none

    def __setitem__(self, name: Any, value: Any) -> None:
        raise TypeError("replace the table, do not change it")


class _NoList(list[Any]):
    """The same of a list."""

    def append(self, item: Any) -> None:
        raise TypeError("replace the list, do not change it")


NOTHING: Final = _Nothing()
NONE_YET: Final = _NoList()


@dataclass(slots=True)
class Content:
    """What is known of one customer, as far as it was folded. Instants in microseconds.

    Attributes:
        at: how far time was advanced.
        through: order of the last fact, None before the first.
        facts: how many facts were folded.
        groups: which identifiers were held to be one, as of `at` (a consent binds them, ID4).
        traits: by name. These three are replaced, not changed, so that those who have none share one empty table.
        consents: by purpose, then identifier: state and time.
        subscriptions: by `channel:topic`, then identifier.
        timeline: the newest facts, oldest first.
        activity: by channel and by event type.
        journeys: running, by (map, key).
        ended: journeys that ended, the last of them last.
        tallies: by map, what became of those that ended. This is replaced, not changed.
        next_due: a lower bound of the next deadline of a running journey.
        caps: by slot (a guardrail, or one and what it counts by), when its newest counted actions were completed.
        reservations: by id, places under caps that are or were held. This and what follows is replaced, not changed.
        confirmed: ids of reservations whose action was told before their grant, with the action's instant.
        claims: by scope, who the customer is with.
        exposures: by holdout, arm and time of the first exposure.
        choices: by name, what the customer chose, when, and at which touchpoint.
        hidden: names of sections that a projection left out; empty in the hub.
        apart: identifiers that the customer's facts name and that are not the customer's: their links do not hold.
        retracted: links that were taken back. This and what follows is of the hub and its store only.
        begins: when identifiers begin anew that have not done so yet, as of the last fact that linked any; rising.
        owner: marks the activities that no other content shares.
    """

    at: int = 0
    through: Order | None = None
    facts: int = 0
    groups: dict[Identifier, int] = field(default_factory=dict)
    traits: Mapping[str, Trait] = NOTHING
    consents: Mapping[str, Bound] = NOTHING
    subscriptions: Mapping[str, Bound] = NOTHING
    timeline: list[Fact] = field(default_factory=list)
    activity: dict[str, Activity] = field(default_factory=dict)
    interactions: dict[str, Interaction] = field(default_factory=dict)
    journeys: dict[tuple[str, str], Journey] = field(default_factory=dict)
    ended: list[Journey] = field(default_factory=list)
    tallies: Mapping[str, Tally] = NOTHING
    decisions: list[Fact] = field(default_factory=list)
    actions: list[Fact] = field(default_factory=list)
    caps: dict[str, tuple[int, ...]] = field(default_factory=dict)
    reservations: Mapping[bytes, Reservation] = NOTHING
    confirmed: tuple[tuple[bytes, int], ...] = ()
    claims: Mapping[str, Claim] = NOTHING
    exposures: Mapping[str, tuple[str, int]] = NOTHING
    choices: Mapping[str, tuple[str, int, str]] = NOTHING
    next_due: int = NEVER
    hidden: frozenset[str] = frozenset()
    apart: frozenset[Identifier] = frozenset()
    retracted: Mapping[Pair, Retracted] = NOTHING
    begins: tuple[tuple[int, Identifier], ...] = ()
    owner: object = field(default_factory=object, compare=False, repr=False)

    def fork(self) -> Content:
        """A copy that can be folded further without touching this one."""
        self.owner = object()  # what was its own is shared from here on
        return Content(
            self.at, self.through, self.facts, dict(self.groups), self.traits, self.consents, self.subscriptions,
            list(self.timeline), dict(self.activity), dict(self.interactions),
            dict(self.journeys), list(self.ended), self.tallies, list(self.decisions), list(self.actions),
            dict(self.caps), self.reservations, self.confirmed, self.claims, self.exposures, self.choices,
            self.next_due, self.hidden, self.apart, self.retracted, self.begins,
        )  # fmt: skip

    def hold(self, holding: Holding) -> None:
        """What of the names in its facts holds; before the first fact."""
        self.apart, self.begins = holding.apart, holding.begins
        self.retracted = holding.retracted or NOTHING

    def seal(self) -> None:
        """Nobody folds this one any more, but forks of it: what is empty needs no room of its own."""
        self.groups, self.activity = self.groups or NOTHING, self.activity or NOTHING
        self.interactions, self.journeys = self.interactions or NOTHING, self.journeys or NOTHING
        self.caps, self.timeline, self.ended = self.caps or NOTHING, self.timeline or NONE_YET, self.ended or NONE_YET
        self.tallies, self.traits = self.tallies or NOTHING, self.traits or NOTHING
        self.consents, self.subscriptions = self.consents or NOTHING, self.subscriptions or NOTHING
        self.claims, self.choices = self.claims or NOTHING, self.choices or NOTHING
        self.decisions, self.actions = self.decisions or NONE_YET, self.actions or NONE_YET

    def sorts_last(self, order: Order) -> bool:
        """Whether a fact of this order comes after all that was folded and all time that passed: the fast path."""
        return order[0] >= self.at and (self.through is None or order > self.through)
