"""The one fold: `content = fold(plan, facts of the customer in their order)` (law 2).

Owns `advance`, `step` and `fold`. The content depends on the set of facts, never on how they arrived: a fact that
sorts last is one `step`; anything else is a fold from the first fact, or from a fork taken before it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from .activity import NONE
from .content import RECENT_KEPT, Content
from .fact import ACTION, CONSENT, DECISION, EVENT, SUBSCRIPTION, TRAIT, Fact, properties_bytes
from .identifier import Identifier
from .interaction import ENDED, Interaction
from .recognition import abandon_due, recognise
from .scope import Scope
from .trait import Trait

if TYPE_CHECKING:
    from .plan import Plan


def fold(plan: Plan, facts: Iterable[Fact]) -> Content:
    """Folds a customer's facts, in whatever order they are given; a fact given twice counts once."""
    content = Content()
    for fact in sorted({fact.id: fact for fact in facts}.values(), key=lambda fact: fact.order):
        step(content, plan, fact)
    return content


def advance(content: Content, plan: Plan, at: int) -> None:
    """Lets time pass without a fact; going back does nothing.

    Law: `advance(advance(c, s), t) == advance(c, t)`.
    """
    if at > content.at:
        if at >= content.next_due:
            abandon_due(content, plan, at)
        content.at = at


def step(content: Content, plan: Plan, fact: Fact) -> None:
    """Applies a fact that sorts after everything folded so far. Changes `content`."""
    at = fact.occurred_at
    advance(content, plan, at)
    content.through = (at, fact.seq, fact.id)
    content.facts += 1
    groups = content.groups
    for identifier in fact.identifiers:
        if identifier not in groups or len(fact.identifiers) > 1:
            _link(groups, fact.identifiers, plan)
            break
    kind = fact.kind
    if kind == EVENT:
        _event(content, plan, fact)
    elif kind == TRAIT:
        source = fact.properties.get("source") or fact.touchpoint
        content.traits[fact.type] = Trait(fact.properties["value"], source, at)
        return
    elif kind == CONSENT:
        _bind(content, content.consents, fact.type, fact)
    elif kind == SUBSCRIPTION:
        _bind(content, content.subscriptions, f"{fact.channel}:{fact.type}", fact)
    elif kind == ACTION:
        _action(content, plan, fact)
    elif kind == DECISION:
        content.decisions.append(_answer(fact))
        del content.decisions[:-RECENT_KEPT]
        return
    else:
        return
    fact.forget()
    content.timeline.append(fact)
    if len(content.timeline) > plan.timeline:
        del content.timeline[: -plan.timeline]


def _answer(fact: Fact) -> Fact:
    """A decision as others may see it: the answer and its reason, not what was read for it under other grants."""
    told: dict[str, Any] = {name: fact.properties[name] for name in ("value", "reason") if name in fact.properties}
    return Fact(
        fact.id, fact.kind, fact.type, fact.occurred_at, fact.seq, fact.identifiers, fact.channel, fact.touchpoint,
        fact.interaction, properties_bytes(told),
    )  # fmt: skip


def _event(content: Content, plan: Plan, fact: Fact) -> None:
    at, type_, channel = fact.occurred_at, fact.type, fact.channel
    matchers = plan.matchers(type_, channel)
    if matchers and content.hidden:
        # Laid over a projection: a journey whose map reads what is hidden here stays the hub's (VE4).
        hidden = content.hidden
        matchers = () if "journeys" in hidden else tuple(m for m in matchers if hidden.isdisjoint(m.map.inputs))
    if not plan.folds(type_):
        return
    if matchers:
        recognise(content, plan, fact, matchers, Scope(content, at, plan, fact=fact))
    activity = content.activity
    activity[type_] = activity.get(type_, NONE).seen_at(at, plan.kept(type_))
    if channel and channel != type_:
        activity[channel] = activity.get(channel, NONE).seen_at(at, plan.kept(channel))
    reference = fact.interaction
    if reference is not None:
        interactions = content.interactions
        known = interactions.pop(reference.id, None)
        ended = reference.outcome or type_ == ENDED
        interactions[reference.id] = Interaction(
            reference.id,
            known.channel if known else channel,
            reference.direction or (known.direction if known else ""),
            known.started_at if known else at,
            at,
            at if ended else (known.ended_at if known else 0),
            reference.outcome or (known.outcome if known else ""),
        )
        if len(interactions) > RECENT_KEPT:
            del interactions[next(iter(interactions))]


def _action(content: Content, plan: Plan, fact: Fact) -> None:
    content.actions.append(fact)
    del content.actions[:-RECENT_KEPT]
    if fact.properties.get("status") != "completed":
        return
    asked = {"channel": fact.channel, **fact.properties, "kind": fact.type}
    for guardrail in plan.capping:
        if guardrail.applies(Scope(content, fact.occurred_at, plan, action=asked)):
            counted = content.caps.get(guardrail.name, ())
            content.caps[guardrail.name] = (*counted[-guardrail.limit :], fact.occurred_at)


def _link(groups: dict[Identifier, int], identifiers: tuple[Identifier, ...], plan: Plan) -> None:
    """Identifiers of one fact are one customer from here on; blocked values link nobody."""
    linking = [identifier for identifier in identifiers if not plan.kinds.is_blocked(identifier)]
    found = {groups[identifier] for identifier in linking if identifier in groups}
    if not linking or (len(found) == 1 and all(identifier in groups for identifier in linking)):
        return
    group = min(found) if found else len(groups)
    for identifier, other in list(groups.items()):
        if other in found and other != group:
            groups[identifier] = group
    for identifier in linking:
        groups[identifier] = group


def _bind(content: Content, table: dict[str, dict[Identifier, tuple[str, int]]], name: str, fact: Fact) -> None:
    """A consent or subscription binds the identifiers that are linked at its time (ID4)."""
    groups = content.groups
    named = {groups[identifier] for identifier in fact.identifiers if identifier in groups}
    if not named:
        return  # only blocked values: it binds nobody
    said = (str(fact.properties["state"]), fact.occurred_at)
    bound = dict(table.get(name, {}))
    for identifier, group in groups.items():
        if group in named:
            bound[identifier] = said
    table[name] = bound
