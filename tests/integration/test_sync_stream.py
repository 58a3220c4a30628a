"""Sync as it is on the wire: subscriptions, frames, conflation, resuming, bookmarks, and how streams end."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from segue.domain.identifier import Identifier
from segue.domain.plan import canonical
from segue.v1 import sync_pb2
from segue_hub.checking.plan_check import read_directory
from segue_hub.server import sync_service
from segue_hub.services.fan_out import Stream, Subscription
from segue_hub.testing import RunningHub, run_hub

from tests import watch_checks
from tests.calling import Caller, calling, event
from tests.streaming import streaming
from tests.waiting import eventually

EXAMPLE = Path(__file__).parents[2] / "examples" / "plan"


@pytest.fixture(scope="module")
def hub() -> Iterator[RunningHub]:
    with run_hub(EXAMPLE) as running:
        yield running


@pytest.fixture
def chat(hub: RunningHub) -> Iterator[Caller]:
    with calling(hub.address, hub.key("chat")) as caller:
        yield caller


@pytest.fixture
def app(hub: RunningHub) -> Iterator[Caller]:
    with calling(hub.address, hub.key("app")) as caller:
        yield caller


def facts(frame: sync_pb2.ContextUpdate) -> int:
    return watch_checks.sections(frame)["envelope"][2]  # type: ignore[index,no-any-return]


def asked(stream: Stream) -> list[Identifier]:
    return [subscription.identifier for subscription in stream.subscriptions.values()]


def test_the_hub_says_who_it_is_then_the_plan_then_contexts(chat: Caller, app: Caller, hub: RunningHub) -> None:
    app.send(event("transfer.failed", "account=S-1", transfer_id="T"))
    with streaming(chat, hub=hub) as stream:
        stream.subscribe(1, "account=S-1")
        stream.frame(1)
        kinds = [message.WhichOneof("body") for message in stream.history.messages]
        assert kinds[:3] == ["welcome", "plan", "context"]
        (welcome,), (plan,) = stream.heard("welcome"), stream.heard("plan")
        assert (welcome.touchpoint, welcome.incarnation) == ("chat", hub.hub.store.incarnation)
        assert plan.digest == hub.hub.plans.current.digest
        assert plan.document == canonical(hub.hub.plans.current.document)


def test_who_runs_the_plan_already_is_not_sent_it_again(chat: Caller, hub: RunningHub) -> None:
    with streaming(chat, hub=hub, plan=hub.hub.plans.current.digest) as stream:
        stream.subscribe(1, "account=nobody-here")
        assert stream.frame(1).gone == "NOT_FOUND"
        assert stream.heard("plan") == []


def test_an_unknown_identifier_is_gone_and_there_once_somebody_is_known_by_it(
    hub: RunningHub, chat: Caller, app: Caller
) -> None:
    with streaming(chat, hub=hub) as stream:
        stream.subscribe(1, "account=S-2")
        assert stream.frame(1).gone == "NOT_FOUND"
        app.send(event("transfer.failed", "account=S-2", transfer_id="T"))
        assert facts(stream.frame(1, lambda f: f.HasField("context"))) == 1


def test_every_change_is_told_and_versions_rise(hub: RunningHub, chat: Caller, app: Caller) -> None:
    with streaming(chat, hub=hub) as stream:
        stream.subscribe(1, "account=S-3")
        stream.frame(1)
        for number in range(1, 6):
            app.send(event("transfer.started", "account=S-3", transfer_id=f"T{number}"))
            stream.frame(1, lambda f, n=number: f.HasField("context") and facts(f) == n)
        versions = [f.context.version for f in stream.frames(1) if f.HasField("context")]
        assert versions == sorted(set(versions))
        assert len(versions) == 5


def test_a_merge_is_one_frame_with_the_whole_new_context_on_every_subscription(
    hub: RunningHub, chat: Caller, app: Caller
) -> None:
    app.send(event("transfer.started", "device=S-4", transfer_id="T"))
    app.send(event("transfer.started", "account=S-4", transfer_id="U"))
    with streaming(chat, hub=hub) as stream:
        stream.subscribe(1, "device=S-4")
        stream.subscribe(2, "account=S-4")
        before = [stream.frame(number) for number in (1, 2)]
        assert before[0].context.customer != before[1].context.customer
        app.send(event("transfer.failed", "account=S-4", "device=S-4", transfer_id="T"))
        after = [
            stream.frame(n, lambda f: f.context.customer == before[1].context.customer and facts(f) == 3)
            for n in (1, 2)
        ]
        assert watch_checks.lasting(after[0]) == watch_checks.lasting(after[1])
        assert [facts(f) for f in stream.frames(1)] == [facts(f) for f in stream.frames(2)] == [1, 3]
        assert not any(frame.gone for frame in stream.history.frames())


def test_a_known_customer_gets_a_stronger_name_in_one_frame(hub: RunningHub, chat: Caller, app: Caller) -> None:
    app.send(event("transfer.started", "cookie=S-5", transfer_id="T"))
    with streaming(chat, hub=hub) as stream:
        stream.subscribe(1, "cookie=S-5")
        stream.subscribe(2, "account=S-5")
        anonymous = stream.frame(1)
        assert stream.frame(2).gone
        app.send(event("transfer.failed", "account=S-5", "cookie=S-5", transfer_id="T"))
        named = [stream.frame(n, lambda f: f.HasField("context") and facts(f) == 2).context for n in (1, 2)]
        assert named[0].customer == named[1].customer != anonymous.context.customer
        assert named[0].version > anonymous.context.version


def test_a_reader_that_stalls_misses_steps_but_not_the_outcome(chat: Caller, app: Caller, hub: RunningHub) -> None:
    app.send(event("transfer.started", "account=S-6", transfer_id="T"))
    with streaming(chat, hub=hub) as stream:
        stream.subscribe(1, "account=S-6")
        stream.frame(1)
        stream.reading.clear()
        for number in range(150):
            app.send(event("transfer.started", "account=S-6", transfer_id=f"T{number}", note="x" * 20_000))
        (held,) = [s for s in hub.hub.fan_out.streams if any(i.value == "S-6" for i in asked(s))]
        assert len(held.dirty) <= 1
        assert held.conflated > 0
        stream.reading.set()
        stream.frame(1, lambda f: facts(f) == 151)
        assert len(stream.frames(1)) < 151
        assert watch_checks.ordered(stream.history) == []


def test_unsubscribing_ends_the_frames(chat: Caller, app: Caller, hub: RunningHub) -> None:
    app.send(event("transfer.started", "account=S-7", transfer_id="T"))
    with streaming(chat, checked=False) as stream:  # lets go of what the checks ask for
        stream.subscribe(1, "account=S-7")
        stream.frame(1)
        stream.say(unsubscribe=sync_pb2.Unsubscribe(subscription=1))
        stream.subscribe(2, "account=S-7-nobody")
        stream.frame(2)
        app.send(event("transfer.started", "account=S-7", transfer_id="U"))
        app.send(event("transfer.started", "account=S-7-nobody", transfer_id="U"))
        stream.frame(2, lambda f: f.HasField("context"))
        assert len(stream.frames(1)) == 1


# Resuming.


def test_what_is_held_already_is_said_to_be_unchanged(hub: RunningHub, chat: Caller, app: Caller) -> None:
    app.send(event("transfer.started", "account=S-10", transfer_id="T"))
    with streaming(chat, hub=hub) as stream:
        stream.subscribe(1, "account=S-10")
        held = stream.frame(1).context
    name = (held.version, held.view, held.customer)
    with streaming(chat, hub=hub) as stream:
        stream.subscribe(7, "account=S-10", held=name)
        assert stream.frame(7).unchanged
        assert not stream.frame(7).HasField("context")


@pytest.mark.parametrize("part", ["version", "view", "customer"])
def test_whatever_differs_of_what_is_held_the_whole_is_sent(
    hub: RunningHub, chat: Caller, app: Caller, part: str
) -> None:
    app.send(event("transfer.started", "account=S-11", transfer_id="T"))
    with streaming(chat, hub=hub) as stream:
        stream.subscribe(1, "account=S-11")
        whole = stream.frame(1)
        held = whole.context
        stated = {
            "version": (held.version - 1, held.view, held.customer),
            "view": (held.version, "of another grant", held.customer),
            "customer": (held.version, held.view, "somebody else"),
        }
        stream.subscribe(2, "account=S-11", held=stated[part])
        assert watch_checks.lasting(stream.frame(2)) == watch_checks.lasting(whole)


def test_who_holds_somebody_that_nobody_knows_any_more_is_told_that_she_is_gone(hub: RunningHub, chat: Caller) -> None:
    with streaming(chat, hub=hub) as stream:
        stream.subscribe(1, "account=S-12-nobody", held=(9, "view", "customer"))
        assert stream.frame(1).gone == "NOT_FOUND"


def test_pending_facts_are_answered_included_or_unknown(hub: RunningHub, chat: Caller, app: Caller) -> None:
    mine, never = event("transfer.started", "account=S-13", transfer_id="T"), event("transfer.started", "account=S-13")
    app.send(mine)
    with streaming(chat, hub=hub) as stream:
        stream.subscribe(1, "account=S-13", pending=[mine.id, never.id])
        frame = stream.frame(1)
        assert (list(frame.included), list(frame.unknown)) == ([mine.id], [never.id])


def test_pending_facts_of_somebody_not_known_yet_are_answered_too(hub: RunningHub, chat: Caller) -> None:
    never = event("transfer.started", "account=S-14")
    with streaming(chat, hub=hub) as stream:
        stream.subscribe(1, "account=S-14", pending=[never.id])
        assert list(stream.frame(1).unknown) == [never.id]


def test_a_pending_fact_that_is_included_is_told_although_nothing_else_changed(
    hub: RunningHub, chat: Caller, app: Caller
) -> None:
    with streaming(chat, hub=hub) as stream:
        stream.subscribe(1, "account=S-15")
        stream.frame(1)
        fact = event("transfer.started", "account=S-15", transfer_id="T")
        app.send(fact)
        stream.frame(1, lambda f: f.HasField("context"))
        stream.say(pending=sync_pb2.Pending(subscription=1, facts=[fact.id]))
        frame = stream.frame(1, lambda f: bool(f.included))
        assert frame.unchanged
        assert list(frame.included) == [fact.id]


def test_what_its_client_shows_already_waits_and_is_told_with_the_next_news(
    hub: RunningHub, chat: Caller, app: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[Stream] = []
    echo = Stream.echo

    def counted(stream: Stream, subscription: Subscription, now: float) -> None:
        waited.append(stream)
        echo(stream, subscription, now)

    monkeypatch.setattr(Stream, "echo", counted)
    with streaming(chat, hub=hub, plan=hub.hub.plans.current.digest) as stream:
        app.send(event("transfer.started", "account=S-18", transfer_id="T"))
        stream.subscribe(1, "account=S-18")
        stream.frame(1)
        own = [event("chat.message", "account=S-18") for _ in range(2)]
        stream.say(pending=sync_pb2.Pending(subscription=1, facts=[fact.id for fact in own]))
        (held,) = [s for s in hub.hub.fan_out.streams if any(i.value == "S-18" for i in asked(s))]
        eventually(lambda: held.pending == 2)
        chat.send(own[0])
        assert list(stream.frame(1, lambda f: facts(f) == 2).included) == [own[0].id]
        chat.send(own[1])
        assert waited == [held, held]
        app.send(event("transfer.started", "account=S-18", transfer_id="U"))
        stream.frame(1, lambda f: facts(f) == 4)
        assert own[1].id in [id_ for frame in stream.frames(1) for id_ in frame.included]


# Plans and grants.


def test_a_new_plan_is_sent_before_any_context_that_it_folded() -> None:
    with (
        run_hub(EXAMPLE) as hub,
        calling(hub.address, hub.key("chat")) as chat,
        calling(hub.address, hub.key("app")) as app,
    ):
        app.send(event("transfer.failed", "account=S-20", transfer_id="T"))
        with streaming(chat, hub=hub) as stream:
            stream.subscribe(1, "account=S-20")
            old = stream.frame(1).context
            files = read_directory(EXAMPLE)
            whole = (
                "[identity, traits.business, journeys, activity, timeline, interactions, decisions, actions, audiences,"
                " claims]"
            )
            assert whole in files["touchpoints.yaml"]
            files["touchpoints.yaml"] = files["touchpoints.yaml"].replace(whole, "[activity]")
            digest = hub.push(files)
            new = stream.frame(1, lambda f: f.context.plan == digest)
            messages = stream.history.messages
            told = [m.seq for m in messages if m.plan.digest == digest]
            folded = [m.seq for m in messages if m.context.context.plan == digest]
            assert len(told) == len(folded) == 1
            assert told < folded
            assert {section.name for section in old.sections} >= {"journeys", "timeline", "identity"}
            assert {section.name for section in new.context.sections} == {"activity", "envelope", "outcomes"}
            assert new.context.version > old.version
            assert new.context.view != old.view


def test_a_purpose_that_is_not_granted_shows_nothing_but_the_envelope(
    hub: RunningHub, chat: Caller, app: Caller
) -> None:
    app.send(event("transfer.failed", "account=S-21", transfer_id="T"))
    with streaming(chat, hub=hub) as stream:
        stream.subscribe(1, "account=S-21", purpose="marketing")
        assert {section.name for section in stream.frame(1).context.sections} == {"envelope", "outcomes"}


# Bookmarks and the six checks.


def test_six_checks_hold_on_a_busy_history(hub: RunningHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sync_service, "BOOKMARK", 0.1)
    names = ["account=W-1", "account=W-2", "device=W-1", "device=W-2", "account=W-3"]
    with calling(hub.address, hub.key("chat")) as chat, calling(hub.address, hub.key("app")) as app:
        start = hub.hub.store.head()[0]
        with streaming(chat, hub=hub) as stream:
            for number, name in enumerate(names, 1):
                stream.subscribe(number, name)
            for step in range(60):
                linked = (
                    [names[0], names[2]] if step == 30 else [names[1], names[3]] if step == 45 else [names[step % 5]]
                )
                app.send(*(event("transfer.started", *linked, transfer_id=f"T{step}") for _ in range(1 + step % 3)))
            truth = {}
            for number, name in enumerate(names, 1):
                read = chat.context(name)
                truth[number] = (read.version, read.view, read.customer)
            history = stream.history
            eventually(lambda: not watch_checks.reliable(history, truth))
            told = len(stream.heard("bookmark"))
            eventually(lambda: len(stream.heard("bookmark")) >= told + 2)
        log = [(start + place, fact) for place, fact in enumerate(log_of(hub, start), 1)]
        assert watch_checks.ordered(history) == []
        assert watch_checks.unique(history) == []
        assert watch_checks.reliable(history, truth) == []
        assert watch_checks.atomic(history, log) == []
        assert watch_checks.bookmarked(history) == []
        held = {number: history.last(number) for number in truth}
        app.send(event("transfer.started", names[4], transfer_id="after"))
        read = chat.context(names[4])
        truth[5] = (read.version, read.view, read.customer)
        with streaming(chat, hub=hub) as again:
            for number, name in enumerate(names, 1):
                again.subscribe(number, name, held=held[number])
            eventually(lambda: len(again.history.frames()) == 5)
            assert watch_checks.resumable(again.history, truth) == []
            assert [frame.unchanged for frame in again.history.frames()] == [True] * 4 + [False]


def log_of(hub: RunningHub, after: int) -> list[watch_checks.Fact]:
    from segue.wire import fact_from_bytes

    return [fact_from_bytes(body) for _, body in hub.hub.store.log(after, 10_000) if body is not None]


def test_a_bookmark_that_differs_from_what_the_client_holds_is_healed_by_saying_it_again(
    hub: RunningHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sync_service, "BOOKMARK", 0.1)
    with calling(hub.address, hub.key("chat")) as chat, calling(hub.address, hub.key("app")) as app:
        app.send(event("transfer.started", "account=S-30", transfer_id="T"))
        with streaming(chat, checked=False) as stream:  # the hub is made to say something twice
            stream.subscribe(1, "account=S-30")
            stream.frame(1)
            (held,) = [s for s in hub.hub.fan_out.streams if any(i.value == "S-30" for i in asked(s))]
            held.subscriptions[1].version -= 1  # the hub has forgotten what it sent: the bookmark asks the store
            eventually(lambda: len(stream.frames(1)) == 2)
            first, second = stream.frames(1)
            assert watch_checks.lasting(first) == watch_checks.lasting(second)


# Ends.


def test_a_hub_that_stops_says_goodbye_first() -> None:
    with run_hub(EXAMPLE) as hub, calling(hub.address, hub.key("chat")) as caller, streaming(caller, hub=hub) as stream:
        eventually(lambda: stream.heard("welcome"))
        hub._loop.call_soon_threadsafe(hub.hub.ask_to_stop)
        assert stream.ended.wait(10)
        assert stream.error is None
        assert stream.history.messages[-1].WhichOneof("body") == "goodbye"
        goodbye = stream.history.messages[-1].goodbye
        assert "stopping" in goodbye.reason
        assert goodbye.reconnect_after_ms > 0


def test_a_revoked_key_ends_its_streams_at_once_and_no_others(hub: RunningHub) -> None:
    with (
        calling(hub.address, hub.key("web")) as web,
        calling(hub.address, hub.key("desk")) as desk,
        streaming(web, hub=hub) as theirs,
        streaming(desk, hub=hub) as ours,
    ):
        eventually(lambda: theirs.heard("plan") and ours.heard("plan"))
        hub.call(hub.hub.touchpoints.revoke("web"))
        assert theirs.ended.wait(5)
        assert "revoked" in theirs.heard("goodbye")[0].reason
        assert not ours.ended.is_set()


def test_a_subscription_that_cannot_be_is_an_error_of_its_own_and_the_stream_goes_on(
    hub: RunningHub, chat: Caller
) -> None:
    with streaming(chat, hub=hub) as stream:
        stream.subscribe(1, "account=" + "x" * 600)
        assert [error.subscription for error in eventually(lambda: stream.heard("error"))] == [1]
        stream.subscribe(2, "account=S-40-nobody")
        assert stream.frame(2).gone
        assert not stream.ended.is_set()


def test_an_unknown_audience_is_an_error_that_names_the_nearest(hub: RunningHub, chat: Caller) -> None:
    with streaming(chat, hub=hub) as stream:
        stream.say(watch_audience=sync_pb2.WatchAudience(subscription=3, audience="in_troubel", purpose="service"))
        (error,) = eventually(lambda: stream.heard("error"))
        assert (error.subscription, error.code) == (3, "NAME_UNKNOWN")
        assert "Did you mean 'in_trouble'?" in error.message
