"""What is remembered of a customer at a position is what the hub knew at it: live is the oracle (VE8).

Random lives with merges, retractions, endings, separations, limits that bite and facts that come late. After every unit
the living context of every identifier is kept; at the end all of them are recollected from the store alone.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import TypeVar

from hypothesis import given
from hypothesis import strategies as st
from segue.domain.content import Content
from segue.domain.fact import Fact
from segue.domain.fold import advance
from segue.domain.identifier import Identifier
from segue.wire import fact_from_bytes
from segue_hub.services.failure import Refusal
from segue_hub.services.moments import LATEST
from segue_hub.services.recollection import Reach, Recollection

from tests.lives import PLAN, POOL, Lives, lives
from tests.unit.logs import law

Result = TypeVar("Result")


def ended(slices: Generator[None, None, Result]) -> Result:
    """What work in slices gives at its end."""
    while True:
        try:
            next(slices)
        except StopIteration as end:
            result: Result = end.value
            return result


def recollection(world: Lives, name: Identifier, *, by_order: bool = False) -> Recollection | None:
    """Of today's customer of an identifier."""
    known = world.store.resolve(name)
    if known is None:
        return None
    past = Recollection(world.store, fact_from_bytes, known.customer, world.store.head()[0])
    ended(past.read(world.plans.current, by_order=by_order, refused=bool(world.store.verdicts())))
    return past


def content(world: Lives, past: Recollection, name: Identifier, reach: Reach) -> bytes | None:
    """What was known of an identifier; None where nobody was."""
    cluster, count = ended(past.of(name, reach, world.plans.current))
    ended(cluster.fold(world.plans.current, count))
    return world.bytes_of(cluster.content) if count else None


def living(world: Lives, name: Identifier) -> bytes | None:
    """The context of an identifier now, as a frame would carry it."""
    known = world.contexts.find(name)
    head = world.contexts.read(known.customer) if known is not None else None
    return world.bytes_of(head.content) if head is not None and head.position else None


@law(200)
@given(lives(), st.lists(st.integers(1, 4), max_size=6))
def test_as_known_then_is_what_was_known(facts: list[Fact], sizes: Sequence[int]) -> None:
    world, rest = Lives(), list(facts)
    then: dict[tuple[int, Identifier], bytes | None] = {}
    for size in [*sizes, len(rest)]:
        batch, rest = rest[:size], rest[size:]
        if batch:
            world.take(batch)
            then |= {(world.store.head()[0], name): living(world, name) for name in POOL}
    for name in POOL:
        past = recollection(world, name)
        for position in sorted({position for position, _ in then}):
            known = content(world, past, name, Reach(position)) if past is not None else None
            assert known == then[position, name], (position, name)


def spread(facts: Sequence[Fact]) -> list[Fact]:
    """The same facts, no two at one instant."""
    return [
        Fact(f.id, f.kind, f.type, f.occurred_at + number, f.seq, f.identifiers, f.channel, f.touchpoint, None, f.raw)
        for number, f in enumerate(facts)
    ]


@law(200)
@given(lives(), st.sampled_from([True, False]))
def test_by_the_order_of_facts_is_as_of_their_instants(facts: list[Fact], before: bool) -> None:
    world = Lives()
    world.take(facts := spread(facts))
    for name in POOL:
        past = recollection(world, name, by_order=True)
        for fact in sorted(facts, key=lambda fact: fact.order):
            try:
                as_of = world.past.as_of(name, world.moments.moment(fact.occurred_at - before)).content
            except Refusal:
                as_of = Content()
            mine = Content()
            if past is not None:
                cluster, count = ended(past.of(name, Reach(LATEST, fact.order, before=before), PLAN))
                ended(cluster.fold(PLAN, count))
                mine = cluster.content.fork()
            if as_of.facts or mine.facts:
                advance(mine, PLAN, as_of.at)
                assert world.bytes_of(mine) == world.bytes_of(as_of), (name, fact)
