"""Room: what a held customer does not have takes none of its own; what all have alike is kept once."""

from __future__ import annotations

import sys

import pytest
from segue.domain.content import Content
from segue.domain.context import Context
from segue.domain.fold import fold
from segue.domain.freshness import FRESH
from segue.domain.identifier import Identifier
from segue.domain.overlay import overlaid
from segue.domain.plan import Plan
from segue.domain.projection import Projected, project, receive
from segue.replica import Held

from tests.building import BEGIN, fact, realistic

PLAN = realistic()


def _received(content: Content, plan: Plan = PLAN) -> Projected:
    return receive(project(content, plan, plan.grant("desk"), "service", BEGIN)[0])


def test_what_was_received_empty_is_shared_and_changed_by_nobody() -> None:
    one, other = _received(Content()), _received(Content())
    for name in ("groups", "activity", "interactions", "journeys", "caps", "timeline", "ended", "decisions", "actions"):
        assert getattr(one.content, name) is getattr(other.content, name), name
    assert one.hidden is other.hidden
    with pytest.raises(TypeError):
        one.content.timeline.append(fact("call.started", BEGIN))
    with pytest.raises(TypeError):
        one.content.journeys["a", ""] = None  # type: ignore[assignment]


def test_own_facts_lie_over_what_was_received_empty() -> None:
    told = [fact("call.started", BEGIN), fact("transfer.started", BEGIN + 1, properties={"transfer_id": "t1"})]
    laid = overlaid(_received(Content()), PLAN, told)
    folded = fold(PLAN, told)
    assert [known.id for known in laid.content.timeline] == [known.id for known in folded.timeline]
    assert laid.content.activity.keys() == folded.activity.keys()
    assert not _received(Content()).content.timeline


def test_names_that_customers_share_are_kept_once() -> None:
    told = [fact("transfer.started", BEGIN, properties={"transfer_id": "t1"})]
    one, other = (_received(fold(PLAN, told)).content for _ in range(2))
    for (mine, _), (theirs, _) in zip(one.journeys, other.journeys, strict=True):
        assert mine is theirs
    assert one.activity.keys() == other.activity.keys()
    assert all(mine is theirs for mine, theirs in zip(one.activity, other.activity, strict=True))


def test_an_overlay_that_the_hub_has_taken_in_gives_its_room_back() -> None:
    held = Held(1, Identifier("account", "A-1"), "service")
    told = [fact("call.started", BEGIN + number) for number in range(100)]
    for own in told:
        held.show(own, PLAN, 256)
    held.take(_received(fold(PLAN, told)), (1, "v", "c"), [own.id for own in told], PLAN, BEGIN)
    assert not held.pending
    assert sys.getsizeof(held.pending) == sys.getsizeof({})


def test_a_first_answer_makes_the_table_that_later_ones_share() -> None:
    projected = _received(fold(PLAN, [fact("call.started", BEGIN)]))
    held = Held(1, Identifier("account", "A-1"), "service")
    held.take(projected, (1, "v", "c"), (), PLAN, BEGIN)
    snapshot, other = held.snapshot(PLAN, strict=False), _received(Content())
    context = Context(projected, PLAN, BEGIN, FRESH, 1)
    assert context.snapshot.seen is snapshot.seen  # nobody has asked: neither has one
    assert context.seen("call.started", within="1h") == context.seen("call.started", within="1h")
    assert len(context.snapshot.seen) == 1
    assert not snapshot.seen
    assert not Context(other, PLAN, BEGIN, FRESH, 1).snapshot.seen
