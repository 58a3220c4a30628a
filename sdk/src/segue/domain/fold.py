"""The one fold: `content = fold(plan, facts of the customer in their order)` (law 2).

Owns `advance`, `step` and `fold`. The content depends on the set of facts, never on how they arrived: a fact that
sorts last is one `step`; anything else is a fold from the first fact, or from a fork taken before it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

from .activity import NONE
from .consent import Bound
from .content import RECENT_KEPT, Content
from .coordination import FOLDED, act, coordinate
from .fact import (
    ACTION,
    CONSENT,
    DECISION,
    EVENT,
    LINK,
    STATEMENTS,
    SUBSCRIPTION,
    TRAIT,
    Fact,
    properties_bytes,
)  # fmt: skip
from .holding import EVERYTHING, Holding, ended
from .identifier import Identifier
from .interaction import ENDED, QUEUED, Interaction
from .recognition import abandon_due, recognise
from .trait import Trait

if TYPE_CHECKING:
    from .plan import Plan


_SHADOW: Final = "#shadow"
"""As `shadow.SUFFIX`, which decides and so knows the fold."""
_SELECTING: Final = frozenset((LINK, *STATEMENTS))


def fold(plan: Plan, facts: Iterable[Fact], holding: Holding = EVERYTHING) -> Content:
    """Folds a customer's facts, in whatever order they are given; a fact given twice counts once.

    Args:
        plan: by which.
        facts: of the customer.
        holding: what of the names in them holds; all, where it is not given.
    """
    content = Content()
    content.hold(holding)
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
    at, kind = fact.occurred_at, fact.kind
    if kind != EVENT and kind in _SELECTING:
        _select(content, plan, fact)
        return
    if at > content.at:  # as `advance`, which every fact would have to call
        if at >= content.next_due:
            abandon_due(content, plan, at)
        content.at = at
    content.through = (at, fact.seq, fact.id)
    content.facts += 1
    names = fact.identifiers
    if names and (len(names) > 1 or names[0] not in content.groups):
        _link(content, fact, plan)
    if kind == EVENT:
        _event(content, plan, fact)
    elif kind == TRAIT:
        if not plan.folds_trait(fact.type):
            return
        source = fact.properties.get("source") or fact.touchpoint
        content.traits = {**content.traits, fact.type: Trait(fact.properties["value"], source, at)}
        return
    elif kind == CONSENT:
        content.consents = _bound(content, content.consents, fact.type, fact, plan)
    elif kind == SUBSCRIPTION:
        told = f"{fact.channel}:{fact.type}"
        content.subscriptions = _bound(content, content.subscriptions, told, fact, plan)
    elif kind == ACTION:
        act(content, plan, fact)
    elif kind == DECISION:
        if fact.type.endswith(_SHADOW):
            return  # what a shadow answered became of nobody
        content.decisions.append(_answer(fact))
        del content.decisions[:-RECENT_KEPT]
        return
    else:
        if kind in FOLDED:
            coordinate(content, fact)
        return
    fact.forget()
    timeline = content.timeline
    timeline.append(fact)
    while len(timeline) > plan.timeline:
        del timeline[0]  # one nearly always


def _select(content: Content, plan: Plan, fact: Fact) -> None:
    """Links and what is said about them select; time does not pass by them (ID2)."""
    if fact.kind == LINK:
        content.through = fact.order
        content.facts += 1
        _link(content, fact, plan)


def _answer(fact: Fact) -> Fact:
    """A decision as others may see it: the answer and its reason, not what was read for it under other grants."""
    told: dict[str, Any] = {name: fact.properties[name] for name in ("value", "reason") if name in fact.properties}
    return Fact(
        fact.id, fact.kind, fact.type, fact.occurred_at, fact.seq, fact.identifiers, fact.channel, fact.touchpoint,
        fact.interaction, properties_bytes(told),
    )  # fmt: skip


def _event(content: Content, plan: Plan, fact: Fact) -> None:
    at, type_, channel = fact.occurred_at, fact.type, fact.channel
    reaction = plan.reaction(type_, channel)
    if not reaction.folds:
        return
    # Without an interaction to count, only maps of which it can change a journey by itself matter.
    matchers = reaction.acting if fact.interaction is None or not content.journeys else reaction.matchers
    if matchers:
        if content.hidden:
            # Laid over a projection: a journey whose map reads what is hidden here stays the hub's (VE4).
            hidden = content.hidden
            matchers = () if "journeys" in hidden else tuple(m for m in matchers if hidden.isdisjoint(m.map.inputs))
        recognise(content, plan, fact, matchers)
    activity, owner = content.activity, content.owner
    for name, kept in reaction.kept:
        seen = activity.get(name, NONE)
        if seen.owner is not owner:
            seen = activity[name] = seen.copy(owner)
        seen.see(at, kept)
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
            (known.queued if known else 0) + (_queued(fact) if type_ == QUEUED else 0),
        )
        if len(interactions) > RECENT_KEPT:
            del interactions[next(iter(interactions))]


def _queued(fact: Fact) -> int:
    """The seconds that a customer waited in a queue, as told by the end of the waiting."""
    seconds = fact.properties.get("seconds")
    return int(seconds) if isinstance(seconds, int | float) and 0 < seconds < 86_400 else 0


def _link(content: Content, fact: Fact, plan: Plan) -> None:
    """Identifiers of one fact are one customer from here on; blocked values link nobody, nor do those held apart."""
    if content.begins:
        _begin_anew(content, fact.occurred_at)
    groups = content.groups
    linking, alone = _linking(content, fact, plan)
    for identifier in alone:
        if identifier not in groups:
            groups[identifier] = _another(groups)
    found = {groups[identifier] for identifier in linking if identifier in groups}
    if not linking or (len(found) == 1 and all(identifier in groups for identifier in linking)):
        return
    group = min(found) if found else _another(groups)
    for identifier, other in list(groups.items()):
        if other in found and other != group:
            groups[identifier] = group
    for identifier in linking:
        groups[identifier] = group


def _linking(content: Content, fact: Fact, plan: Plan) -> tuple[list[Identifier], list[Identifier]]:
    """The identifiers that a fact holds together, and those of its customer that it names and does not hold."""
    apart, kinds = content.apart, plan.kinds
    linking = [name for name in fact.identifiers if name not in apart and not kinds.is_blocked(name)]
    if not content.retracted or len(linking) < 2:
        return linking, []
    leaf = kinds.strongest(linking)
    retracted = {(leaf, name): content.retracted.get((leaf, name)) for name in linking}
    alone = [name for (_, name), said in retracted.items() if said is not None and said.speaks_of(fact)]
    return [name for name in linking if name not in alone], alone


def _another(groups: Mapping[Identifier, int]) -> int:
    return max(groups.values(), default=-1) + 1


def _begin_anew(content: Content, at: int) -> None:
    """An identifier that has ended by an instant is another one from then on, alone until a later link.

    What it was before stays one with whom it was linked with, under a name of its own.
    """
    groups = content.groups
    while content.begins and content.begins[0][0] <= at:
        (since, identifier), *later = content.begins
        content.begins = tuple(later)
        if identifier in groups:
            former = ended(identifier, since)
            groups[former] = groups.pop(identifier)
            groups[identifier] = _another(groups)
            content.consents = _renamed(content.consents, identifier, former)
            content.subscriptions = _renamed(content.subscriptions, identifier, former)


def _renamed(table: Mapping[str, Bound], identifier: Identifier, former: Identifier) -> Mapping[str, Bound]:
    if not any(identifier in bound for bound in table.values()):
        return table
    return {
        name: {former if other == identifier else other: said for other, said in bound.items()}
        for name, bound in table.items()
    }


def _bound(content: Content, table: Mapping[str, Bound], name: str, fact: Fact, plan: Plan) -> Mapping[str, Bound]:
    """A table in which a consent or subscription binds the identifiers that are linked at its time (ID4)."""
    if content.begins:
        _begin_anew(content, fact.occurred_at)
    groups = content.groups
    linking, _ = _linking(content, fact, plan)
    named = {groups[identifier] for identifier in linking if identifier in groups}
    if not named:
        return table  # only blocked values: it binds nobody
    said = (str(fact.properties["state"]), fact.occurred_at)
    bound = {**table.get(name, {}), **{other: said for other, group in groups.items() if group in named}}
    return {**table, name: bound}
