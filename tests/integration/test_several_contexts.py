"""Several contexts in one message: told to who asks for it, one by one to others, and the same either way."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from segue.domain.identifier import Identifier
from segue.sync import GAPPED, Machine, prepare
from segue.v1 import context_pb2, sync_pb2
from segue.wire_sync import incoming_from_wire
from segue_hub.server import context_service, sync_service
from segue_hub.server.context_service import Projections
from segue_hub.server.updates import Updates
from segue_hub.services.fan_out import Subscription
from segue_hub.testing import RunningHub, run_hub

from tests.calling import Caller, calling, event
from tests.joining import EXAMPLE, joined
from tests.streaming import Stream, streaming
from tests.waiting import eventually
from tests.watch_checks import lasting, updates

MANY = 40


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


def held(stream: Stream, name: str, many: int = MANY) -> None:
    for number in range(1, many + 1):
        stream.subscribe(number, f"account={name}-{number}")
    eventually(lambda: {frame.subscription for frame in stream.history.frames()} == set(range(1, many + 1)))


def messages(stream: Stream) -> list[sync_pb2.SyncResponse]:
    return [message for message in list(stream.history.messages) if updates(message)]


def tell_all(app: Caller, name: str, many: int = MANY, **details: object) -> None:
    app.send(*(event("transfer.failed", f"account={name}-{n}", transfer_id="T", **details) for n in range(1, many + 1)))


def shown(stream: Stream, many: int = MANY) -> dict[int, tuple[object, ...]]:
    """The newest context of each, once all have one."""
    eventually(lambda: all(stream.history.last(number)[0] for number in range(1, many + 1)))
    return {number: lasting([f for f in stream.frames(number) if f.context.version][-1]) for number in
            range(1, many + 1)}  # fmt: skip


def test_who_takes_several_is_told_in_fewer_messages_and_the_same(hub: RunningHub, chat: Caller, app: Caller) -> None:
    with (
        streaming(chat, hub=hub, several=True) as stream,
        calling(hub.address, hub.key("chat")) as other,
        streaming(other, hub=hub) as plain,
    ):
        held(stream, "V-1")
        held(plain, "V-1")
        before = len(messages(stream)), len(messages(plain))
        tell_all(app, "V-1")
        assert shown(stream) == shown(plain)
        fewer, each = messages(stream)[before[0] :], messages(plain)[before[1] :]
    assert {message.WhichOneof("body") for message in each} == {"context"}
    assert "contexts" in {message.WhichOneof("body") for message in fewer}
    assert len(fewer) < len(each) == MANY
    sizes = [len(updates(message)) for message in fewer]
    assert sum(sizes) == MANY
    assert max(sizes) <= sync_service.SEVERAL


def test_one_change_alone_is_a_message_of_one(hub: RunningHub, chat: Caller, app: Caller) -> None:
    with streaming(chat, hub=hub, several=True) as stream:
        stream.subscribe(1, "account=V-2")
        stream.frame(1)
        app.send(event("transfer.failed", "account=V-2", transfer_id="T"))
        stream.frame(1, lambda frame: frame.HasField("context"))
        assert {message.WhichOneof("body") for message in messages(stream)} == {"context"}


def test_a_message_that_is_large_already_takes_no_more(
    hub: RunningHub, chat: Caller, app: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sync_service, "SEVERAL_BYTES", 1_000)
    with streaming(chat, hub=hub, several=True) as stream:
        held(stream, "V-3", 10)
        tell_all(app, "V-3", 10, note="n" * 400)
        shown(stream, 10)
        for message in messages(stream):
            assert sum(len(update.SerializeToString()) for update in updates(message)[:-1]) < 1_000


def test_one_that_cannot_be_sent_leaves_out_no_other(
    hub: RunningHub, chat: Caller, app: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = Updates.of

    def broken(self: Updates, subscription: Subscription) -> bytes | None:
        if subscription.number == 3 and subscription.customer:
            raise RuntimeError("this one")
        return whole(self, subscription)

    with streaming(chat, several=True, checked=False) as stream:
        held(stream, "V-4", 6)
        monkeypatch.setattr(Updates, "of", broken)
        tell_all(app, "V-4", 6)
        eventually(lambda: all(stream.history.last(number)[0] for number in (1, 2, 4, 5, 6)))
        eventually(lambda: [(e.subscription, e.code) for e in stream.heard("error")] == [(3, "CONTEXT_BROKEN")])
        assert not stream.ended.is_set()


def test_the_sdk_holds_each_of_several_and_keeps_what_it_has_of_one_that_cannot_be_read() -> None:
    machine = Machine("i", "t")
    assert machine.connected()[0].fields["several"]
    held = [machine.subscribe(Identifier("account", str(number)), "service")[0] for number in range(3)]
    response = sync_pb2.SyncResponse(seq=1)
    for one, envelope in zip(held, ([1, None, 3, 2**62], ["of", "another", "shape"], [1, None, 3, 2**62]), strict=True):
        update = response.contexts.updates.add(subscription=one.number)
        update.context.version, update.context.view, update.context.customer = 7, "v", "c"
        update.context.sections.add(name="envelope", data=json.dumps(envelope).encode())
    machine.received(prepare(incoming_from_wire(response)), 0)
    assert [one.version for one in held] == [7, 0, 7]
    assert [error.partition(":")[0] for error in machine.errors] == ["FRAME_UNREADABLE"]
    response.seq = 3
    machine.received(prepare(incoming_from_wire(response)), 0)
    assert machine.state == GAPPED


def test_what_is_pending_of_several_is_answered_of_each(hub: RunningHub, chat: Caller, app: Caller) -> None:
    facts = [event("transfer.failed", f"account=V-6-{number}", transfer_id="T") for number in range(1, 4)]
    with streaming(chat, hub=hub, several=True) as stream:
        held(stream, "V-6", 3)
        assert stream.heard("welcome")[0].several
        app.send(*facts)
        shown(stream, 3)
        pending = [sync_pb2.Pending(subscription=n, facts=[fact.id]) for n, fact in enumerate(facts, 1)]
        pending.append(sync_pb2.Pending(subscription=99, facts=[facts[0].id]))  # of nobody: no answer, no end
        stream.say(pending_of_several=sync_pb2.PendingOfSeveral(pending=pending))
        for number, fact in enumerate(facts, 1):
            assert list(stream.frame(number, lambda frame: bool(frame.included)).included) == [fact.id]


def test_an_sdk_that_holds_many_is_told_of_all(hub: RunningHub, app: Caller, tmp_path: Path) -> None:
    with joined(hub, "chat", tmp_path) as touchpoint:
        sessions = [touchpoint.session(account=f"V-5-{number}", wait=5) for number in range(1, MANY + 1)]
        tell_all(app, "V-5")
        for session in sessions:
            eventually(lambda s=session: s.context().seen("transfer.failed"))
            session.close()


def test_what_is_kept_for_others_is_bounded_and_the_newest_stays(
    hub: RunningHub, app: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(context_service, "ENCODED_BYTES", 10_000)
    monkeypatch.setattr(context_service, "MADE", 5)
    tell_all(app, "V-7")
    inner = hub.hub
    projections = Projections(inner.contexts, inner.plans, inner.clock, inner.store.incarnation)
    plan, grant = inner.plans.current, inner.plans.current.grant("chat")

    async def made() -> None:
        for number in [*range(1, MANY + 1), 1, 1]:
            known = inner.contexts.known(Identifier("account", f"V-7-{number}"))
            assert known is not None
            data, _ = projections.encoded(*known, grant, "service", plan)
            again, _ = projections.encoded(*known, grant, "service", plan)
            assert again is data
            sizes = [len(kept) for _, kept, _ in projections._encoded.values()]
            assert projections._encoded._bytes == sum(sizes) <= 10_000
            message, _ = projections.message(*known, grant, "service")
            assert projections.message(*known, grant, "service")[0] is message
            assert message.version == context_pb2.Context.FromString(data).version
            assert len(projections._made) <= 5
        assert len(projections._encoded) > 5

    hub.call(made())
