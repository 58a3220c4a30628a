"""The content of a context: all that is folded about one customer.

Owns the state that `fold` builds and copies. It is content only: version, plan and freshness are the envelope's
(semantics VE1). Containers are changed in place by the one who folds; what they hold is replaced, never changed, so
that `fork` is a copy of containers.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from .activity import Activity
from .expression.value import NEVER
from .fact import Fact, Order
from .identifier import Identifier
from .interaction import Interaction
from .journey import Journey, Tally
from .trait import Trait

ENDED_KEPT: Final = 16
"""Ended journeys kept."""
RECENT_KEPT: Final = 32
"""Decisions, actions and interactions kept."""


@dataclass(slots=True)
class Content:
    """What is known of one customer, as far as it was folded. Instants in microseconds.

    Attributes:
        at: how far time was advanced.
        through: order of the last fact, None before the first.
        facts: how many facts were folded.
        groups: which identifiers were held to be one, as of `at` (a consent binds them, ID4).
        consents: by purpose, then identifier: state and time.
        subscriptions: by `channel:topic`, then identifier.
        timeline: the newest facts, oldest first.
        activity: by channel and by event type.
        journeys: running, by (map, key).
        next_due: a lower bound of the next deadline of a running journey.
        caps: by guardrail, when its newest counted actions were completed.
        hidden: names of sections that a projection left out; empty in the hub.
    """

    at: int = 0
    through: Order | None = None
    facts: int = 0
    groups: dict[Identifier, int] = field(default_factory=dict)
    traits: dict[str, Trait] = field(default_factory=dict)
    consents: dict[str, dict[Identifier, tuple[str, int]]] = field(default_factory=dict)
    subscriptions: dict[str, dict[Identifier, tuple[str, int]]] = field(default_factory=dict)
    timeline: list[Fact] = field(default_factory=list)
    activity: dict[str, Activity] = field(default_factory=dict)
    interactions: dict[str, Interaction] = field(default_factory=dict)
    journeys: dict[tuple[str, str], Journey] = field(default_factory=dict)
    ended: list[Journey] = field(default_factory=list)
    tallies: dict[str, Tally] = field(default_factory=dict)
    decisions: list[Fact] = field(default_factory=list)
    actions: list[Fact] = field(default_factory=list)
    caps: dict[str, tuple[int, ...]] = field(default_factory=dict)
    next_due: int = NEVER
    hidden: frozenset[str] = frozenset()

    def fork(self) -> Content:
        """A copy that can be folded further without touching this one."""
        return Content(
            self.at, self.through, self.facts, dict(self.groups), dict(self.traits), dict(self.consents),
            dict(self.subscriptions), list(self.timeline), dict(self.activity), dict(self.interactions),
            dict(self.journeys), list(self.ended), dict(self.tallies), list(self.decisions), list(self.actions),
            dict(self.caps), self.next_due, self.hidden,
        )  # fmt: skip

    def sorts_last(self, order: Order) -> bool:
        """Whether a fact of this order comes after all that was folded and all time that passed: the fast path."""
        return order[0] >= self.at and (self.through is None or order > self.through)
