"""Forms: what the events of one type that a session tells have in common, checked once instead of with each.

Owns which of them may serve: a form lives as long as the plan, the identifiers and the interaction that it was made
from. What is told by one are plain details only (`told.like`); all else goes the long way, and is checked, and refused,
there. This is what most calls of `track` cost their host.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from .domain.fact import Fact
from .domain.identifier import Identifier
from .domain.interaction import InteractionRef
from .domain.plan import Plan
from .domain.told import Form, like
from .runtime import Runtime

MOST: Final = 256
"""Types that one session remembers; beyond, it begins anew."""


class Forms:
    """Those of one session, by the type as the host spells it."""

    __slots__ = ("_identifiers", "_interaction", "_made", "_plan")

    def __init__(self) -> None:
        self._made: dict[str, Form] = {}
        self._plan: Plan | None = None
        self._identifiers: tuple[Identifier, ...] = ()
        self._interaction: InteractionRef | None = None

    def event(
        self, runtime: Runtime, type_: str, identifiers: tuple[Identifier, ...], interaction: InteractionRef | None,
        properties: Mapping[str, Any] | None, more: dict[str, Any],
    ) -> Fact | None:  # fmt: skip
        """An event that needs no check beside the one that its form had; None where it has to be made the long way."""
        try:
            machine = runtime.machine
            if (
                machine.plan is not self._plan
                or identifiers is not self._identifiers
                or interaction is not self._interaction
            ):
                return None
            now = runtime.clock()
            return like(
                self._made[type_], runtime.ids.next(now), now + machine.offset, runtime.next_seq(),
                {**properties, **more} if properties else more,
            )  # fmt: skip
        except Exception:  # noqa: BLE001  # a type not told before, or the host's own values: told there what is wrong
            return None

    def keep(self, type_: str, plan: Plan, fact: Fact) -> None:
        """Keeps an event that was checked, as a form for those to come."""
        if (
            plan is not self._plan
            or fact.identifiers is not self._identifiers
            or fact.interaction is not self._interaction
            or len(self._made) >= MOST
        ):
            self._made = {}
            self._plan, self._identifiers, self._interaction = plan, fact.identifiers, fact.interaction
        self._made[type_] = Form(fact)
