"""Claims and effort as a decision function reads them, at the context's moment.

Owns what `context.claim("conversation")` and `context.effort` answer, in the words of the plan's expressions. What was
asked is remembered in the context.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from .coordination_binding import claim_at
from .effort import Effort, effort
from .instant import to_datetime

if TYPE_CHECKING:
    from .context import Context


class ClaimReading:
    """Who a customer is with, for one scope. Where nobody holds it texts are empty and instants None.

    Attributes:
        scope: for example `conversation`.
    """

    __slots__ = ("_context", "_found", "scope")

    def __init__(self, context: Context, scope: str) -> None:
        self._context = context
        self._found, _ = claim_at(context.content, scope, context.at)
        self.scope = scope

    def _asked(self, part: str, value: Any) -> Any:
        self._context.asked.append((f"claim({{!r}}).{part}", self.scope, None, value))
        return value

    def _instant(self, part: str) -> datetime | None:
        at: datetime | None = self._asked(part, to_datetime(self._found[part]) if self._found[part] else None)
        return at

    @property
    def holder(self) -> str:
        """The touchpoint that she is with."""
        return str(self._asked("holder", self._found["holder"]))

    @property
    def offered_to(self) -> str:
        """The touchpoint that she is offered to, and that may still accept."""
        return str(self._asked("offered_to", self._found["offered_to"]))

    @property
    def since(self) -> datetime | None:
        """Since when she is with the holder."""
        return self._instant("since")

    @property
    def until(self) -> datetime | None:
        """When the claim runs out unless it is renewed."""
        return self._instant("until")


class EffortReading:
    """How hard it has been for the customer of late: the score, and the counts that it weighs."""

    __slots__ = ("_context", "_found")

    def __init__(self, context: Context) -> None:
        self._context = context
        self._found: Effort = effort(context.content, context.plan.effort, context.at)

    def _part(self, name: str) -> int:
        value = self._found.score if name == "score" else self._found.parts[name]
        self._context.asked.append((f"effort.{name}", None, None, value))
        return value

    @property
    def score(self) -> int:
        """Counts times the plan's weights, summed."""
        return self._part("score")

    @property
    def interactions(self) -> int:
        """Calls, chats, visits and mails of hers."""
        return self._part("interactions")

    @property
    def repeats(self) -> int:
        """How often she came back on the same channel."""
        return self._part("repeats")

    @property
    def switches(self) -> int:
        """How often she changed the channel."""
        return self._part("switches")

    @property
    def transfers(self) -> int:
        """How often she was transferred."""
        return self._part("transfers")

    @property
    def abandoned(self) -> int:
        """How often she gave up."""
        return self._part("abandoned")

    @property
    def loops(self) -> int:
        """How often she came back to a channel that she had left for another."""
        return self._part("loops")

    @property
    def failed_self_service(self) -> int:
        """How often she tried herself first, and then needed somebody."""
        return self._part("failed_self_service")

    @property
    def queue_minutes(self) -> int:
        """Minutes that she waited, each begun one counted."""
        return self._part("queue_minutes")
