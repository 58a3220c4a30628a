"""Who is one is a function of the set of links and statements: whatever the order, the batches and the backend.

The oracle here is written from the rule's words (docs/reference/identity.md), slowly, and shares no code with it.
"""

from __future__ import annotations

import contextlib
import random
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from segue.domain.fact import EVENT, Fact, properties_bytes
from segue.domain.identifier import Identifier, IdentifierKind, IdentifierKinds
from segue.wire import fact_from_bytes, fact_to_bytes
from segue_hub.services.resolution import Resolution
from segue_hub.services.resolved import Memory
from segue_hub.storage.memory import MemoryStore
from segue_hub.storage.ports import Store
from segue_hub.storage.sqlite import SqliteStore

KINDS = IdentifierKinds(
    {
        "account": IdentifierKind(priority=1, per_customer=1),
        "email": IdentifierKind(priority=2, per_customer=2),
        "phone": IdentifierKind(priority=3, partners=2),
        "cookie": IdentifierKind(priority=9, partners=3),
    },
    most=7,
)
POOL = [Identifier(kind, f"{kind[0]}{n}") for kind in ("account", "email", "phone", "cookie") for n in range(4)]

Span = tuple[Identifier, int]


def oracle(facts: Sequence[Fact]) -> set[frozenset[Span]]:  # noqa: C901  # the rule in one piece, as the page says it
    """The customers, as sets of (identifier, since)."""
    strength = KINDS.strength
    seen, said = [], []
    for fact in facts:
        names = sorted(set(fact.identifiers), key=strength)
        if fact.kind in ("retraction", "ending", "separation"):
            said.append((fact.occurred_at, fact.id, fact.kind, names[0], names[1], fact.properties.get("fact", "")))
        else:
            seen += [(fact.occurred_at, fact.id, names[0], other) for other in names[1:]]
    said.sort()

    def is_taken_back(at: int, id_: bytes, a: Identifier, b: Identifier) -> bool:
        return any(
            kind == "retraction" and (x, y) == (a, b) and (target == id_.hex() if target else at <= when)
            for when, _, kind, x, y, target in said
        )

    def is_undone(id_: bytes, a: Identifier, b: Identifier) -> bool:
        return any(k == "retraction" and (x, y) == (a, b) and t == id_.hex() for _, _, k, x, y, t in said)

    live = [link for link in seen if not is_taken_back(*link)]
    births: dict[Identifier, list[int]] = {name: [0] for fact in facts for name in fact.identifiers}
    for when, id_, kind, a, b, _ in said:
        if kind == "ending" and not is_undone(id_, a, b):
            began = births[b][-1]
            if when > began and any((x, y) == (a, b) and began <= at < when for at, _, x, y in live):
                births[b].append(when)

    def span(name: Identifier, at: int) -> Span:
        return name, max(birth for birth in births[name] if birth <= at)

    pairs: dict[tuple[Span, Span], tuple[int, bytes]] = {}
    for at, id_, a, b in sorted(live, key=lambda link: link[:2]):
        pairs.setdefault((span(a, at), span(b, at)), (at, id_))
    partners: dict[Span, set[Identifier]] = {}
    for left, right in pairs:
        for own, other in ((left, right), (right, left)):
            if KINDS.priority(other[0].kind) <= KINDS.priority(own[0].kind):
                partners.setdefault(own, set()).add(other[0])
    crowded = {own for own, others in partners.items() if len(others) > KINDS.partners(own[0].kind)}
    customers: list[set[Span]] = [{(name, birth)} for name, births_ in births.items() for birth in births_]

    def may_be_one(together: set[Span]) -> bool:
        counts = Counter(name.kind for name, _ in together)
        if len(together) > 7 or counts["account"] > 1 or counts["email"] > 2:
            return False
        names = {name for name, _ in together}
        return not any(
            kind == "separation" and a in names and b in names and not is_undone(id_, a, b)
            for _, id_, kind, a, b, _ in said
        )

    def turn(entry: tuple[tuple[Span, Span], tuple[int, bytes]]) -> Any:
        (left, right), (at, id_) = entry
        return KINDS.priority(right[0].kind), at, id_, strength(right[0]), strength(left[0])

    for (left, right), _ in sorted(pairs.items(), key=turn):
        one = next(c for c in customers if left in c)
        other = next(c for c in customers if right in c)
        if one is not other and not {left, right} & crowded and may_be_one(one | other):
            customers.remove(other)
            one |= other
    return {frozenset(customer) for customer in customers}


def ingested(store: Store, facts: Sequence[Fact], sizes: Sequence[int], forget: bool = False) -> None:
    """Takes facts in, in units of these sizes; `forget` as if the hub were started again after each."""
    memory, rest, position = Memory(), list(facts), 0
    number = 0
    for size in [*sizes, len(facts)]:
        batch, rest = rest[:size], rest[size:]
        if not batch:
            continue
        memory = Memory() if forget else memory
        with store.unit() as unit:
            names = [name for fact in batch for name in fact.identifiers]
            resolution = Resolution(unit, KINDS, number, names, memory, fact_from_bytes)
            leaves = []
            for fact in batch:
                position += 1
                leaf = resolution.link(fact, position)
                leaves.append((fact, leaf))
                order = fact.occurred_at, fact.seq
                unit.append(position, fact.id, leaf.number, leaf.bucket, order, 0, fact_to_bytes(fact))
            resolved = resolution.settle(position)
        told = {fact.id: resolution.customer(leaf, fact.occurred_at) for fact, leaf in leaves}
        resolution.remember(resolved)
        number = resolution.last_number
        for fact, leaf in leaves:
            eras = store.eras(leaf.number) or [store.resolve(KINDS.strongest(fact.identifiers))]
            stored = next(k.customer for k in reversed(eras) if k is not None and k.since <= fact.occurred_at)
            assert stored == told[fact.id], "what the unit says of a fact's customer is what the store says"


def customers(store: Store) -> set[frozenset[Span]]:
    found = set()
    for customer in store.customers(0, 1000):
        members = store.members(customer)
        found.add(frozenset((name, known.since) for name, known in members))
        strongest = min(members, key=lambda m: (*KINDS.strength(m[0]), m[1].since))[1]
        assert customer == (strongest.era or strongest.number), "a customer is named by its strongest identifier"
        for name, known in members:
            last = store.resolve(name)
            assert last is not None
            if known.until > 1 << 60:
                assert last.customer == customer
    return found


@st.composite
def histories(draw: st.DrawFn) -> list[Fact]:
    facts: list[Fact] = []
    count = draw(st.integers(1, 14))
    for number in range(count):
        at = draw(st.integers(1, 12))
        kind = draw(st.sampled_from([EVENT] * 7 + ["retraction", "ending", "separation"]))
        size = 2 if kind != EVENT else draw(st.sampled_from([1, 2, 2, 2, 3]))
        names = draw(st.lists(st.sampled_from(POOL), min_size=size, max_size=size, unique=True))
        raw = b"{}"
        if kind == "retraction" and facts and draw(st.booleans()):
            other = draw(st.sampled_from([f for f in facts if len(f.identifiers) > 1] or facts))
            if len(other.identifiers) > 1:
                names = list(other.identifiers)[:2]
                raw = properties_bytes({"fact": other.id.hex()})
        id_ = number.to_bytes(16, "big")
        facts.append(Fact(id_, kind, "t", at, number, tuple(names), raw=raw))
    return facts


@settings(deadline=None, max_examples=400)
@given(histories(), st.randoms(use_true_random=False), st.lists(st.integers(1, 5), max_size=6), st.booleans())
def test_any_arrival_order_makes_the_customers_that_the_rule_says(
    facts: list[Fact], chance: random.Random, sizes: list[int], forget: bool
) -> None:
    arrived = list(facts)
    chance.shuffle(arrived)
    store = MemoryStore()
    ingested(store, arrived, sizes, forget)
    assert customers(store) == oracle(facts)


@pytest.mark.parametrize("seed", range(6))
def test_sqlite_makes_the_same_customers(tmp_path: Any, seed: int) -> None:
    chance = random.Random(seed)  # a seeded history, no secret
    facts = []
    for number in range(60):
        kind = chance.choice([EVENT] * 9 + ["retraction", "ending", "separation"])
        names = chance.sample(POOL, 2 if kind != EVENT else chance.choice([1, 2, 2, 3]))
        facts.append(Fact(number.to_bytes(16, "big"), kind, "t", chance.randint(1, 50), number, tuple(names)))
    arrived = list(facts)
    chance.shuffle(arrived)
    with contextlib.closing(SqliteStore(tmp_path / "segue.db")) as store:
        ingested(store, arrived, [chance.randint(1, 9) for _ in range(30)])
        assert customers(store) == oracle(facts)
        assert list(store.check()) == []
