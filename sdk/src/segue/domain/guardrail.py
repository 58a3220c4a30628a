"""Guardrails: shared limits on what touchpoints may do to a customer.

Owns every rule's verdict on an action: suppression, consent and subscription required, optimistic cap, quiet hours.
This is the room where a guardrail is evaluated; `decision` only gathers the verdicts. A guardrail speaks about
actions, never about what a decision function may compute.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from datetime import time as clock_time
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from .consent import in_force
from .expression import NEVER, Compiled, ExpressionError
from .expression.calendar import zone
from .instant import SECOND, from_datetime, to_datetime

if TYPE_CHECKING:
    from .scope import Scope

ALLOW: Final = "ALLOW"
DEFER: Final = "DEFER"
BLOCK: Final = "BLOCK"
ENFORCE: Final = "enforce"
OBSERVE: Final = "observe"
_RANK: Final = {ALLOW: 0, DEFER: 1, BLOCK: 2}
_MINUTE: Final = 60 * SECOND


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What one guardrail says to an action.

    Attributes:
        kind: `ALLOW`, `DEFER` or `BLOCK`.
        until: when to ask again, in microseconds; `NEVER` where only a new fact can change it.
        reason: for people, and public.
        mode: `enforce`, or `observe` where it only tells.
        flips_at: when the verdict may change by mere passing of time.
    """

    kind: str
    guardrail: str
    until: int = NEVER
    reason: str = ""
    owner: str = ""
    mode: str = ENFORCE
    flips_at: int = NEVER

    @property
    def binds(self) -> bool:
        """Whether it holds the action back."""
        return self.kind != ALLOW and self.mode == ENFORCE

    @property
    def severity(self) -> tuple[int, int]:
        """The stricter verdict is the larger."""
        return (_RANK[self.kind], self.until)


@dataclass(frozen=True, slots=True, kw_only=True)
class Guardrail:
    """One guardrail of the plan; exactly one of the limits below is set.

    Attributes:
        applies_to: which actions it speaks about; reads the action only. None: all.
        suppress_when: holds them back while true.
        requires_consent: a purpose.
        requires_subscription: a topic, or `*` for the action's own.
        limit, window: a cap on completed actions; window in microseconds.
        quiet: minutes of the day (from, to) and a zone (`customer`: the trait `time_zone`).
        on_stale, on_missing: `enforce` the last known, `block` or `allow`, where the context is old or absent.
        inputs: the sections that it reads, in the words of grants.
    """

    name: str
    reason: str
    owner: str = ""
    mode: str = ENFORCE
    applies_to: Compiled | None = None
    suppress_when: Compiled | None = None
    requires_consent: str = ""
    requires_subscription: str = ""
    limit: int = 0
    window: int = 0
    quiet: tuple[int, int, str] | None = None
    default_zone: str = "UTC"
    on_stale: str = "enforce"
    on_missing: str = "default"
    inputs: frozenset[str] = frozenset()

    def applies(self, scope: Scope) -> bool:
        """Whether it speaks about the scope's action. An expression without an answer applies: it never fails open."""
        if self.applies_to is None:
            return True
        try:
            return self.applies_to.value(scope) is True
        except ExpressionError:
            return True

    def verdict(self, scope: Scope) -> Verdict:
        """The verdict on the scope's action, which it applies to."""
        if self.suppress_when is not None:
            return self._suppression(scope, self.suppress_when)
        if self.requires_consent:
            state = in_force(scope.content.consents.get(self.requires_consent))
            return self._say(ALLOW if state == "granted" else BLOCK)
        if self.requires_subscription:
            return self._subscription(scope)
        if self.limit:
            return self._cap(scope)
        if self.quiet is not None:
            return self._quiet_hours(scope, self.quiet)
        return self._say(ALLOW)

    def outcome_name(self, action: Mapping[str, Any]) -> str:
        """Where its outcome for an action is found among what was shipped: by channel and topic where those decide."""
        if not self.requires_subscription:
            return self.name
        return f"{self.name}@{action.get('channel') or ''}:{self._topic(action)}"

    def _topic(self, action: Mapping[str, Any]) -> str:
        return str(action.get("topic") or "") if self.requires_subscription == "*" else self.requires_subscription

    def without_context(self, action: Mapping[str, Any]) -> Verdict:
        """The verdict where nothing is known of the customer: marketing is held back, service goes out."""
        behaviour = self.on_missing
        if behaviour == "default":
            behaviour = "block" if action.get("purpose") == "marketing" else "allow"
        if behaviour == "allow":
            return self._say(ALLOW)
        return self._say(BLOCK, reason=f"{self.reason} (the context is missing)")

    def on_old_context(self, verdict: Verdict) -> Verdict:
        """The verdict on a stale context: the last known, unless the plan says otherwise."""
        if self.on_stale == "block" and verdict.kind == ALLOW:
            return self._say(BLOCK, reason=f"{self.reason} (the context is stale)")
        return self._say(ALLOW) if self.on_stale == "allow" else verdict

    def _say(self, kind: str, until: int = NEVER, flips_at: int = NEVER, reason: str = "") -> Verdict:
        return Verdict(
            kind=kind, guardrail=self.name, until=until, reason=reason or self.reason, owner=self.owner,
            mode=self.mode, flips_at=flips_at,
        )  # fmt: skip

    def _suppression(self, scope: Scope, condition: Compiled) -> Verdict:
        holds, flip = condition.holds_until(scope)
        return self._say(BLOCK, flip, flip) if holds else self._say(ALLOW, flips_at=flip)

    def _subscription(self, scope: Scope) -> Verdict:
        action = scope.action or {}
        topic = self._topic(action)
        state = in_force(scope.content.subscriptions.get(f"{action.get('channel') or ''}:{topic}"))
        return self._say(ALLOW if state == "opted_in" else BLOCK)

    def _cap(self, scope: Scope) -> Verdict:
        counted = scope.content.caps.get(self.name, ())
        within = [instant for instant in counted if instant > scope.at - self.window]
        if len(within) < self.limit:
            return self._say(ALLOW)
        until = within[-self.limit] + self.window
        return self._say(DEFER, until, until)

    def _quiet_hours(self, scope: Scope, quiet: tuple[int, int, str]) -> Verdict:
        start, end, name = quiet
        if name == "customer":
            trait = scope.content.traits.get("time_zone")
            name = str(trait.value) if trait is not None else self.default_zone
        try:
            local_zone = zone(name)
        except ExpressionError:
            local_zone = zone(self.default_zone)
        local = to_datetime(scope.at).astimezone(local_zone)
        is_quiet = _is_quiet(local, start, end)
        turn = _turn(local, start, end, is_quiet)
        return self._say(DEFER, turn, turn) if is_quiet else self._say(ALLOW, flips_at=turn)


def _is_quiet(local: datetime, start: int, end: int) -> bool:
    minute = local.hour * 60 + local.minute
    return start <= minute < end if start <= end else minute >= start or minute < end


def _turn(local: datetime, start: int, end: int, is_quiet: bool) -> int:
    """The next instant, in microseconds, at which quiet hours end or begin."""
    minute = end if is_quiet else start
    wanted = datetime.combine(local.date(), clock_time(minute // 60, minute % 60), tzinfo=local.tzinfo)
    if wanted <= local:
        wanted = datetime.combine(local.date() + timedelta(days=1), wanted.timetz())
    at, turn = from_datetime(local), from_datetime(wanted)
    if at < turn and to_datetime(turn).astimezone(local.tzinfo).utcoffset() == local.utcoffset():
        return turn
    return _turn_by_minutes(at - at % _MINUTE, local.tzinfo, start, end, is_quiet)


@lru_cache(maxsize=1024)
def _turn_by_minutes(at: int, local_zone: tzinfo | None, start: int, end: int, is_quiet: bool) -> int:
    """As `_turn`, where the clocks change on the way: a wall time may be skipped or come twice, and the change itself
    may be the turn. Quiet hours and changes of the clocks begin at whole minutes, so this goes minute by minute.
    """
    turn = at
    for turn in range(at + _MINUTE, at + 2 * 1440 * _MINUTE, _MINUTE):
        if _is_quiet(to_datetime(turn).astimezone(local_zone), start, end) is not is_quiet:
            break
    return turn
