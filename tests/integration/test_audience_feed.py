"""The feed of an audience: bounded for a stream that does not read, and in the end the same members as ever."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from segue.v1 import sync_pb2
from segue_hub.server import audience_feed, audience_watches, sync_service
from segue_hub.server.audience_feed import AudienceFeed
from segue_hub.services.audiences import Change
from segue_hub.testing import RunningHub, run_hub

from tests.calling import Caller, calling, event
from tests.streaming import Stream, streaming
from tests.waiting import eventually

PLAN = {
    "vocabulary.yaml": "traits: {inside: {type: bool}, filler: {type: string}}\n"
    "identifiers: {account: {priority: 1}}\n",
    "audiences.yaml": "insiders: {owner: o, title: t, when: 'trait.inside'}\n"
    "others: {owner: o, title: t, when: '!trait.inside'}\n",
}
CUSTOMERS = 40


@pytest.fixture
def hub() -> Iterator[RunningHub]:
    with run_hub(PLAN) as running:
        yield running


@pytest.fixture
def app(hub: RunningHub) -> Iterator[Caller]:
    with calling(hub.address, hub.key("app")) as caller:
        yield caller


def put(app: Caller, inside: dict[int, bool]) -> None:
    """Customers join and leave."""
    facts = [event("inside", f"account=M-{n}", kind="trait", value=value) for n, value in inside.items()]
    assert set(app.statuses(*facts)) == {"ACCEPTED"}


def watch(stream: Stream, number: int = 1, audience: str = "insiders") -> None:
    stream.say(watch_audience=sync_pb2.WatchAudience(subscription=number, audience=audience, purpose="service"))


def members(stream: Stream, number: int = 1) -> set[str]:
    """What a client that applies all it heard of an audience takes for its members."""
    found: set[str] = set()
    for change in stream.heard("audience"):
        if change.subscription != number:
            continue
        if change.reset:
            found.clear()
        for member in change.members:
            name = member.identifiers[0].value
            (found.discard if member.left else found.add)(name)
    return found


def test_a_stream_that_does_not_read_is_given_the_members_anew_when_it_does(
    hub: RunningHub, app: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audience_feed, "BACKLOG", 50)
    with streaming(app, hub=hub) as stream:
        watch(stream)
        stream.subscribe(2, "account=FULL")
        eventually(lambda: stream.heard("audience"))
        stream.reading.clear()
        inside = dict.fromkeys(range(CUSTOMERS), False)
        for round_ in range(400):
            # Large contexts until the connection takes no more; and customers who come and go all the while.
            app.send(event("filler", "account=FULL", kind="trait", value=str(round_) * 12_000))
            inside = {n: (n + round_) % 3 != 0 for n in range(CUSTOMERS)}
            put(app, inside)
            if hub.hub.fan_out.audience_resets:
                break
        plain = hub.hub.overview.plain()
        assert plain["audiences"]["resets"] >= 1
        assert plain["audiences"]["dropped"] > 50
        assert plain["instances"][0]["audience_resets"] == plain["audiences"]["resets"]
        inside[CUSTOMERS] = True
        put(app, {CUSTOMERS: True})
        stream.reading.set()
        eventually(lambda: members(stream) == {f"M-{n}" for n, value in inside.items() if value})
        resets = [change for change in stream.heard("audience") if change.reset]
        assert len(resets) >= 2
        put(app, {CUSTOMERS: False})  # and it goes on
        eventually(lambda: f"M-{CUSTOMERS}" not in members(stream))


def test_a_snapshot_comes_in_parts_the_first_of_which_resets_and_the_last_of_which_ends(
    hub: RunningHub, app: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(app, dict.fromkeys(range(CUSTOMERS), True))
    monkeypatch.setattr(audience_feed, "PART", 7)
    with streaming(app, hub=hub) as stream:
        watch(stream)
        eventually(lambda: any(change.snapshot_ends for change in stream.heard("audience")))
        parts = stream.heard("audience")
        assert [len(part.members) for part in parts] == [7, 7, 7, 7, 7, 5]
        assert [part.reset for part in parts] == [True] + [False] * 5
        assert [part.snapshot_ends for part in parts] == [False] * 5 + [True]
        assert members(stream) == {f"M-{n}" for n in range(CUSTOMERS)}


def test_an_audience_without_members_is_told_as_such(hub: RunningHub, app: Caller) -> None:
    with streaming(app, hub=hub) as stream:
        watch(stream)
        (only,) = eventually(lambda: stream.heard("audience"))
        assert (only.reset, only.snapshot_ends, len(only.members)) == (True, True, 0)


def test_who_asks_for_another_audience_under_the_same_number_hears_of_that_one_alone(
    hub: RunningHub, app: Caller
) -> None:
    put(app, {1: True, 2: False})
    with streaming(app, hub=hub) as stream:
        watch(stream)
        watch(stream, audience="others")
        eventually(lambda: members(stream) == {"M-2"})
        put(app, {3: True, 4: False})
        eventually(lambda: members(stream) == {"M-2", "M-4"})
        assert "insiders" not in hub.hub.audiences._watchers, "nobody watches it any more"


def test_a_stream_watches_no_more_audiences_than_the_bound(
    hub: RunningHub, app: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audience_watches, "WATCHES", 3)
    with streaming(app, hub=hub) as stream:
        for number in range(1, 6):
            watch(stream, number)
        errors = eventually(lambda: found if len(found := stream.heard("error")) == 2 else None)
        assert [(error.subscription, error.code) for error in errors] == [(4, "OVERLOADED"), (5, "OVERLOADED")]


def test_while_a_stream_reads_no_answers_no_further_request_of_it_is_read(
    hub: RunningHub, app: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sync_service, "ANSWERS", 10)
    longest = 0
    queue = sync_service._Session._queue

    def measured(self: sync_service._Session, response: sync_pb2.SyncResponse) -> None:
        nonlocal longest
        queue(self, response)
        longest = max(longest, len(self._out))

    monkeypatch.setattr(sync_service._Session, "_queue", measured)
    with streaming(app, hub=hub) as stream:
        eventually(lambda: stream.heard("plan"))
        stream.reading.clear()
        asked = 3000
        for number in range(asked):  # more than a connection holds, of what is answered in full
            stream.subscribe(number + 1, f"{'k' * 5000}=v")
        eventually(lambda: longest >= 10)
        stream.reading.set()
        eventually(lambda: len(stream.heard("error")) == asked, 30)
    assert 0 < longest <= 10


# The feed alone.

steps = st.lists(
    st.one_of(
        st.tuples(st.just("tell"), st.lists(st.integers(0, 9), max_size=6)), st.tuples(st.just("read"), st.just([]))
    ),
    max_size=60,
)


@given(steps, st.sets(st.integers(0, 9)))
def test_whatever_a_stream_reads_and_when_it_ends_with_the_members_and_holds_no_more_than_the_bound(
    steps: list[tuple[str, list[int]]], inside: set[int]
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(audience_feed, "BACKLOG", 8)
        patch.setattr(audience_feed, "PART", 3)
        dropped: list[int] = []
        woken: list[bool] = []
        feed = AudienceFeed("a", "service", lambda: woken.append(True), dropped.append)
        feed.open(lambda: sorted((customer, 0) for customer in inside))
        held: set[int] = set()
        told = 0

        def read() -> None:
            nonlocal told
            part = feed.part()
            if part is None:
                assert not feed.due
                return
            if part.reset:
                held.clear()
            assert len(part.changes) <= 3
            told += len(part.changes)
            for change in part.changes:
                (held.discard if change.left else held.add)(change.customer)

        for step, customers in steps:
            if step == "read":
                read()
                continue
            changes = []
            for customer in customers:
                changes.append(Change("a", customer, customer in inside, 0))
                inside ^= {customer}
            woken.clear()
            was_due = feed.due
            feed.tell(changes)
            assert len(feed._changes) <= 8
            assert feed.due or not changes
            assert woken or was_due
        while feed.due:
            read()
        assert held == inside
        if not dropped:
            assert told >= len(inside)
