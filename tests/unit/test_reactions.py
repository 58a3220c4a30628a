"""What of a map the type and the channel of an event decide: it is the same as what asking would answer."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from segue.domain.binding import ContextBindings
from segue.domain.content import Content
from segue.domain.expression import compile_tree
from segue.domain.fact import Fact
from segue.domain.journey_map import NOTHING
from segue.domain.plan import EMPTY
from segue.domain.scope import Scope
from segue.domain.tree_reading import event_types, property_named, type_decides
from segue.domain.vocabulary import Vocabulary

from tests.building import fact, realistic, small
from tests.unit.logs import law

TYPE = ["ident", "event.type"]
TYPES = ("a", "b", "c", "d")
_texts = st.sampled_from(TYPES).map(lambda name: ["string", name])
_leaves = st.one_of(
    st.booleans().map(lambda value: ["bool", value]),
    _texts.map(lambda text: ["call", "_==_", [TYPE, text]]),
    _texts.map(lambda text: ["call", "_==_", [text, TYPE]]),
    _texts.map(lambda text: ["call", "_!=_", [TYPE, text]]),
    st.lists(_texts, max_size=3).map(lambda texts: ["call", "@in", [TYPE, ["list", texts]]]),
    st.just(["call", "_==_", [["ident", "event.channel"], ["string", "web"]]]),
    st.just(["call", "seen", [["string", "web"]]]),
)
trees = st.recursive(
    _leaves,
    lambda inner: st.tuples(st.sampled_from(["_&&_", "_||_"]), inner, inner).map(
        lambda parts: ["call", parts[0], list(parts[1:])]
    ),
    max_leaves=5,
)


def holds(tree: list[Any], type_: str, content: Content) -> bool:
    event = fact(type_, "0s")
    scope = Scope(content, event.occurred_at, EMPTY, fact=event)
    return compile_tree(tree, ContextBindings(Vocabulary(), ())).holds(scope)


@law(400)
@given(trees, st.booleans())
def test_what_the_type_decides_is_what_asking_answers(tree: list[Any], seen: bool) -> None:
    content = Content()
    if seen:
        content.activity["web"] = None  # type: ignore[assignment]  # only whether it is there is asked
    types = event_types(tree)
    for type_ in TYPES:
        answer = holds(tree, type_, content)
        if type_decides(tree):
            assert answer is (types is None or type_ in types)
        elif answer:
            assert types is None or type_ in types


def test_a_tree_of_types_alone_is_decided() -> None:
    decided = ["call", "_||_", [["call", "_==_", [TYPE, ["string", "a"]]], ["call", "@in", [TYPE, ["list", []]]]]]
    assert type_decides(decided)
    assert not type_decides(["call", "_&&_", [decided, ["call", "seen", [["string", "web"]]]]])


def test_a_plan_asks_only_what_the_type_leaves_open() -> None:
    plan = realistic()
    started = {matcher.map.name: matcher for matcher in plan.reaction("transfer.started", "app").acting}
    assert list(started) == ["money_transfer"]
    assert started["money_transfer"].decided == (True, (), False, False)
    complaint = plan.reaction("complaint.sent", "web")
    assert [matcher.map.name for matcher in complaint.acting] == ["incident"]
    assert complaint.acting[0].decided is None, "its start counts complaints"
    help_ = plan.reaction("help.searched", "web")
    assert help_.acting == ()
    assert {matcher.map.name for matcher in help_.matchers} == {"money_transfer", "incident"}
    assert all(matcher.decided == NOTHING for matcher in help_.matchers)
    assert help_.kept == (("help.searched", 16), ("web", 16))
    assert plan.reaction("web", "web").kept == (("web", 16),)
    assert plan.reaction("mail.opened", "").kept == (("mail.opened", 16),)


@pytest.mark.parametrize(
    ("key", "raw", "running"),
    [
        ("event.properties.id", b'{"id":"T1"}', [("m", "T1")]), ("event.properties.id", b'{"id":7.0}', [("m", "7")]),
        ("event.properties.id", b'{"id":null}', []), ("event.properties.id", b"{}", []),
        ("event.properties.id", b'{"id":{"a":1}}', []),
        ('event.properties.id + "x"', b'{"id":"T1"}', [("m", "T1x")]), ('event.properties.id + "x"', b"{}", []),
    ],
)  # fmt: skip
def test_a_key_that_is_a_plain_property_is_what_the_expression_says(
    key: str, raw: bytes, running: list[tuple[str, str]]
) -> None:
    from segue.domain.fold import fold

    plan = small(maps={"m": {"starts": 'event.type == "a"', "key": key}})
    assert bool(property_named(plan.document["maps"]["m"]["key"]["tree"])) is (key == "event.properties.id")
    event: Fact = fact("a", "0s")
    event.raw = raw
    event.forget()
    assert list(fold(plan, [event]).journeys) == running
