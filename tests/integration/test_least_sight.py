"""Least sight: what is not granted does not reach a touchpoint by another way: timelines, decisions, names, streams."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import segue
from segue.domain.fact import DECISION, Fact
from segue.domain.identifier import parse_identifier
from segue.v1 import context_pb2, sync_pb2
from segue_hub.testing import RunningHub, run_hub

from tests.building import document
from tests.calling import Caller, calling, event
from tests.joining import joined
from tests.streaming import Stream, streaming
from tests.waiting import eventually

EVERY = [
    "identity", "traits", "consents", "subscriptions", "timeline", "activity", "interactions", "journeys",
    "decisions", "actions", "audiences",
]  # fmt: skip


def sketch(**reads: list[str]) -> dict[str, Any]:
    """A plan with one audience, a touchpoint for each set of sections, and one that only tells."""
    return {
        "audiences": {"on_the_web": {"when": 'seen("web")'}},
        "touchpoints": {
            name: {"channel": "web", "writes": ["*"], "reads": {"service": sections}}
            for name, sections in {"teller": [], **reads}.items()
        },
    }


PLAN = sketch(
    full=EVERY, narrow=["timeline"], consents=["timeline", "consents"], actions=["timeline", "actions"],
    subscriptions=["timeline", "subscriptions"], decisions=["decisions"], marketing=["audiences"],
)  # fmt: skip


def push(hub: RunningHub, plan: dict[str, Any]) -> None:
    hub.call(hub.hub.plans.push(document(plan), {}, "test", ""))


@pytest.fixture
def hub() -> Iterator[RunningHub]:
    with run_hub() as running:
        push(running, PLAN)
        yield running


def tell(hub: RunningHub, *facts: Fact) -> None:
    with calling(hub.address, hub.key("teller")) as caller:
        assert set(caller.statuses(*facts)) == {"ACCEPTED"}


def section(context: context_pb2.Context, name: str) -> Any:
    return next((json.loads(s.data) for s in context.sections if s.name == name), None)


# Timelines.


@pytest.mark.parametrize(
    ("touchpoint", "seen"),
    [
        ("narrow", {"event"}), ("consents", {"event", "consent"}), ("actions", {"event", "action"}),
        ("subscriptions", {"event", "subscription"}), ("full", {"event", "consent", "subscription", "action"}),
    ],
)  # fmt: skip
def test_a_timeline_shows_consents_subscriptions_and_actions_only_to_who_may_see_them(
    hub: RunningHub, touchpoint: str, seen: set[str]
) -> None:
    name = "account=L-1"
    tell(
        hub, event("a.b", name), event("marketing", name, kind="consent", state="denied"),
        event("news", name, kind="subscription", state="opted_out"),
        event("offer.loan", name, kind="action", status="completed"), event("a.c", name),
    )  # fmt: skip
    with calling(hub.address, hub.key(touchpoint)) as caller, streaming(caller, hub=hub) as stream:
        stream.subscribe(1, name)
        for context in (caller.context(name), stream.frame(1).context):
            timeline = section(context, "timeline")
            assert {fact[1] for fact in timeline} == seen
            assert [fact[2] for fact in timeline if fact[1] == "event"] == ["a.b", "a.c"]


# Decisions.


def test_a_decision_tells_others_its_value_and_reason_only_and_the_log_keeps_the_rest(
    hub: RunningHub, tmp_path: Path
) -> None:
    with joined(hub, "full", tmp_path) as full:

        @full.decision("loan", default="no")
        def loan(c: segue.Context) -> str:
            return "yes" if c.trait("salary") == 4711 else "no"

        with full.session(account="L-2", wait=5) as session:
            session.set_trait("salary", 4711)
            assert session.decide(loan).value == "yes"
            assert full.flush()
    with calling(hub.address, hub.key("decisions")) as caller:
        context = caller.context("account=L-2")
        (told,) = section(context, "decisions")
        assert json.loads(told[8]) == {"value": "yes", "reason": "RULE"}
        assert b"4711" not in context.SerializeToString()
    (kept,) = in_log(hub, "account=L-2", DECISION)
    assert "4711" in json.dumps(kept.properties["reads"])
    assert "4711" in kept.properties["explain"]


def test_own_decisions_shown_before_the_hub_has_them_look_as_they_will(tmp_path: Path, hub: RunningHub) -> None:
    with joined(hub, "full", tmp_path) as full, joined(hub, "decisions", tmp_path) as other:

        @full.decision("loan", default="no")
        def loan(c: segue.Context) -> str:
            return "yes" if c.seen("a.b") else "no"

        with full.session(account="L-3", wait=5) as session, other.session(account="L-3", wait=5) as theirs:
            session.decide(loan)
            (decision,) = eventually(lambda: theirs.context().decisions("loan"))
            assert set(decision.properties) == {"value", "reason"}


def in_log(hub: RunningHub, name: str, kind: str) -> list[Fact]:
    async def read() -> list[Fact]:
        known = hub.hub.contexts.find(parse_identifier(name))
        assert known is not None
        return [fact for fact in hub.hub.contexts.facts(known.customer) if fact.kind == kind]

    found: list[Fact] = hub.call(read())
    return found


# Names.


def guesses(*names: str) -> set[str]:
    """What somebody who knows an identifier would try."""
    found = set()
    for name in names:
        kind, _, value = name.partition("=")
        for text in (name, value, f"{kind}\0{value}", f"{kind}:{value}", f"{kind}{value}"):
            for digest in (hashlib.sha256, hashlib.sha1, hashlib.md5):
                found.add(digest(text.encode()).hexdigest()[:16])
    return found


def test_a_customers_opaque_name_cannot_be_made_from_her_identifiers(hub: RunningHub) -> None:
    names = ("account=L-4", "email=l4@example.org")
    tell(hub, event("a.b", *names))
    with calling(hub.address, hub.key("marketing")) as caller:
        name = caller.context(names[0]).customer
        assert name == caller.context(names[1]).customer
        with streaming(caller, hub=hub) as stream:
            members = watching(stream)
            assert [member.customer for member in members()] == [name]
            assert list(members()[0].identifiers) == []
    assert len(name) == 16
    assert name not in guesses(*names)
    with run_hub() as second, calling(second.address, second.key("marketing")) as caller:
        push(second, PLAN)
        tell(second, event("a.b", *names))
        assert caller.context(names[0]).customer != name


# Audiences.


def watching(stream: Stream, number: int = 7) -> Any:
    """Begins to watch; returns what gives all members told so far."""
    stream.say(watch_audience=sync_pb2.WatchAudience(subscription=number, audience="on_the_web", purpose="service"))
    eventually(lambda: any(change.snapshot_ends for change in stream.heard("audience")))
    return lambda: [member for change in stream.heard("audience") for member in change.members]


def test_changes_of_an_audience_stop_once_the_grant_is_taken_away(hub: RunningHub) -> None:
    def caller(name: str) -> Any:
        return calling(hub.address, hub.key(name))

    with (
        caller("full") as one,
        caller("marketing") as two,
        streaming(one, hub=hub) as kept,
        streaming(two, hub=hub) as taken,
    ):
        all_kept, all_taken = watching(kept), watching(taken)
        tell(hub, event("a.b", "account=L-5"))
        eventually(lambda: len(all_kept()) == len(all_taken()) == 1)
        push(hub, sketch(full=EVERY, marketing=["activity"]))
        tell(hub, event("a.b", "account=L-6"))
        eventually(lambda: len(all_kept()) == 2)
        after_all_that_was_queued(taken)
        assert len(all_taken()) == 1
        assert not taken.ended.is_set()


def after_all_that_was_queued(stream: Stream) -> None:
    stream.subscribe(99, "account=nobody")
    assert stream.frame(99).gone


def test_who_may_not_read_audiences_cannot_begin_to_watch_one(hub: RunningHub) -> None:
    caller: Caller
    with calling(hub.address, hub.key("narrow")) as caller, streaming(caller, hub=hub) as stream:
        stream.say(watch_audience=sync_pb2.WatchAudience(subscription=1, audience="on_the_web", purpose="service"))
        (error,) = eventually(lambda: stream.heard("error"))
        assert (error.subscription, error.code) == (1, "NOT_GRANTED")
