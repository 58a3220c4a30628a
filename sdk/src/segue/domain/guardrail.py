"""Guardrails: shared limits on what touchpoints may do to a customer.

Owns every rule's verdict on an action: suppression, consent and subscription required, caps, quiet hours, claims,
holdouts, effort budgets, yielding to what matters more. This is the room where a guardrail is evaluated; `decision`
only gathers the verdicts. A guardrail speaks about actions, never about what a decision function may compute.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import tzinfo
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from .cap import Cap
from .consent import in_force
from .effort import effort
from .expression import NEVER, Compiled, ExpressionError
from .holdout import HELD_OUT, Holdout
from .quiet_hours import quiet_at, zone_or
from .verdict import ALLOW, BLOCK, DEFER, ENFORCE, OBSERVE, Verdict

if TYPE_CHECKING:
    from .scope import Scope


@dataclass(frozen=True, slots=True, kw_only=True)
class Guardrail:
    """One guardrail of the plan; exactly one of the limits below is set. Instants in microseconds.

    Attributes:
        applies_to: which actions it speaks about; reads the action only. None: all.
        exempt: purposes that it does not speak about, e.g. `service`.
        valid_from: when it begins to speak.
        valid_until: when it ends to speak.
        suppress_when: holds actions back while true.
        requires_consent: a purpose.
        requires_subscription: a topic, or `*` for the action's own.
        cap: at most so many completed actions.
        quiet: minutes of the day (from, to) and a zone (`customer`: the trait `time_zone`).
        claim: a scope: while another touchpoint has claimed it, actions wait.
        holdout: a share of the customers from whom these actions are kept.
        effort: beyond this score only `deescalating` actions go out; -1 where it has no budget.
        deescalating: patterns of kinds of actions that help.
        yields_to: patterns of kinds of actions that matter more; for `yields_for` after one of them, these wait.
        on_stale, on_missing: `enforce` the last known, `block` or `allow`, where the context is old or absent.
        inputs: the sections that it reads, in the words of grants.
    """

    name: str
    reason: str
    owner: str = ""
    mode: str = ENFORCE
    applies_to: Compiled | None = None
    exempt: frozenset[str] = frozenset()
    valid_from: int = 0
    valid_until: int = NEVER
    suppress_when: Compiled | None = None
    requires_consent: str = ""
    requires_subscription: str = ""
    cap: Cap | None = None
    quiet: tuple[int, int, str] | None = None
    claim: str = ""
    holdout: Holdout | None = None
    effort: int = -1
    deescalating: tuple[str, ...] = ()
    yields_to: tuple[str, ...] = ()
    yields_for: int = 0
    default_zone: str = "UTC"
    on_stale: str = "enforce"
    on_missing: str = "default"
    inputs: frozenset[str] = frozenset()

    def applies(self, scope: Scope) -> bool:
        """Whether it speaks about the scope's action. An expression without an answer applies: it never fails open."""
        action = scope.action or {}
        if action.get("purpose") in self.exempt:
            return False
        if self.deescalating and _matches(action.get("kind"), self.deescalating):
            return False
        if self.applies_to is None:
            return True
        try:
            return self.applies_to.value(scope) is True
        except ExpressionError:
            return True

    def in_force(self, at: int) -> bool:
        """Whether it speaks at a moment."""
        return self.valid_from <= at < self.valid_until

    def verdict(self, scope: Scope) -> Verdict:
        """The verdict on the scope's action, which it applies to."""
        at = scope.at
        if at >= self.valid_until:
            return self._say(ALLOW)
        if at < self.valid_from:
            return self._say(ALLOW, flips_at=self.valid_from)
        found = self._judged(scope)
        if self.valid_until < NEVER and (found.kind != ALLOW or found.flips_at > self.valid_until):
            until = min(found.until, self.valid_until) if found.kind != ALLOW else found.until
            return self._say(found.kind, until, min(found.flips_at, self.valid_until), found.reason, found.holder)
        return found

    def _judged(self, scope: Scope) -> Verdict:
        if self.suppress_when is not None:
            return self._suppression(scope, self.suppress_when)
        if self.requires_consent:
            state = in_force(scope.content.consents.get(self.requires_consent))
            return self._say(ALLOW if state == "granted" else BLOCK)
        if self.requires_subscription:
            return self._subscription(scope)
        if self.cap is not None:
            return self._capped(scope, self.cap)
        if self.quiet is not None:
            return self._quiet_hours(scope, self.quiet)
        if self.claim:
            return self._claimed(scope)
        if self.holdout is not None:
            return self._held_out(scope, self.holdout)
        if self.effort >= 0:
            found = effort(scope.content, scope.plan.effort, scope.at)
            over = found.score > self.effort
            return self._say(BLOCK if over else ALLOW, found.flips_at if over else NEVER, found.flips_at)
        if self.yields_to:
            return self._yielding(scope)
        return self._say(ALLOW)

    def outcome_name(self, action: Mapping[str, Any]) -> str:
        """Where its outcome for an action is found among what was shipped: by what decides beside the context."""
        if self.cap is not None and self.cap.per:
            return self.cap.slot(self.name, action)
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

    def zone(self, scope: Scope, name: str = "customer") -> tzinfo:
        """The zone of a name; of the customer, as far as it is known."""
        if name == "customer":
            trait = scope.content.traits.get("time_zone")
            name = str(trait.value) if trait is not None else self.default_zone
        return zone_or(name, self.default_zone)

    def _say(self, kind: str, until: int = NEVER, flips_at: int = NEVER, reason: str = "", holder: str = "") -> Verdict:
        return Verdict(
            kind=kind, guardrail=self.name, until=until, reason=reason or self.reason, owner=self.owner,
            mode=self.mode, flips_at=flips_at, holder=holder,
        )  # fmt: skip

    def _suppression(self, scope: Scope, condition: Compiled) -> Verdict:
        holds, flip = condition.holds_until(scope)
        return self._say(BLOCK, flip, flip) if holds else self._say(ALLOW, flips_at=flip)

    def _subscription(self, scope: Scope) -> Verdict:
        action = scope.action or {}
        topic = self._topic(action)
        state = in_force(scope.content.subscriptions.get(f"{action.get('channel') or ''}:{topic}"))
        return self._say(ALLOW if state == "opted_in" else BLOCK)

    def _capped(self, scope: Scope, cap: Cap) -> Verdict:
        slot = cap.slot(self.name, scope.action or {})
        room, until, holder = cap.verdict(scope.content, slot, scope.at, self.zone(scope))
        return self._say(ALLOW) if room else self._say(DEFER, until, until, holder=holder)

    def _quiet_hours(self, scope: Scope, quiet: tuple[int, int, str]) -> Verdict:
        start, end, name = quiet
        is_quiet, turn = quiet_at(scope.at, start, end, self.zone(scope, name))
        return self._say(DEFER, turn, turn) if is_quiet else self._say(ALLOW, flips_at=turn)

    def _claimed(self, scope: Scope) -> Verdict:
        claim = scope.content.claims.get(self.claim)
        if claim is None or not claim.stands(scope.at):
            return self._say(ALLOW)
        if claim.holder == (scope.action or {}).get("touchpoint"):
            return self._say(ALLOW, flips_at=claim.until)
        return self._say(DEFER, claim.until, claim.until, holder=claim.holder)

    def _held_out(self, scope: Scope, holdout: Holdout) -> Verdict:
        content = scope.content
        exposure = content.exposures.get(self.name)
        arm = exposure[0] if exposure is not None else holdout.arm(content.groups, scope.plan.kinds)
        return self._say(BLOCK if arm == HELD_OUT else ALLOW)

    def _yielding(self, scope: Scope) -> Verdict:
        at, content = scope.at, scope.content
        began = at - self.yields_for
        taken = [
            (fact.occurred_at, fact.touchpoint)
            for fact in content.actions
            if fact.occurred_at > began
            and fact.properties.get("status") == "completed"
            and _matches(fact.type, self.yields_to)
        ]
        taken += [
            (held.at, held.touchpoint)
            for held in content.reservations.values()
            if held.at > began and held.counts(at) and _matches(held.kind, self.yields_to)
        ]
        if not taken:
            return self._say(ALLOW)
        last, holder = max(taken)
        return self._say(DEFER, last + self.yields_for, last + self.yields_for, holder=holder)


def _matches(kind: object, patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(str(kind or ""), pattern) for pattern in patterns)


__all__ = ["ALLOW", "BLOCK", "DEFER", "ENFORCE", "OBSERVE", "Guardrail", "Verdict"]
