"""Echoes: a context waits a little where its client shows all that is new of it already (ADR 0018).

Owns the law that makes this safe: whenever the hub says that a client shows a content, laying its own facts over what
it was told last gives what the hub would tell it. And how long an echo waits, and what ends the waiting.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import event, given
from hypothesis import strategies as st
from segue.domain.content import Content
from segue.domain.fact import DECISION, EVENT, Fact
from segue.domain.fold import fold
from segue.domain.grant import SECTIONS, Grant
from segue.domain.overlay import overlaid
from segue.domain.plan import Plan
from segue.domain.projection import Projected, foreseen, project, receive
from segue.domain.section import plain
from segue_hub.services.fan_out import ECHO, ECHOED, Stream, Subscription
from segue_hub.services.head import Head, head_of

from tests.building import BEGIN, HOUR, MINUTE, document, fact
from tests.coordinating import COORDINATED
from tests.unit.logs import PEOPLE, law, logs

JUDGED = Plan(document(COORDINATED))
_ARMS = {"guardrails": {"control_group": COORDINATED["guardrails"]["control_group"]}}
MAPPED = Plan(document({**{name: part for name, part in COORDINATED.items() if name != "audiences"}, **_ARMS}))
"""Little of it is decided for who sees little, so that much is foreseen."""
ERAS = [(name, 0) for name in PEOPLE]
TYPES = ("transfer.started", "transfer.details_entered", "transfer.completed", "call.started", "help.searched",
         "mail.opened", "complaint.sent", "interaction.ended")  # fmt: skip


@st.composite
def own_facts(draw: st.DrawFn, after: int) -> list[Fact]:
    """What a touchpoint tells next, in the order it shows it: mostly events, mostly in order, mostly of one name."""
    at, told = after, []
    for number in range(draw(st.integers(1, 4))):
        at += draw(st.sampled_from([1, 1, MINUTE, HOUR, 0, -MINUTE]))
        kind, type_ = draw(st.sampled_from([(EVENT, name) for name in TYPES] + [(DECISION, "chat.route")]))
        names = draw(st.sampled_from([*[[name] for name in PEOPLE[:2]] * 3, list(PEOPLE[:2])]))
        details: dict[str, Any] = {"transfer_id": draw(st.sampled_from(["T1", "T2", "T9"]))}
        if kind == DECISION:
            details = {"value": "bot"}
        made = fact(type_, at, *map(str, names), kind=kind, **details)
        told.append(as_told(made, number))
    return told


def as_told(found: Fact, seq: int) -> Fact:
    """The same, as the touchpoint `test` told it."""
    return Fact(
        found.id, found.kind, found.type, found.occurred_at, seq, found.identifiers, "voice", "test", None, found.raw
    )


def subscription(told: Head, pending: Sequence[Fact]) -> Subscription:
    """One whose client was told a head, and shows these over it."""
    made = Subscription(1, PEOPLE[0], "service", Stream("test"))
    made.told(told)
    assert made.expect([each.id for each in pending], 1000)
    return made


def seen(projected: Projected, plan: Plan) -> dict[str, Any]:
    """All that can be read of a context, but for how far its timeline reaches back."""
    sections = plain(projected.content, plan, complete=False)
    hidden = {name.partition(".")[0] for name in projected.hidden} - {"traits"}
    found = {name: part for name, part in sections.items() if name not in hidden and name != "timeline"}
    return {**found, "hidden": projected.hidden, "audiences": projected.audiences, "guardrails": projected.guardrails}


@law(150)
@given(
    logs(least=1, most=12), st.data(), st.sampled_from([JUDGED, MAPPED]),
    st.one_of(st.just(set(SECTIONS)), st.sets(st.sampled_from(SECTIONS), min_size=len(SECTIONS) - 3)),
    st.randoms(use_true_random=False),
)  # fmt: skip
def test_what_the_hub_holds_to_be_shown_is_what_it_would_tell(
    life: list[Fact], data: st.DataObject, plan: Plan, sections: set[str], chance: random.Random
) -> None:
    own = data.draw(own_facts(life[-1].occurred_at))
    foreign = [each for each in data.draw(logs(most=1)) if chance.random() < 0.3]
    grant = Grant(touchpoint="test", channel="voice", reads={"service": tuple(sections)})
    before, after = [head_of(plan, enumerate(facts, 1), ERAS) for facts in (life, life + own + foreign)]
    held = subscription(before, [each for each in own if chance.random() < 0.95])
    shows = held.shows(own, after.content)
    sees = foreseen(plan, grant, "service")
    event(f"shows {shows}, foreseen {sees}")
    if not (shows and sees):
        return
    at = after.content.at
    base = receive(project(before.content, plan, grant, "service", at)[0])
    told = receive(project(after.content, plan, grant, "service", at)[0])
    laid = overlaid(base, plan, own)
    assert seen(laid, plan) == seen(told, plan)
    count = len(told.content.timeline)
    assert [each.id for each in laid.content.timeline][-count:] == [each.id for each in told.content.timeline]


def test_control_who_may_not_see_what_drives_a_journey_does_not_foresee_it() -> None:
    reads = tuple(name for name in SECTIONS if name != "claims")
    grant = Grant(touchpoint="test", channel="voice", reads={"service": reads})
    claim = fact("conversation", BEGIN, str(PEOPLE[0]), kind="claim", status="held", until=BEGIN + HOUR)
    life = [fact("transfer.started", BEGIN, str(PEOPLE[0]), transfer_id="T1"), claim]
    own = fact("call.started", BEGIN + MINUTE, str(PEOPLE[0]))
    before, after = [fold(MAPPED, facts) for facts in (life, [*life, own])]
    laid = overlaid(receive(project(before, MAPPED, grant, "service", own.occurred_at)[0]), MAPPED, [own])
    told = receive(project(after, MAPPED, grant, "service", own.occurred_at)[0])
    assert seen(laid, MAPPED) != seen(told, MAPPED)
    assert not foreseen(MAPPED, grant, "service")
    assert foreseen(MAPPED, replace(grant, reads={"service": SECTIONS}), "service")


LIFE = [fact("transfer.started", BEGIN + number, str(PEOPLE[0]), transfer_id="T1") for number in range(3)]
NEXT = fact("help.searched", BEGIN + HOUR, str(PEOPLE[0]))
MANY = [fact("help.searched", BEGIN + HOUR + number * MINUTE, str(PEOPLE[0])) for number in range(1, ECHOED + 1)]


def head(facts: Sequence[Fact]) -> Head:
    return head_of(MAPPED, enumerate(facts, 1), ERAS)


@pytest.mark.parametrize(
    ("told", "pending", "news", "now"),
    [
        (LIFE, [], [NEXT], [*LIFE, NEXT]),
        (LIFE[:2], [NEXT], [NEXT], [*LIFE, NEXT]),
        ([*LIFE[:2], NEXT], [LIFE[2]], [LIFE[2]], [*LIFE, NEXT]),
        (LIFE, [LIFE[0], NEXT], [LIFE[0], NEXT], [*LIFE, NEXT]),
        (LIFE, [NEXT, *MANY], [NEXT], [*LIFE, NEXT]),
    ],
    ids=["not asked about", "something else came", "late", "not in order", "too many"],
)  # fmt: skip
def test_what_is_not_shown_for_certain_is_told_at_once(
    told: list[Fact], pending: list[Fact], news: list[Fact], now: list[Fact]
) -> None:
    assert not subscription(head(told), pending).shows(news, head(now).content)
    assert not subscription(head(told), pending).shows(news, None)
    assert subscription(head(LIFE), [NEXT]).shows([NEXT], head([*LIFE, NEXT]).content)


def test_one_after_another_is_shown_until_something_is_not() -> None:
    held = subscription(head(LIFE), [NEXT, later := fact("call.started", BEGIN + 2 * HOUR, str(PEOPLE[0]))])
    assert held.shows([NEXT], head([*LIFE, NEXT]).content)
    assert held.shows([later], head([*LIFE, NEXT, later]).content)
    foreign = fact("call.started", BEGIN + 3 * HOUR, str(PEOPLE[0]))
    assert not held.shows([foreign], head([*LIFE, NEXT, later, foreign]).content)


def test_an_echo_is_due_soon_and_news_do_not_wait_for_it() -> None:
    async def run() -> None:
        stream = Stream("test")
        first, second = [Subscription(number, PEOPLE[0], "service", stream) for number in (1, 2)]
        stream.echo(first, 10.0)
        stream.echo(first, 10.1)
        stream.echo(second, 10.1)
        assert (stream.behind, list(stream.dirty), stream.conflated) == (2, [], 1)
        stream.fall_due(10.0)
        assert not stream.dirty
        assert 10.0 + ECHO <= stream.echo_due <= 10.03 + ECHO
        stream.mark(second)
        assert list(stream.dirty) == [second]
        stream.echo(second, 10.2)
        stream.fall_due(10.03 + ECHO)
        assert list(stream.dirty) == [second, first]
        assert stream.echo_due == float("inf")
        assert not stream.echoes

    asyncio.run(run())


def test_nothing_known_of_what_was_told_is_nothing_shown() -> None:
    held = Subscription(1, PEOPLE[0], "service", Stream("test"))
    held.expect([NEXT.id], 10)
    assert not held.shows([NEXT], head([NEXT]).content)
    held.told(Content())
    assert held.last is None
