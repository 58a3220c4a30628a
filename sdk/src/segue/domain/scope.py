"""What an expression is asked about: a content at a moment, with a fact or an action.

Owns the environment of evaluation. Holds references only; evaluation changes nothing in it but the variables of
comprehensions.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .content import Content
    from .fact import Fact
    from .plan import Plan


class Scope:
    """One question's surroundings.

    Attributes:
        content: the customer, as folded; read only.
        at: the moment asked about, in microseconds, at or after the content's last fact.
        plan: whose maps and audiences the question means.
        fact: the event being recognised, in maps.
        action: kind, channel, topic, purpose, in guardrails.
    """

    __slots__ = ("action", "at", "content", "fact", "flips", "locals", "plan")

    def __init__(
        self,
        content: Content,
        at: int,
        plan: Plan,
        *,
        fact: Fact | None = None,
        action: Mapping[str, Any] | None = None,
    ) -> None:
        self.content = content
        self.at = at
        self.plan = plan
        self.fact = fact
        self.action = action
        self.locals: dict[str, Any] = {}
        self.flips: dict[str, int] = {}
