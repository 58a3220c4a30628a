"""Messages that a link swallows: each side finds the hole, the stream ends with its reason, the next one states all."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
import segue
from segue.v1 import event_service_pb2, event_service_pb2_grpc, sync_pb2, sync_pb2_grpc
from segue_hub.testing import RunningHub, run_hub

from tests.calling import Caller, calling, event, refusal
from tests.joining import EXAMPLE
from tests.streaming import Stream, streaming
from tests.waiting import eventually


@pytest.fixture(scope="module")
def hub() -> Iterator[RunningHub]:
    with run_hub(EXAMPLE) as running:
        yield running


@pytest.fixture
def chat(hub: RunningHub) -> Iterator[Caller]:
    with calling(hub.address, hub.key("chat")) as caller:
        yield caller


# The hub, and what a client says.


def ended_with(stream: Stream) -> tuple[str, str]:
    assert stream.ended.wait(10)
    assert stream.error is not None
    return refusal(stream.error)


@pytest.mark.parametrize("seqs", [[0], [2], [1, 3], [1, 1], [1, 2, 2], [1, 2, 4], [1, -2]])
def test_a_hole_in_what_a_client_says_ends_its_stream_with_a_reason(
    hub: RunningHub, chat: Caller, seqs: list[int]
) -> None:
    with streaming(chat, hub=hub, hello=False) as stream:
        for seq in seqs:
            stream._outgoing.put(sync_pb2.SyncRequest(seq=seq, hello=sync_pb2.Hello(instance="holes", sdk="test")))
        assert ended_with(stream) == ("ABORTED", "SEQUENCE_GAP")
        assert stream.error is not None
        assert f"seq: {seqs[-1]} came where {len(seqs)} follows" in str(stream.error.details())
    eventually(lambda: not [s for s in hub.hub.fan_out.streams if s.instance == "holes"])


def test_nothing_after_the_hole_is_heard(hub: RunningHub, chat: Caller) -> None:
    with streaming(chat, hub=hub) as stream:
        stream.subscribe(1, "account=SG-1")
        stream.frame(1)
        stream._seq += 1  # swallowed
        stream.subscribe(2, "account=SG-2")
        assert ended_with(stream) == ("ABORTED", "SEQUENCE_GAP")
        assert stream.frames(2) == []
    assert hub.hub.fan_out.subscriptions == 0


def test_messages_of_kinds_that_the_hub_does_not_know_count_too(hub: RunningHub, chat: Caller) -> None:
    with streaming(chat, hub=hub) as stream:
        stream.say()  # no body that this hub knows
        stream.subscribe(1, "account=SG-3")
        stream.frame(1)
        assert not stream.ended.is_set()


# The SDK, and a link that swallows.


class Link:
    """Between a touchpoint and the hub: hands everything on, and swallows what it is told to, once."""

    def __init__(self, hub: RunningHub) -> None:
        self._channel = grpc.insecure_channel(hub.address, options=[("grpc.use_local_subchannel_pool", 1)])
        self._sync = sync_pb2_grpc.SyncServiceStub(self._channel)
        self._events = event_service_pb2_grpc.EventServiceStub(self._channel)
        self.streams: list[list[str]] = []
        self.ends: list[tuple[str, str]] = []
        self.swallow_request = ""
        self.swallow_response = ""
        self._server = grpc.server(ThreadPoolExecutor(16))
        handlers: dict[str, Any] = {
            "segue.v1.SyncService": {
                "Sync": grpc.stream_stream_rpc_method_handler(
                    self._stream, sync_pb2.SyncRequest.FromString, sync_pb2.SyncResponse.SerializeToString
                )
            },
            "segue.v1.EventService": {
                "PublishEvents": grpc.unary_unary_rpc_method_handler(
                    self._publish, event_service_pb2.PublishEventsRequest.FromString,
                    event_service_pb2.PublishEventsResponse.SerializeToString,
                )
            },
        }  # fmt: skip
        for service, methods in handlers.items():
            self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, methods),))
        self.address = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        self._server.start()

    def _publish(self, request: Any, context: grpc.ServicerContext) -> Any:
        return self._events.PublishEvents(request, metadata=_key(context), timeout=10)

    def _stream(self, requests: Iterator[Any], context: grpc.ServicerContext) -> Iterator[Any]:
        said: list[str] = []
        self.streams.append(said)

        def handed_on() -> Iterator[Any]:
            for request in requests:
                kind = request.WhichOneof("body")
                said.append(kind)
                if kind == self.swallow_request:
                    self.swallow_request = ""
                    continue
                yield request

        call = self._sync.Sync(handed_on(), metadata=_key(context))
        context.add_callback(call.cancel)
        try:
            for response in call:
                if response.WhichOneof("body") == self.swallow_response:
                    self.swallow_response = ""
                    continue
                yield response
        except grpc.RpcError as error:
            if error.code() is not grpc.StatusCode.CANCELLED:
                self.ends.append(refusal(error))
            context.set_trailing_metadata(error.trailing_metadata())
            context.abort(error.code(), error.details())

    def close(self) -> None:
        self._server.stop(0).wait()
        self._channel.close()


def _key(context: grpc.ServicerContext) -> list[tuple[str, str]]:
    return [(name, value) for name, value in context.invocation_metadata() if name == "authorization"]


@contextmanager
def linked(hub: RunningHub, folder: Path) -> Iterator[tuple[Link, segue.Touchpoint]]:
    link = Link(hub)
    chat = segue.Touchpoint("chat", hub=link.address, key=hub.key("chat"), state=folder)
    try:
        assert chat.wait_ready(10), chat.status()
        yield link, chat
    finally:
        chat.close()
        link.close()


def others_tell(hub: RunningHub, name: str) -> None:
    with calling(hub.address, hub.key("app")) as app:
        assert app.statuses(event("transfer.failed", name, transfer_id="T")) == ["ACCEPTED"]


@pytest.mark.unwatched("its link swallows messages: the hole in their numbers is what the SDK has to find")
def test_a_frame_that_never_came_is_found_by_the_next_one_and_everything_held_is_stated_anew(
    hub: RunningHub, tmp_path: Path
) -> None:
    with linked(hub, tmp_path) as (link, chat):
        first, second = chat.session(account="SG-10", wait=5), chat.session(account="SG-11", wait=5)
        link.swallow_response = "context"
        others_tell(hub, "account=SG-10")
        eventually(lambda: not link.swallow_response)
        assert first.context().count("transfer.failed") == 0
        others_tell(hub, "account=SG-11")  # its frame shows that one is missing
        eventually(lambda: first.context().count("transfer.failed") == 1)
        eventually(lambda: second.context().count("transfer.failed") == 1)
        assert [kind for kind in link.streams[1] if kind != "pending"][:3] == ["hello", "subscribe", "subscribe"]
        (gap,) = [error for error in chat.status()["errors"] if error.startswith("SEQUENCE_GAP")]
        assert "came where" in gap
        eventually(lambda: chat.status()["connection"] == "READY")


def test_a_message_that_the_hub_never_heard_is_found_by_the_next_one_and_stated_on_the_next_stream(
    hub: RunningHub, tmp_path: Path
) -> None:
    with linked(hub, tmp_path) as (link, chat):
        link.swallow_request = "subscribe"
        first = chat.session(account="SG-20", wait=0)
        eventually(lambda: not link.swallow_request)
        second = chat.session(account="SG-21", wait=0)
        assert first.wait(10)
        assert second.wait(10)
        assert link.ends == [("ABORTED", "SEQUENCE_GAP")]
        others_tell(hub, "account=SG-20")
        eventually(lambda: first.context().count("transfer.failed") == 1)


@pytest.mark.unwatched("its link swallows messages: the hole in their numbers is what the SDK has to find")
def test_an_own_fact_in_the_overlay_survives_a_hole_and_is_counted_once(hub: RunningHub, tmp_path: Path) -> None:
    with linked(hub, tmp_path) as (link, chat):
        session = chat.session(account="SG-30", wait=5)
        seen: list[int] = []
        question = chat.decision("count", record="never")(lambda c: c.count("chat.opened"))
        stop = threading.Event()

        def watch() -> None:
            while not stop.is_set():
                seen.append(session.decide(question).value)

        watching = threading.Thread(target=watch)
        watching.start()
        try:
            for number in range(1, 6):
                link.swallow_response = "context" if number % 2 else ""
                session.track("chat.opened")
                assert chat.flush(10)
            link.swallow_response = ""
            others_tell(hub, "account=SG-30")
            eventually(lambda: session.context().count("transfer.failed") == 1)
            held = chat.runtime().machine.replica.all()[0]
            eventually(lambda: not held.pending)
        finally:
            stop.set()
            watching.join(10)
        assert seen == sorted(seen)
        assert session.decide(question).value == 5
