"""A fact as it is stored: made of the message it came in, it is the fact that the edge let through."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from segue.domain.fact import EVENT, KINDS, Fact
from segue.domain.identifier import Identifier
from segue.domain.interaction import InteractionRef
from segue.v1 import fact_pb2
from segue.wire import fact_from_bytes, fact_from_wire, fact_to_bytes, fact_to_wire, facts_from_bytes, stamped

from tests.building import action, consent, decision, fact, link, subscription, trait
from tests.unit.logs import law, logs

names = st.text(min_size=1, max_size=20)


def let_through(message: fact_pb2.Fact, type_: str, channel: str, touchpoint: str, skew: int) -> Fact:
    """What the edge makes of a message."""
    read = fact_from_wire(message)
    read.type = type_ if read.kind == EVENT else read.type
    read.channel, read.touchpoint = channel, touchpoint
    read.occurred_at += skew
    return read


@law(100)
@given(logs(least=1), names, names, names, st.integers(-(10**9), 10**9))
def test_what_is_stored_reads_back_as_the_fact_that_was_folded(
    facts: list[Fact], type_: str, channel: str, touchpoint: str, skew: int
) -> None:
    for each in facts:
        message = fact_to_wire(each)
        admitted = let_through(message, type_, channel, touchpoint, skew)
        stored = stamped(message, admitted)
        assert fact_from_bytes(stored) == admitted
        assert fact_from_bytes(fact_to_bytes(admitted)) == admitted


@law(100)
@given(logs(least=1, most=30), st.randoms(use_true_random=False))
def test_many_are_read_as_they_are_one_by_one(facts: list[Fact], chance: random.Random) -> None:
    told = []
    for number, each in enumerate(facts):
        values = chance.sample(["A-1", "A-2", "c"], 1 + number % 2)
        names = tuple(Identifier(chance.choice(["account", "cookie"]), value) for value in values)
        call = InteractionRef("i-1", "inbound", "") if chance.random() < 0.3 else None
        told.append(
            Fact(each.id, each.kind, each.type, each.occurred_at, each.seq, names, "ivr", "desk", call, each.raw)
        )
    stored = [fact_to_bytes(each) for each in told]
    assert list(facts_from_bytes(stored)) == [fact_from_bytes(each) for each in stored]
    own = [each for each in stored if fact_from_bytes(each).identifiers == (Identifier("account", "A-1"),)]
    several = [each for each in stored if len(fact_from_bytes(each).identifiers) > 1]
    mixed = [*own, *several]
    assert list(facts_from_bytes(mixed, Identifier("account", "A-1"))) == [fact_from_bytes(each) for each in mixed]


EACH_KIND = [
    fact("help.searched", "0s", visit="V1", query="transfer"), link("0s", "account=A-1", "cookie=c"),
    trait("value_tier", "high", "0s"), consent("marketing", "denied", "0s"), subscription("offers", "opted_in", "0s"),
    decision("chat.route", "bot", "0s"), action("offer.upsell", "0s", topic="t", purpose="p", note="n"),
]  # fmt: skip


@pytest.mark.parametrize("each", EACH_KIND, ids=lambda each: each.kind)
def test_every_kind_is_read_with_names_that_all_facts_share(each: Fact) -> None:
    one, other = (fact_from_bytes(fact_to_bytes(each)) for _ in range(2))
    assert one == other
    assert one.kind is other.kind
    assert one.kind in KINDS
    assert (one.type, one.channel, one.touchpoint) == (each.type, each.channel, each.touchpoint)
    assert one.type is other.type
    assert one.channel is other.channel
    assert [name.kind for name in one.identifiers] == [name.kind for name in each.identifiers]
    assert all(a.kind is b.kind for a, b in zip(one.identifiers, other.identifiers, strict=True))
    assert next(iter(facts_from_bytes([fact_to_bytes(each)]))) == one


@pytest.mark.parametrize(("unknown", "kept"), [(40, True), (1_000_000, False)])
def test_fields_that_nobody_knows_are_kept_as_long_as_they_are_few(unknown: int, kept: bool) -> None:
    """A hub that is older than its producers loses nothing, and nobody fills its log with what no limit sees."""
    plain = fact("help.searched", "0s", query="transfer")
    length = bytes([unknown]) if unknown < 128 else b"\xc0\x84\x3d"
    message = fact_pb2.Fact.FromString(fact_to_bytes(plain) + b"\xfa\x3e" + length + b"x" * unknown)  # field 1007
    stored = stamped(message, let_through(message, plain.type, "web", "app", 0))
    assert (b"xxxx" in stored) is kept
    assert len(stored) < 2_500
    assert fact_from_bytes(stored).raw == plain.raw
