"""Guardrails as a plan's document states them, into compiled ones.

Owns the reading of every limit, and which sections of a context each of them needs. Knows nothing of verdicts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from .cap import HOLD, Cap
from .effort import DAY, WEIGHTS, EffortRule
from .expression import NEVER, Compiled
from .guardrail import ENFORCE, Guardrail
from .holdout import Holdout
from .instant import parse_instant, span
from .quiet_hours import CALENDAR

Document = Mapping[str, Any]


def guardrail_of(
    name: str, body: Document, expression: Callable[[str, Any], Compiled | None],
    reads: Callable[[Any], frozenset[str]], zone_label: str, default_zone: str,
) -> Guardrail:  # fmt: skip
    """One guardrail.

    Args:
        name: in the plan.
        body: as checked.
        expression: compiles the expression of a field.
        reads: the sections that an expression reads.
        zone_label: the class of the trait `time_zone`.
        default_zone: where a customer has none.
    """
    field = f"guardrails.{name}"
    suppress, quiet, cap = body.get("suppress_when"), body.get("quiet_hours"), _cap(body.get("cap"))
    holdout, budget, yields = body.get("holdout"), body.get("effort_budget"), body.get("yields")
    needed = set(reads(suppress)) if suppress else set()
    needed |= {"consents"} if body.get("requires_consent") else set()
    needed |= {"subscriptions"} if body.get("requires_subscription") else set()
    needed |= {"actions"} if cap is not None or yields or holdout else set()
    needed |= {"identity"} if holdout else set()
    needed |= {"claims"} if body.get("claim") else set()
    needed |= {"interactions"} if budget else set()
    if (quiet and quiet.get("zone", "customer") == "customer") or (cap is not None and cap.calendar):
        needed.add(f"traits.{zone_label}")
    return Guardrail(
        name=name,
        reason=body.get("reason", ""),
        owner=body.get("owner", ""),
        mode=body.get("mode", ENFORCE),
        applies_to=expression(f"{field}.applies_to", body.get("applies_to")),
        exempt=frozenset(body.get("exempt", ())),
        valid_from=_instant(body.get("valid", {}).get("from"), 0),
        valid_until=_instant(body.get("valid", {}).get("until"), NEVER),
        suppress_when=expression(f"{field}.suppress_when", suppress),
        requires_consent=body.get("requires_consent", ""),
        requires_subscription=body.get("requires_subscription", ""),
        cap=cap,
        quiet=(_minute(quiet["from"]), _minute(quiet["to"]), quiet.get("zone", "customer")) if quiet else None,
        claim=body.get("claim", ""),
        holdout=Holdout(float(holdout["share"]), holdout.get("salt", name)) if holdout else None,
        effort=int(budget["most"]) if budget else -1,
        deescalating=tuple(budget.get("deescalating", ())) if budget else (),
        yields_to=tuple(yields["to"]) if yields else (),
        yields_for=span(yields["within"]) if yields else 0,
        default_zone=default_zone,
        on_stale=body.get("on_stale", "enforce"),
        on_missing=body.get("on_missing", "default"),
        inputs=frozenset(needed),
    )


def effort_of(body: Document, assisted: frozenset[str]) -> EffortRule:
    """What the plan says of effort."""
    return EffortRule(
        weights={**WEIGHTS, **body.get("weights", {})},
        window=span(body.get("window", "7d")),
        within=span(body["within"]) if "within" in body else DAY,
        assisted=assisted,
    )


def _cap(body: Document | None) -> Cap | None:
    if not body:
        return None
    window = body["window"]
    return Cap(
        limit=int(body["limit"]),
        window=0 if window in CALENDAR else span(window),
        calendar=window if window in CALENDAR else "",
        per=body.get("per", ""),
        strict=body.get("exactness") == "strict",
        hold=span(body["hold"]) if "hold" in body else HOLD,
        frees=body.get("on_expiry") == "free",
        on_unreachable=body.get("on_unreachable", "block"),
    )


def _instant(text: str | None, otherwise: int) -> int:
    return parse_instant(text) if text else otherwise


def _minute(text: str) -> int:
    hours, _, minutes = text.partition(":")
    return int(hours) * 60 + int(minutes)
