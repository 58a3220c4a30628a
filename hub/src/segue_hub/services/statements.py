"""Statements: what the admin says about who is one with whom, tried out or for good.

Owns what such facts have to be, under which name they are published, and that who says something sees at once what came
of it. What touchpoints say goes by the way of all facts, and needs a grant.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from typing import Any, Final

from segue.domain.fact import Fact, derived_id
from segue.domain.grant import everything
from segue.domain.statement import SAID

from .admission import Admission, Result
from .failure import Refusal
from .ingest import Ingest
from .plans import Plans
from .previews import Previews
from .touchpoints import ADMIN

MOST: Final = 100
"""Statements in one call at most."""


class Statements:
    """Takes statements.

    Args:
        ingest: publishes.
        previews: rehearses.
        plans: the plan in force.
        clock: the hub's time in microseconds.
    """

    def __init__(self, ingest: Ingest, previews: Previews, plans: Plans, clock: Callable[[], int]) -> None:
        self._ingest = ingest
        self._previews = previews
        self._plans = plans
        self._clock = clock

    def preview(self, facts: Sequence[Fact]) -> dict[str, Any]:
        """Who would be who; nothing is written.

        Raises:
            Refusal: one of them cannot be said.
        """
        admission, plan, now = Admission(), self._plans.current, self._clock()
        self._complete(facts, now)
        for number, fact in enumerate(facts):
            refused = admission.admit(fact, everything(ADMIN), plan, now, 0)
            if refused is not None:
                raise Refusal(refused.code, f"facts[{number}].{refused.reason}")
        return self._previews.preview(facts)

    async def change(self, facts: Sequence[Fact]) -> tuple[list[Result], dict[str, Any]]:
        """Publishes them; what cannot be said is refused, and the rest is taken.

        Returns:
            One result per fact, in order; and who was and is who.

        Raises:
            Refusal: nothing is acknowledged.
        """
        now = self._clock()
        undated = self._complete(facts, now)
        plan = self._plans.current
        admission = Admission()
        would = [fact for fact in facts if admission.admit(fact, everything(ADMIN), plan, now, 0) is None]
        concerned = self._previews.concerned(would)
        before = self._previews.standing(concerned)
        # Of one without a time of its own, the first arrival counts.
        results = await self._ingest.publish(facts, everything(ADMIN), now if undated else 0)
        after = self._previews.standing(concerned)
        return results, self._previews.document(before, after)

    def _complete(self, facts: Sequence[Fact], now: int) -> bool:
        """Fills in what need not be said; returns whether one of them said no time."""
        if len(facts) > MOST:
            raise Refusal("BATCH_TOO_LARGE", f"facts: {len(facts)} statements at once. Send at most {MOST}")
        undated = False
        for number, fact in enumerate(facts):
            if fact.kind not in SAID:
                kinds = ", ".join(SAID)
                raise Refusal(
                    "FACT_INVALID", f"facts[{number}].body: {fact.kind!r} says nothing of this. One of {kinds}"
                )
            if not fact.occurred_at:
                fact.occurred_at, undated = now, True
            fact.id = fact.id or derived_id(fact.occurred_at, "identity", secrets.token_hex(16))
            fact.type = fact.type or fact.kind
        return undated
