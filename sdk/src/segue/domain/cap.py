"""Caps: at most so many actions within a window, sliding or of the calendar, by kind, topic or channel.

Owns how much of a cap is taken at a moment, by whom, and when a place becomes free. Counts completed actions and
reservations; whether a cap is exact under concurrency is decided by who grants (the hub), not here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import tzinfo
from typing import TYPE_CHECKING, Any, Final

from .expression.value import NEVER
from .instant import SECOND
from .quiet_hours import period

if TYPE_CHECKING:
    from .content import Content

HOLD: Final = 300 * SECOND
"""How long a reservation is held, unless the cap says otherwise."""
NOT_COUNTED: Final = "\0"
"""No kind, topic, channel or purpose: stands for one that nothing was counted for."""
BY: Final = ("kind", "topic", "channel", "purpose")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cap:
    """A limit of a guardrail.

    Attributes:
        limit: so many at most.
        window: sliding, in microseconds; 0 where `calendar` is set.
        calendar: `day`, `week` or `month` in the customer's zone; empty for a sliding window.
        per: what it counts by: `kind`, `topic`, `channel` or `purpose` of the action; empty for all together.
        strict: whether a place has to be reserved at the hub before acting.
        hold: how long a reservation may be confirmed, microseconds.
        frees: whether an expired reservation is free again: then an action carried out and never told is not counted.
        on_unreachable: `block` or `allow`: what a touchpoint does that cannot ask the hub in time.
    """

    limit: int
    window: int = 0
    calendar: str = ""
    per: str = ""
    strict: bool = False
    hold: int = HOLD
    frees: bool = False
    on_unreachable: str = "block"

    def slot(self, name: str, action: Mapping[str, Any]) -> str:
        """Where an action takes its place: the cap's name, and the value that it counts by."""
        return f"{name}:{action.get(self.per) or ''}" if self.per else name

    def begins(self, at: int, local_zone: tzinfo) -> int:
        """The last instant that the window at a moment does not hold any more."""
        return period(at, self.calendar, local_zone)[0] - 1 if self.calendar else at - self.window

    def leaves(self, instant: int, local_zone: tzinfo) -> int:
        """When an instant leaves the window."""
        return period(instant, self.calendar, local_zone)[1] if self.calendar else instant + self.window

    def taken(self, content: Content, slot: str, at: int, local_zone: tzinfo) -> list[tuple[int, int, str]]:
        """The places taken at a moment, in time: (since, until, touchpoint); `until` is when each becomes free."""
        begins = self.begins(at, local_zone)
        found = [
            (instant, self.leaves(instant, local_zone), _actor(content, instant))
            for instant in content.caps.get(slot, ())
            if instant > begins
        ]
        for held in content.reservations.values():
            if slot in held.slots and held.at > begins and held.counts(at):
                until = self.leaves(held.at, local_zone)
                if held.frees and not held.confirmed:
                    until = min(until, held.expires_at)
                found.append((held.at, until, held.touchpoint))
        return sorted(found)

    def verdict(self, content: Content, slot: str, at: int, local_zone: tzinfo) -> tuple[bool, int, str]:
        """Whether there is a place; else until when not, and who holds the one that becomes free then."""
        taken = self.taken(content, slot, at, local_zone)
        if len(taken) < self.limit:
            # Freed places only make more room: an allowed action stays allowed as time passes.
            return True, NEVER, ""
        free = sorted(until for _, until, _ in taken)[len(taken) - self.limit]
        return False, free, next((who for _, until, who in reversed(taken) if until >= free), "")


def _actor(content: Content, instant: int) -> str:
    """Who completed the action of an instant, where that is still kept."""
    return next((fact.touchpoint for fact in reversed(content.actions) if fact.occurred_at == instant), "")
