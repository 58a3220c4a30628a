"""A verdict: what one guardrail says to one action.

Owns the three answers, how strict each is, and what is told of who holds a slot. Knows no guardrail's rule.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from .expression.value import NEVER

ALLOW: Final = "ALLOW"
DEFER: Final = "DEFER"
BLOCK: Final = "BLOCK"
ENFORCE: Final = "enforce"
OBSERVE: Final = "observe"
_RANK: Final = {ALLOW: 0, DEFER: 1, BLOCK: 2}


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What one guardrail says to an action.

    Attributes:
        kind: `ALLOW`, `DEFER` or `BLOCK`.
        until: when to ask again, in microseconds; `NEVER` where only a new fact can change it.
        reason: for people, and public.
        mode: `enforce`, or `observe` where it only tells.
        flips_at: when the verdict may change by mere passing of time.
        holder: the touchpoint that holds what this action would need: a slot of a cap, the customer herself.
    """

    kind: str
    guardrail: str
    until: int = NEVER
    reason: str = ""
    owner: str = ""
    mode: str = ENFORCE
    flips_at: int = NEVER
    holder: str = ""

    @property
    def binds(self) -> bool:
        """Whether it holds the action back."""
        return self.kind != ALLOW and self.mode == ENFORCE

    @property
    def severity(self) -> tuple[int, int]:
        """The stricter verdict is the larger."""
        return (_RANK[self.kind], self.until)


class Verdicts(tuple[Verdict, ...]):
    """What all guardrails say to one action: most often the same many times, so what is asked of it is known once.

    Attributes:
        binding: whether one of them holds the action back.
    """

    binding: bool

    @staticmethod
    def of(found: Iterable[Verdict]) -> Verdicts:
        """Of what they say."""
        made = Verdicts(found)
        made.binding = any(verdict.binds for verdict in made)
        return made
