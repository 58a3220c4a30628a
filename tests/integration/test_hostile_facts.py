"""Facts that somebody made to break things: refused at the edge, and harmless where they are stored already."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import segue
from segue.domain.expression import NEVER
from segue.domain.expression.compiler import Compiled
from segue.domain.expression.failure import ExpressionError
from segue.domain.fact import MAX_NAME, MAX_NESTED, Fact
from segue.domain.identifier import parse_identifier
from segue.domain.interaction import InteractionRef
from segue.v1 import context_pb2
from segue_hub.server.context_service import Projections
from segue_hub.services import admission
from segue_hub.testing import RunningHub, run_hub

from tests.calling import Caller, calling, event, now
from tests.streaming import streaming
from tests.waiting import eventually
from tests.watch_checks import sections

PLAN = {
    "maps/m.yaml": "map: m\ntitle: t\ngoal: g\nowner: o\n"
    "starts: 'event.type == \"x\" && event.properties.a == event.properties.b'\n"
    "key: 'event.properties.a'\n"
    "reaches_goal: 'event.type == \"y\"'\n"
}


@pytest.fixture(scope="module")
def hub() -> Iterator[RunningHub]:
    with run_hub(PLAN) as running:
        yield running


@pytest.fixture
def app(hub: RunningHub) -> Iterator[Caller]:
    with calling(hub.address, hub.key("app")) as caller:
        yield caller


def nested(depth: int, name: str) -> Fact:
    """A fact with two equal lists of lists of lists."""
    lists = "[" * depth + "]" * depth
    made = event("x", name)
    made.raw = f'{{"a":{lists},"b":{lists}}}'.encode()
    return made


def count(context: context_pb2.Context) -> int:
    return int(json.loads(next(s.data for s in context.sections if s.name == "envelope"))[2])


# Deep nesting.


def test_properties_nested_too_deep_are_refused_at_the_edge_and_those_at_the_bound_are_taken(app: Caller) -> None:
    assert app.statuses(nested(MAX_NESTED, "account=H-1")) == ["ACCEPTED"]
    for depth in (MAX_NESTED + 1, 300, 900, 5000, 30_000):
        ((status, code, reason),) = app.send(nested(depth, "account=H-1"))
        assert (status, code) == ("REJECTED", "FACT_INVALID")
        assert "properties" in reason
    assert count(app.context("account=H-1")) == 1


def test_properties_with_many_lists_that_are_not_deep_are_taken(app: Caller) -> None:
    assert app.statuses(event("x", "account=H-2", rows=[[number] for number in range(500)])) == ["ACCEPTED"]


@pytest.mark.parametrize("depth", [300, 940, 5000, 30_000])
def test_a_fact_nested_too_deep_that_is_stored_already_ends_no_fold(
    app: Caller, hub: RunningHub, monkeypatch: pytest.MonkeyPatch, depth: int
) -> None:
    name = f"account=H-3-{depth}"
    with monkeypatch.context() as before_the_bound:
        before_the_bound.setattr(admission, "check", lambda fact: None)
        assert app.statuses(nested(depth, name)) == ["ACCEPTED"]
    assert hub.hub.ingest.accepting
    assert app.statuses(event("x", name, a=1, b=1)) == ["ACCEPTED"]
    assert count(app.context(name)) == 2

    async def again() -> int:
        known = hub.hub.contexts.find(parse_identifier(name))
        assert known is not None
        return hub.hub.contexts._fold(known.customer, hub.hub.plans.current).content.facts

    assert hub.call(again()) == 2


@pytest.mark.parametrize("error", [RecursionError, OverflowError, ValueError, TypeError])
def test_what_python_raises_on_a_hostile_value_is_an_expression_without_a_value(error: type[Exception]) -> None:
    class Hostile:
        def plain(self, env: Any) -> Any:
            raise error("on a value that no customer has")

        def flipping(self) -> Callable[[Any], Any]:
            return self.plain

    node: Any = Hostile()
    env: Any = None
    compiled = Compiled(node, moves=True)
    assert compiled.holds(env) is False
    assert compiled.holds_until(env) == (False, NEVER)
    with pytest.raises(ExpressionError, match=error.__name__):
        compiled.value(env)


# Names without end.


@pytest.mark.parametrize("field", ["type", "channel", "interaction.id"])
def test_names_longer_than_the_bound_are_refused_and_those_at_it_are_taken(app: Caller, field: str) -> None:
    def named(length: int) -> Fact:
        made, name = event("x", "account=H-4"), "n" * length
        if field == "interaction.id":
            made.interaction = InteractionRef(name)
        else:
            setattr(made, field, name)
        return made

    assert app.statuses(named(MAX_NAME)) == ["ACCEPTED"]
    ((status, code, reason),) = app.send(named(MAX_NAME + 1))
    assert (status, code) == ("REJECTED", "FACT_INVALID")
    assert field in reason


# Contexts that cannot be sent.


@pytest.fixture
def broken(app: Caller, hub: RunningHub, monkeypatch: pytest.MonkeyPatch) -> str:
    """A customer whose context cannot be made into a message."""
    app.send(event("x", "account=H-5-broken"))
    known = hub.hub.contexts.find(parse_identifier("account=H-5-broken"))
    encoded = Projections.encoded

    def failing(self: Projections, customer: int, *more: Any) -> Any:
        assert known is not None
        if customer == known.customer:
            raise ValueError("cannot be sent")
        return encoded(self, customer, *more)

    monkeypatch.setattr(Projections, "encoded", failing)
    return "account=H-5-broken"


def test_a_context_that_cannot_be_sent_ends_its_subscription_and_not_the_stream(
    hub: RunningHub, app: Caller, broken: str
) -> None:
    app.send(event("x", "account=H-6"))
    with streaming(app, hub=hub) as stream:
        stream.subscribe(1, broken)
        stream.subscribe(2, "account=H-6")
        (error,) = eventually(lambda: stream.heard("error"))
        assert (error.subscription, error.code) == (1, "CONTEXT_BROKEN")
        stream.frame(2)
        app.send(event("x", broken), event("x", "account=H-6"))
        frame = stream.frame(2, lambda f: sections(f)["envelope"][2] == 2)  # type: ignore[index]
        assert frame.context.customer
        assert stream.frames(1) == []
        assert not stream.ended.is_set()


def test_a_touchpoint_with_a_customer_that_cannot_be_sent_decides_on_all_others(
    hub: RunningHub, broken: str, tmp_path: Path
) -> None:
    touchpoint = segue.Touchpoint("app", hub=hub.address, key=hub.key("app"), state=tmp_path)
    kind, _, value = broken.partition("=")
    with touchpoint.session(wait=0, **{kind: value}) as bad, touchpoint.session(account="H-7", wait=5) as good:
        good.track("x")
        eventually(lambda: good.context().version)
        eventually(lambda: any("CONTEXT_BROKEN" in error for error in touchpoint.status()["errors"]))
        assert bad.context().freshness.state == "MISSING"
        assert touchpoint.status()["connection"] == "READY"
    touchpoint.close()


# Clocks that are none.


@pytest.mark.parametrize("sent_at", [2**62, 2**63 - 1, -(2**62), -(2**63), 1], ids=str)
def test_a_time_of_sending_that_is_none_is_refused(app: Caller, hub: RunningHub, sent_at: int) -> None:
    ((status, _, reason),) = app.send(event("x", "account=H-8", at=now() - 10**9), sent_at=sent_at)
    assert status == "REJECTED"
    assert "sent_at" in reason or "future" in reason
    assert app.statuses(event("x", "account=H-9")) == ["ACCEPTED"]
    assert hub.hub.ingest.accepting
