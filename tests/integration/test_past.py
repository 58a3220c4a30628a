"""A customer as of an instant: the same identity and the same fold on the facts of that time (VE8).

The expected customer is made independently: by the pure rule and the pure fold from the list of facts.
"""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st
from segue.domain.content import Content
from segue.domain.fact import STATEMENTS, Fact
from segue.domain.fold import advance, fold
from segue.domain.holding import holding
from segue.domain.identifier import Identifier
from segue.domain.identity import Node, Selection, links_of, partition, select, statement_of
from segue_hub.services.failure import Refusal
from segue_hub.services.moments import LATEST, Known

from tests.building import BEGIN, DAY, MINUTE
from tests.lives import PLAN, POOL, Lives, lives
from tests.unit.logs import law

KINDS = PLAN.kinds
instants = st.sampled_from([BEGIN + n * 5 * MINUTE - d for n in range(14) for d in (0, 1)])


def expected(facts: Sequence[Fact], name: Identifier, at: int) -> tuple[set[Identifier], Content] | None:
    """Who a name was at an instant, by all that was said of it, and what was known of her: without any store."""
    told = [fact for fact in facts if fact.occurred_at <= at]
    links = [link for fact in told for link in links_of(fact, KINDS)]
    said = [statement_of(fact, KINDS) for fact in facts if fact.kind in STATEMENTS]
    if not any(name in fact.identifiers for fact in told):
        return None
    selection = select(links, said)
    own = selection.node(name, at)
    names = {name} | {i for fact in told for i in fact.identifiers}
    (nodes,) = (found for found in partition(KINDS, links, said, names).clusters if own in found)
    members = {node.identifier for node in nodes if node.since <= at}
    mine = [fact for fact in told if selection.node(KINDS.strongest(fact.identifiers), fact.occurred_at) in nodes]
    content = fold(
        PLAN, mine, holding(mine, [(node.identifier, node.since) for node in nodes if node.since <= at], KINDS)
    )
    advance(content, PLAN, at)
    return members, content


def taken(facts: Sequence[Fact], sizes: Sequence[int]) -> Lives:
    world, rest = Lives(), list(facts)
    for size in [*sizes, len(rest)]:
        batch, rest = rest[:size], rest[size:]
        if batch:
            world.take(batch)
    return world


@law(100)
@given(lives(), st.lists(st.integers(1, 4), max_size=4), st.sampled_from(POOL), instants)
def test_as_of_is_the_fold_of_the_facts_until_then(
    facts: list[Fact], sizes: list[int], name: Identifier, at: int
) -> None:
    world, wanted = taken(facts, sizes), expected(facts, name, at)
    try:
        found = world.past.as_of(name, world.moments.moment(at))
    except Refusal:
        assert wanted is None
        return
    assert wanted is not None
    assert set(found.held.names) == wanted[0]
    assert world.bytes_of(found.content) == world.bytes_of(wanted[1])


@law(100)
@given(lives(), st.lists(st.integers(1, 4), max_size=4), st.sampled_from(POOL))
def test_as_of_now_is_the_current_context(facts: list[Fact], sizes: list[int], name: Identifier) -> None:
    world, now = taken(facts, sizes), BEGIN + DAY
    current = world.read(name, now)
    if current is None:
        return
    found = world.past.as_of(name, world.moments.moment(now))
    assert world.bytes_of(found.content) == current
    known = world.contexts.find(name)
    assert known is not None
    assert found.held.names == list(dict.fromkeys(world.contexts.identifiers(known.customer)))
    spans = sorted((span.number, span.since, span.until) for span in found.held.spans)
    assert spans == sorted((own.number, own.since, own.until) for _, own in world.store.members(known.customer))


@law(100)
@given(
    lives(), st.lists(st.integers(1, 4), min_size=1, max_size=5), st.sampled_from(POOL), instants, st.integers(0, 15)
)
def test_as_known_then_is_what_a_hub_would_have_said_that_never_heard_the_rest(
    facts: list[Fact], sizes: list[int], name: Identifier, at: int, position: int
) -> None:
    world, wanted = taken(facts, sizes), expected(facts[:position], name, at)
    moment = world.moments.by_the_plan_in_force(at, Known(position=position))
    try:
        found = world.past.as_of(name, moment)
    except Refusal:
        assert wanted is None
        return
    assert wanted is not None
    assert set(found.held.names) == wanted[0]
    assert world.bytes_of(found.content) == world.bytes_of(wanted[1])


def whose(facts: Sequence[Fact], name: Identifier, at: int, until: int) -> tuple[set[Node], Selection]:
    """With which identifiers, in which eras, a name is one by the facts that occurred until an instant."""
    links = [link for fact in facts if fact.occurred_at <= until for link in links_of(fact, KINDS)]
    said = [statement_of(fact, KINDS) for fact in facts if fact.kind in STATEMENTS]
    selection = select(links, said)
    names = {name} | {i for fact in facts for i in fact.identifiers}
    own = selection.node(name, at)
    (nodes,) = (found for found in partition(KINDS, links, said, names).clusters if own in found)
    return set(nodes), selection


@law(200)
@given(
    lives(), st.lists(st.integers(1, 4), min_size=1, max_size=5), st.sampled_from(POOL), instants, st.integers(0, 15)
)
def test_a_touchpoint_is_shown_of_the_past_only_what_is_still_hers(
    facts: list[Fact], sizes: list[int], name: Identifier, at: int, position: int
) -> None:
    """Regression: a look at what was known before a wrong merge was undone showed a stranger's facts to a key."""
    world, known = taken(facts, sizes), facts[:position]
    moment = world.moments.by_the_plan_in_force(at, Known(position=position))
    try:
        found = world.past.as_of(name, moment, hers_now=True)
    except Refusal:
        return
    then, by_then = whose(known, name, at, at)
    now, by_now = whose(facts, name, at, LATEST)
    members = {node.identifier for node in then} & {node.identifier for node in now}
    mine = [
        fact
        for fact in known
        if fact.occurred_at <= at
        and by_then.node(KINDS.strongest(fact.identifiers), fact.occurred_at) in then
        and by_now.node(KINDS.strongest(fact.identifiers), fact.occurred_at) in now
    ]
    assert members.issuperset(found.held.names)
    content = fold(PLAN, mine, holding(mine, found.held.eras, KINDS))
    advance(content, PLAN, at)
    assert world.bytes_of(found.content) == world.bytes_of(content)


@law(100)
@given(lives(), st.lists(st.integers(1, 4), max_size=5), st.lists(st.integers(-3, 20), min_size=2, max_size=4))
def test_what_is_known_grows_with_the_instant(facts: list[Fact], sizes: list[int], seconds: list[int]) -> None:
    world = taken(facts, sizes)
    positions = [world.moments.position(Known(at=BEGIN + s * 1_000_000)) for s in sorted(seconds)]
    assert positions == sorted(positions)
    assert world.moments.position(Known(at=world.now)) == len(facts)
    assert world.moments.position(Known(at=BEGIN)) == 0
    assert world.moments.moment(LATEST - 1).position > len(facts), "all of it, where nothing is said"


@law(100)
@given(lives(), st.sampled_from(POOL), instants)
def test_between_two_equal_instants_nothing_changed(facts: list[Fact], name: Identifier, at: int) -> None:
    world = taken(facts, [3])
    moment = world.moments.moment(at)
    try:
        found = world.past.diff(name, moment, moment)
    except Refusal:
        return
    assert found["words"] == []
    assert not any(found[sort] for sort in ("identifiers", "traits", "journeys", "audiences", "activity", "facts"))
