"""Bookmarks: what one says of each subscription, what it asks of the hub to say it, and frames encoded once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest
from segue.v1 import context_pb2, sync_pb2
from segue_hub.server import bookmarks as bookmarks_module
from segue_hub.server.bookmarks import Bookmarks
from segue_hub.server.context_service import Projections
from segue_hub.server.frames import encoded, framed
from segue_hub.services.fan_out import Stream
from segue_hub.testing import RunningHub, run_hub

from tests import watch_checks
from tests.calling import Caller, calling, event
from tests.streaming import Stream as Client
from tests.streaming import streaming
from tests.waiting import eventually

EXAMPLE = Path(__file__).parents[2] / "examples" / "plan"
NAMES = [f"account=B-{number}" for number in range(1, 8)]
Made = TypeVar("Made")


@pytest.fixture
def hub() -> Iterator[RunningHub]:
    with run_hub(EXAMPLE) as running:
        yield running


@pytest.fixture
def app(hub: RunningHub) -> Iterator[Caller]:
    with calling(hub.address, hub.key("app")) as caller:
        yield caller


@pytest.fixture
def stream(hub: RunningHub, app: Caller) -> Iterator[Client]:
    """One that holds seven customers."""
    for name in NAMES:
        app.send(event("transfer.started", name, transfer_id="T"))
    with calling(hub.address, hub.key("chat")) as chat, streaming(chat, hub=hub, checked=False) as opened:
        for number, name in enumerate(NAMES, 1):
            opened.subscribe(number, name)
        eventually(lambda: len(opened.history.frames()) == len(NAMES))
        yield opened


def in_the_hub(hub: RunningHub, made: Callable[[], Awaitable[Made]]) -> Made:
    async def run() -> Made:
        return await made()

    return asyncio.run_coroutine_threadsafe(run(), hub._loop).result(20)


def marks(hub: RunningHub) -> Bookmarks:
    inner = hub.hub
    projections = Projections(inner.contexts, inner.plans, inner.clock, inner.store.incarnation)
    return Bookmarks(inner.store, inner.contexts, projections, inner.plans, inner.earlier, inner.clock)


def only(hub: RunningHub) -> Stream:
    (found,) = hub.hub.fan_out.streams
    return found


def test_of_customers_who_are_not_live_nobody_is_folded(
    hub: RunningHub, stream: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bookmarks_module, "SLICE", 3)

    async def told() -> tuple[sync_pb2.Bookmark, dict[str, int]]:
        hub.hub.contexts._heads.clear()
        before = dict(hub.hub.contexts.counts)
        mark = await marks(hub).of(only(hub))
        return mark, {name: count - before[name] for name, count in hub.hub.contexts.counts.items()}

    mark, counted = in_the_hub(hub, told)
    assert (mark.digest, mark.subscriptions) == (watch_checks.digest(stream.history), len(NAMES))
    assert not any(counted.values())


def test_what_is_on_its_way_is_told_as_it_was_and_what_was_missed_as_it_is(hub: RunningHub, stream: Client) -> None:
    """Of a stream that is busy a client holds what it was told; only what nobody would tell it is a difference."""

    async def told(*, on_its_way: bool) -> tuple[str, bool]:
        subscription = only(hub).subscriptions[3]
        subscription.version -= 1  # as if the newest fact were not told
        if on_its_way:
            only(hub).mark(subscription)
        mark = await marks(hub).of(only(hub))
        as_told = await marks(hub).of(only(hub))  # by now both are on their way
        marked = subscription in only(hub).dirty
        return ("as told" if mark.digest == as_told.digest else "as it is"), marked

    assert in_the_hub(hub, lambda: told(on_its_way=True)) == ("as told", True)
    eventually(lambda: len(stream.frames(3)) == 2)
    assert in_the_hub(hub, lambda: told(on_its_way=False)) == ("as it is", True)
    eventually(lambda: len(stream.frames(3)) == 3)  # and it is told after all


def test_who_came_and_went_while_it_was_made_is_told_as_it_is_at_the_end(
    hub: RunningHub, stream: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bookmarks_module, "SLICE", 2)

    async def told() -> sync_pb2.Bookmark:
        making = asyncio.create_task(marks(hub).of(only(hub)))
        await asyncio.sleep(0)
        assert not making.done()
        hub.hub.fan_out.unsubscribe(only(hub), 1)
        return await making

    mark = in_the_hub(hub, told)
    del stream.history.identifiers[1]
    assert (mark.digest, mark.subscriptions) == (watch_checks.digest(stream.history), len(NAMES) - 1)


@pytest.mark.parametrize("size", [0, 1, 126, 127, 128, 16_000, 17_000, 70_000])
def test_a_frame_around_what_is_encoded_is_the_message_with_it(size: int) -> None:
    context = context_pb2.Context(version=7, view="v", sections=[context_pb2.Section(name="x", data=b"." * size)])
    update = sync_pb2.ContextUpdate(subscription=300, included=[b"i" * 16], unknown=[b"u" * 16])
    whole = sync_pb2.SyncResponse(seq=70_000, context=update)
    assert sync_pb2.SyncResponse.FromString(framed(70_000, [encoded(update)])) == whole
    whole.context.context.CopyFrom(context)
    one = encoded(update, context.SerializeToString())
    assert sync_pb2.SyncResponse.FromString(framed(70_000, [one])) == whole
    several = sync_pb2.SyncResponse(seq=70_000, contexts=sync_pb2.ContextUpdates(updates=[whole.context, update]))
    assert sync_pb2.SyncResponse.FromString(framed(70_000, [one, encoded(update)])) == several


def test_what_two_streams_are_told_alike_is_projected_once(
    hub: RunningHub, app: Caller, stream: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    from segue.domain.projection import Sight

    made: list[int] = []
    project = Sight.project

    def counted(*given: object, **named: object) -> object:
        made.append(1)
        return project(*given, **named)  # type: ignore[arg-type]

    with calling(hub.address, hub.key("chat")) as chat, streaming(chat, hub=hub) as other:
        other.subscribe(1, NAMES[0])
        eventually(lambda: other.frames(1))
        monkeypatch.setattr(Sight, "project", counted)
        app.send(event("transfer.failed", NAMES[0], transfer_id="T"))
        eventually(lambda: len(other.frames(1)) == 2 and len(stream.frames(1)) == 2)
        assert other.frames(1)[-1].context == stream.frames(1)[-1].context
        assert len(made) == 1
