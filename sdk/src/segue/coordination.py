"""Coordination from a session: claims on the customer, handing her over, and what she chose herself.

Owns the words of a session for these, and the renewal of its claims while it is open. Everything is a fact: told at
once, shown here at once, durable, and never an exception for the host.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from .domain import claim as words
from .domain.choice import NO
from .domain.claim import Claim
from .domain.context import Context
from .domain.fact import CHOICE, CLAIM
from .domain.instant import span, to_datetime
from .outbox import MUST
from .runtime import Runtime

CONVERSATION: Final = "conversation"
"""The scope of a claim that names none."""


class Coordination:
    """What a session can say beyond facts of its own; see `Session`."""

    _claims: dict[str, int]
    _renewed: dict[str, int]

    if TYPE_CHECKING:  # what the session that this is part of has

        @property
        def _runtime(self) -> Runtime: ...

        def context(self) -> Context: ...

        def _tell(
            self, kind: str, type_: str, properties: Mapping[str, Any], occurred_at: datetime | None, lane: int
        ) -> bool: ...

    # -- claims --------------------------------------------------------------------------------------------------------

    def claim(self, scope: str = CONVERSATION, lasting: str = "2m") -> None:
        """Tells that the customer is with this touchpoint now; renewed while the session is open.

        Args:
            scope: what of her is claimed.
            lasting: how long the claim outlives this process, should it die.
        """
        self._claims[scope] = span(lasting)
        self._say(scope, words.HELD, self._claims[scope])

    def offer(self, to: str, scope: str = CONVERSATION, note: str = "", lasting: str = "2m") -> None:
        """Offers the customer to another touchpoint; she stays here until it accepts.

        Args:
            to: the touchpoint.
            scope: of the claim.
            note: what the next one should know that no fact tells.
            lasting: how long the offer stands.
        """
        self._say(scope, words.OFFERED, span(lasting), to=to, note=note)

    def accept(self, scope: str = CONVERSATION, lasting: str = "2m") -> None:
        """Takes over a customer who was offered to this touchpoint."""
        self._claims[scope] = span(lasting)
        self._say(scope, words.ACCEPTED, self._claims[scope])

    def decline(self, scope: str = CONVERSATION, note: str = "") -> None:
        """Declines a customer who was offered; she stays where she is."""
        self._say(scope, words.DECLINED, 0, note=note)

    def let_go(self, scope: str = CONVERSATION) -> None:
        """Gives a claim up."""
        if self._claims.pop(scope, None) is not None:
            self._say(scope, words.RELEASED, 0)

    def claimed(self, scope: str = CONVERSATION) -> Claim | None:
        """The claim on the customer that stands now, whoever holds it; None where none is seen."""
        context = self.context()
        found = context.content.claims.get(scope)
        return found if found is not None and found.stands(context.at) else None

    def renew(self, at: int) -> None:
        """Renews what this session holds, half way through; called by the SDK's own thread."""
        for scope, lasting in list(self._claims.items()):
            if at - self._renewed.get(scope, 0) >= lasting // 2:
                held = self.claimed(scope)
                if held is not None and held.holder != self._runtime.config.touchpoint:
                    self._claims.pop(scope, None)  # she has gone over to the one that she was offered to
                else:
                    self._say(scope, words.HELD, lasting)

    def _say(self, scope: str, status: str, lasting: int, *, to: str = "", note: str = "") -> None:
        runtime = self._runtime
        if status in (words.HELD, words.ACCEPTED):
            self._renewed[scope] = runtime.clock()
            runtime.claimants.add(self)
        at = self._after_what_is_seen()
        told = {"status": status, "until": at + lasting if lasting else 0, "to": to, "note": note}
        self._tell(CLAIM, scope, {name: value for name, value in told.items() if value}, to_datetime(at), MUST)

    def _after_what_is_seen(self) -> int:
        """Now, and later than all that is seen here: what answers an offer never sorts before it."""
        return max(self._runtime.now(), self.context().content.at + 1)

    def _let_go_of_all(self) -> None:
        for scope in list(self._claims):
            self.let_go(scope)

    # -- the customer's own will ---------------------------------------------------------------------------------------

    def choose(self, about: str, choice: str) -> None:
        """Tells what the customer chose; every touchpoint honours it at once, above rules and scorers.

        Args:
            about: `channel:email`, `topic:offers`, `purpose:marketing`, `journey:money_transfer`, or `channel` for the
                one she prefers.
            choice: `no`, `left`, or the preferred channel; an empty text takes an earlier choice back.
        """
        self._tell(CHOICE, about, {"choice": choice}, to_datetime(self._after_what_is_seen()), MUST)

    def opt_out(self, about: str) -> None:
        """She does not want it: `opt_out("topic:offers")`."""
        self.choose(about, NO)
