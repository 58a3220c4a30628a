"""Sections: the content of a context as named, separately encoded parts.

Owns the plain (JSON) form of every section, both ways, for the store and for the wire. The store's form is complete;
the wire's leaves out which identifier a consent is bound to and whom a fact named. Properties travel as JSON text
inside, so that nobody decodes what nobody reads.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from sys import intern
from typing import Any, Final, NamedTuple

from .activity import activity_of
from .claim import Claim
from .consent import in_force
from .content import NOTHING, Content
from .fact import Fact
from .holding import Retracted, has_ended
from .identifier import Identifier
from .interaction import Interaction, InteractionRef
from .journey import Journey, Tally
from .plan import Plan
from .reservation import Reservation
from .trait import Trait
from .tree_reading import trait_section

Plain = Any
_OF_THE_STORE: Final = frozenset(("apart", "retracted", "begins"))
"""Sections that the wire does not have."""
ANYONE: Final = Identifier("", "")
"""Stands for whoever a consent is bound to, where that is not told."""


class Section(NamedTuple):
    """One part of a context on the wire. Proto: `segue.v1.Section`. `name` is that of grants: `traits.business`."""

    name: str
    data: bytes


def dumps(plain: Plain) -> bytes:
    """Plain data as bytes: compact, keys sorted, UTF-8."""
    return json.dumps(plain, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def _fact(fact: Fact) -> Plain:
    reference = fact.interaction
    return [
        fact.id.hex(), fact.kind, fact.type, fact.occurred_at, fact.seq, fact.channel, fact.touchpoint,
        [reference.id, reference.direction, reference.outcome] if reference is not None else None,
        fact.raw.decode(),
    ]  # fmt: skip


def _read_fact(plain: Plain) -> Fact:
    id_, kind, type_, occurred_at, seq, channel, touchpoint, reference, raw = plain
    return Fact(  # names that all facts share are kept once in memory
        bytes.fromhex(id_), intern(kind), intern(type_), occurred_at, seq, (), intern(channel), intern(touchpoint),
        InteractionRef(*reference) if reference else None, raw.encode(),
    )  # fmt: skip


def _journey(journey: Journey) -> Plain:
    return [
        journey.map, journey.key, journey.started_at, journey.start_seen, journey.progress_at, journey.stage,
        dict(journey.stages), dict(journey.interactions), list(journey.recent_interactions), journey.stalls,
        journey.outcome, journey.ended_at,
    ]  # fmt: skip


def _read_journey(plain: Plain) -> Journey:
    map_, key, started_at, start_seen, progress_at, stage, stages, interactions, recent, stalls, outcome, ended_at = (
        plain
    )
    return Journey(  # as of facts: names that all customers share are kept once in memory
        intern(map_), key, started_at, start_seen, progress_at, intern(stage), _shared(stages), _shared(interactions),
        tuple(recent), stalls, intern(outcome), ended_at,
    )  # fmt: skip


def _shared(counts: Mapping[str, int]) -> Mapping[str, int]:
    return {intern(name): count for name, count in counts.items()} if counts else NOTHING


def _tally(tally: Tally) -> Plain:
    return [
        dict(tally.outcomes), dict(tally.stages), tally.goal_time, dict(tally.goal_times), tally.stalled,
        tally.assisted, dict(tally.interactions), tally.orphan_goals,
    ]  # fmt: skip


def _interaction(found: Interaction) -> Plain:
    return [
        found.id, found.channel, found.direction, found.started_at, found.last_at, found.ended_at, found.outcome,
        *([found.queued] if found.queued else []),
    ]  # fmt: skip


def _reservation(id_: bytes, held: Reservation) -> Plain:
    return [
        id_.hex(), held.kind, list(held.slots), held.at, held.expires_at, held.touchpoint, held.frees, held.confirmed
    ]  # fmt: skip


def _claim(claim: Claim) -> Plain:
    return [
        claim.scope, claim.holder, claim.since, claim.until, claim.interaction, claim.offered_to, claim.offered_until,
        claim.note,
    ]  # fmt: skip


def _bound(table: Mapping[str, Mapping[Identifier, tuple[str, int]]]) -> Plain:
    return {
        name: sorted([kind, value, state, at] for (kind, value), (state, at) in bound.items())
        for name, bound in table.items()
    }


def _read_bound(plain: Plain) -> dict[str, dict[Identifier, tuple[str, int]]]:
    return {
        name: {Identifier(kind, value): (state, at) for kind, value, state, at in bound}
        for name, bound in plain.items()
    }


def _in_force(table: Mapping[str, Mapping[Identifier, tuple[str, int]]]) -> Plain:
    return {name: [["", "", in_force(bound), max(at for _, at in bound.values())]] for name, bound in table.items()}


def plain(content: Content, plan: Plan, *, complete: bool = True) -> dict[str, Plain]:
    """All sections of a content, by name.

    Args:
        content: as folded.
        plan: whose labels divide the traits.
        complete: with all that folding further needs (the store's form).
    """
    sections: dict[str, Plain] = {}
    for name, trait in content.traits.items():
        section = sections.setdefault(trait_section(name, plan.vocabulary), {})
        section[name] = [trait.value, trait.source, trait.at]
    groups = content.groups
    sections["identity"] = sorted(
        [i.kind, i.value, group if complete else 0] for i, group in groups.items() if complete or not has_ended(i)
    )
    sections["consents"] = _bound(content.consents) if complete else _in_force(content.consents)
    sections["subscriptions"] = _bound(content.subscriptions) if complete else _in_force(content.subscriptions)
    sections["timeline"] = [_fact(fact) for fact in content.timeline]
    sections["activity"] = {name: [a.total, list(a.recent)] for name, a in content.activity.items()}
    sections["interactions"] = [_interaction(found) for found in content.interactions.values()]
    sections["journeys"] = [
        [_journey(journey) for _, journey in sorted(content.journeys.items())],
        [_journey(journey) for journey in content.ended],
        {name: _tally(tally) for name, tally in content.tallies.items()},
    ]
    sections["decisions"] = [_fact(fact) for fact in content.decisions]
    sections["actions"] = [
        [_fact(fact) for fact in content.actions],
        {name: list(instants) for name, instants in content.caps.items()},
    ]
    if content.reservations or content.exposures or content.confirmed:
        sections["actions"] += [
            [_reservation(id_, held) for id_, held in content.reservations.items()],
            {name: list(exposure) for name, exposure in content.exposures.items()},
            [[id_.hex(), instant] for id_, instant in content.confirmed],
        ]
    if content.claims:
        sections["claims"] = [_claim(claim) for claim in content.claims.values()]
    if content.choices:
        sections["choices"] = {name: list(choice) for name, choice in content.choices.items()}
    if complete and content.apart:
        sections["apart"] = sorted([i.kind, i.value] for i in content.apart)
    if complete and content.retracted:
        sections["retracted"] = sorted(
            [*strong, *weak, said.until, sorted(id_.hex() for id_ in said.facts)]
            for (strong, weak), said in content.retracted.items()
        )
    if complete and content.begins:
        sections["begins"] = [[at, *name] for at, name in content.begins]
    through = content.through
    sections["envelope"] = [
        content.at, [through[0], through[1], through[2].hex()] if through else None, content.facts, content.next_due
    ]  # fmt: skip
    return sections


def shown(stored: Mapping[str, Plain]) -> dict[str, Plain]:
    """The wire's form of the store's, without making a content of it: `plain(..., complete=False)` of the same.

    Args:
        stored: plain sections of `plain(..., complete=True)`.
    """
    sections = {name: value for name, value in stored.items() if name not in _OF_THE_STORE}
    sections["identity"] = [
        [kind, value, 0] for kind, value, _ in stored["identity"] if not has_ended(Identifier(kind, value))
    ]
    for name in ("consents", "subscriptions"):
        if stored[name]:
            sections[name] = _in_force(_read_bound(stored[name]))
    return sections


def encode(content: Content, plan: Plan, dump: Callable[[Plain], bytes] = dumps) -> bytes:
    """The complete content as bytes: what a store keeps, and what "byte-identical" speaks of."""
    return dump(plain(content, plan))


def decode(data: bytes | str, load: Callable[[bytes | str], Plain] = json.loads) -> Content:
    """The content of `encode`."""
    return content_of(load(data))


def content_of(sections: Mapping[str, Plain]) -> Content:
    """A content from plain sections; those that are absent stay empty."""
    content = Content()
    for name, value in sections.items():
        reader = _READERS.get(name.partition(".")[0])
        if reader is not None:
            reader(content, value)
    return content


def _read_traits(content: Content, value: Plain) -> None:
    traits = {intern(name): Trait(said, intern(source), at) for name, (said, source, at) in value.items()}
    content.traits = {**content.traits, **traits}


def _read_identity(content: Content, value: Plain) -> None:
    content.groups = {Identifier(intern(kind), name): group for kind, name, group in value}


def _read_journeys(content: Content, value: Plain) -> None:
    running, ended, tallies = value
    content.journeys = {(journey.map, journey.key): journey for journey in map(_read_journey, running)}
    content.ended = [_read_journey(journey) for journey in ended]
    content.tallies = {name: Tally(*tally) for name, tally in tallies.items()}


def _read_actions(content: Content, value: Plain) -> None:
    content.actions = [_read_fact(fact) for fact in value[0]]
    content.caps = {name: tuple(instants) for name, instants in value[1].items()}
    if len(value) > 2:
        content.reservations = {
            bytes.fromhex(id_): Reservation(kind, tuple(slots), *rest) for id_, kind, slots, *rest in value[2]
        }
        content.exposures = {name: (arm, at) for name, (arm, at) in value[3].items()}
        content.confirmed = tuple((bytes.fromhex(id_), instant) for id_, instant in value[4])


def _read_retracted(content: Content, value: Plain) -> None:
    content.retracted = {
        (Identifier(*found[0:2]), Identifier(*found[2:4])): Retracted(found[4], frozenset(map(bytes.fromhex, found[5])))
        for found in value
    }


def _read_envelope(content: Content, value: Plain) -> None:
    content.at, through, content.facts, content.next_due = value
    content.through = (through[0], through[1], bytes.fromhex(through[2])) if through else None


_READERS: Final[dict[str, Callable[[Content, Plain], None]]] = {
    "traits": _read_traits,
    "identity": _read_identity,
    "consents": lambda content, value: setattr(content, "consents", _read_bound(value)),
    "subscriptions": lambda content, value: setattr(content, "subscriptions", _read_bound(value)),
    "timeline": lambda content, value: setattr(content, "timeline", [_read_fact(fact) for fact in value]),
    "activity": lambda content, value: setattr(
        content, "activity", {intern(name): activity_of(total, recent) for name, (total, recent) in value.items()}
    ),
    "interactions": lambda content, value: setattr(
        content, "interactions", {found[0]: Interaction(*found) for found in value}
    ),
    "journeys": _read_journeys,
    "decisions": lambda content, value: setattr(content, "decisions", [_read_fact(fact) for fact in value]),
    "actions": _read_actions,
    "envelope": _read_envelope,
    "claims": lambda content, value: setattr(content, "claims", {claim[0]: Claim(*claim) for claim in value}),
    "choices": lambda content, value: setattr(
        content, "choices", {name: (said, at, who) for name, (said, at, who) in value.items()}
    ),
    "retracted": _read_retracted,
    "begins": lambda content, value: setattr(content, "begins", tuple((at, Identifier(*name)) for at, *name in value)),
    "apart": lambda content, value: setattr(content, "apart", frozenset(Identifier(*name) for name in value)),
}
