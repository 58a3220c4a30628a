"""A hub's limits: what is refused, with which code, cure and hint, that it is counted, and that others go on."""

from __future__ import annotations

import asyncio
import json
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import fields
from pathlib import Path
from typing import Any

import grpc
import pytest
import segue
from click.testing import CliRunner
from grpc_health.v1 import health_pb2, health_pb2_grpc
from segue.errors import ConfigError
from segue.publisher import pause
from segue.v1 import context_pb2, event_service_pb2, sync_pb2
from segue.wire import fact_to_wire, identifier_to_wire
from segue_hub.cli import main
from segue_hub.limits import Limits, limits_of
from segue_hub.testing import RunningHub, run_hub

from tests.calling import calling, event, refusal, retry_after
from tests.joining import EXAMPLE
from tests.streaming import streaming
from tests.waiting import eventually

REFERENCE = Path(__file__).resolve().parents[2] / "docs" / "reference"


class Limited(RunningHub):
    keys: dict[str, str]


@pytest.fixture
def hub() -> Iterator[Limited]:
    small = Limits(
        batch=10, calls=4, calls_per_touchpoint=3, admin_calls=1, streams=4, streams_per_touchpoint=3,
        streams_per_connection=2, anonymous_streams=1, subscriptions=5, pending=256, message_bytes=64 * 1024,
        queue_bytes=64 * 1024, queue_ms=200, outgoing_bytes=1024,
    )  # fmt: skip
    with run_hub(EXAMPLE, limits=small) as running:
        running.keys = {name: running.key(name) for name in ("app", "ivr")}
        yield running


def counted(hub: Limited) -> dict[str, int]:
    found: dict[str, int] = hub.hub.overview.plain()["limits"]["refused"]
    return found


class Held:
    """Keeps the writer busy, so that facts wait for it, until it is let go."""

    def __init__(self, hub: Limited) -> None:
        self._go = threading.Event()
        self._busy = threading.Event()

        async def hold() -> None:
            loop = asyncio.get_running_loop()
            self._held = loop.run_in_executor(hub.hub.ingest._writer, self._wait)

        hub.call(hold())
        assert self._busy.wait(10)

    def _wait(self) -> None:
        self._busy.set()
        self._go.wait(20)

    def let_go(self) -> None:
        self._go.set()


def publish(caller: Any, *facts: Any, timeout: float | None = 30) -> Any:
    request = event_service_pb2.PublishEventsRequest(facts=[fact_to_wire(fact) for fact in facts])
    return caller.events.PublishEvents.future(request, metadata=caller.metadata, timeout=timeout)


def fact(**more: Any) -> Any:
    return event("transfer.started", "account=L-1", transfer_id="T", **more)


def call() -> Any:
    return event("call.started", "account=L-1")


# -- deadlines


def test_a_call_without_a_deadline_is_refused_with_the_cure(hub: Limited) -> None:
    with calling(hub.address, hub.keys["app"], deadlines=False) as app:
        with pytest.raises(grpc.RpcError) as caught:
            publish(app, fact(), timeout=None).result()
        assert refusal(caught.value) == ("INVALID_ARGUMENT", "DEADLINE_REQUIRED")
        assert "timeout=10" in caught.value.details()
        with pytest.raises(grpc.RpcError) as caught:
            app.contexts.GetContext(context_pb2.GetContextRequest(), metadata=app.metadata)
        assert refusal(caught.value)[1] == "DEADLINE_REQUIRED"
        assert publish(app, fact(), timeout=10).result().results[0].status == event_service_pb2.FACT_STATUS_ACCEPTED
    assert counted(hub)["deadline"] == 2


def test_without_a_key_nobody_learns_of_deadlines(hub: Limited) -> None:
    with calling(hub.address, deadlines=False) as nobody, pytest.raises(grpc.RpcError) as caught:
        publish(nobody, fact(), timeout=None).result()
    assert refusal(caught.value)[1] == "KEY_MISSING"


def test_the_sdk_and_the_command_line_always_say_how_long_they_wait(hub: Limited, tmp_path: Path) -> None:
    app = segue.Touchpoint("app", hub=hub.address, key=hub.keys["app"], state=tmp_path / "app")
    app.session(account="L-2", wait="5s").track("transfer.started", transfer_id="T")
    assert app.flush(20)
    app.close()
    runner = CliRunner()
    for command in (["status"], ["plan", "list"], ["customer", "show", "account=L-2"], ["audience", "list"],
                    ["touchpoint", "add", "ivr"], ["plan", "push", str(EXAMPLE)], ["incident", "list"]):  # fmt: skip
        done = runner.invoke(main, [*command, "--hub", hub.address], env={"SEGUE_ADMIN_KEY": hub.admin_key})
        assert done.exit_code == 0, (command, done.output)
    assert counted(hub).get("deadline", 0) == 0


# -- places


def test_calls_of_one_touchpoint_are_bounded_and_others_and_the_admin_go_on(hub: Limited) -> None:
    held = Held(hub)
    with ExitStack() as stack:
        app, ivr = (stack.enter_context(calling(hub.address, hub.keys[name])) for name in ("app", "ivr"))
        waiting = [publish(app, fact()) for _ in range(3)]
        eventually(lambda: hub.hub.pressure.count("calls") == 3)
        with pytest.raises(grpc.RpcError) as caught:
            publish(app, fact()).result()
        assert refusal(caught.value) == ("RESOURCE_EXHAUSTED", "OVERLOADED")
        assert "calls_per_touchpoint" in caught.value.details()
        assert retry_after(caught.value) > 0
        waiting.append(publish(ivr, call()))
        eventually(lambda: hub.hub.pressure.count("calls") == 4)
        with pytest.raises(grpc.RpcError) as caught:
            publish(ivr, call()).result()
        assert "limit calls" in caught.value.details()
        with calling(hub.address, hub.admin_key) as admin:  # has room of its own
            from segue.v1 import admin_service_pb2

            status = admin.admin.GetStatus(admin_service_pb2.GetStatusRequest(), metadata=admin.metadata)
            assert json.loads(status.document)["limits"]["calls"] == 5  # this one too
        held.let_go()
        assert [len(answer.result().results) for answer in waiting] == [1, 1, 1, 1]
        assert len(publish(app, fact()).result().results) == 1
    assert counted(hub) == {"calls_per_touchpoint": 1, "calls": 1}
    eventually(lambda: hub.hub.pressure.count("calls") == 0)


def test_a_call_that_is_given_up_gives_its_place_back_and_is_not_written(hub: Limited) -> None:
    held = Held(hub)
    with calling(hub.address, hub.keys["app"]) as app:
        first = publish(app, fact())  # taken by the writer at once
        eventually(lambda: not len(hub.hub.ingest.queue) and hub.hub.ingest.queue.bytes)
        given_up = publish(app, fact())
        eventually(lambda: len(hub.hub.ingest.queue) == 1)
        given_up.cancel()
        eventually(lambda: hub.hub.pressure.count("calls") == 1)
        held.let_go()
        first.result()
        publish(app, fact()).result()
    assert hub.hub.pressure.abandoned == 1
    assert hub.hub.ingest.counts["ACCEPTED"] == 2
    assert hub.hub.store.counts()["facts"] == 2


def test_streams_are_bounded_by_connection_touchpoint_and_hub(hub: Limited) -> None:
    keys = hub.keys
    with ExitStack() as stack:

        def opened(caller: Any) -> Any:
            stream = stack.enter_context(streaming(caller, hub=hub))
            eventually(lambda: stream.heard("welcome") or stream.ended.is_set())
            return stream

        one, two = (stack.enter_context(calling(hub.address, keys["app"])) for _ in range(2))
        assert [opened(one).error for _ in range(2)] == [None, None]
        refused = opened(one).error
        assert refused is not None
        assert "streams_per_connection" in refused.details()
        assert refusal(refused) == ("RESOURCE_EXHAUSTED", "OVERLOADED")
        assert retry_after(refused) > 0
        assert opened(two).error is None
        assert "streams_per_touchpoint" in opened(two).error.details()
        three = stack.enter_context(calling(hub.address, keys["ivr"]))
        assert opened(three).error is None
        assert "limit streams:" in opened(three).error.details()
    eventually(lambda: hub.hub.pressure.count("streams") == 0)
    with calling(hub.address, keys["app"]) as again, streaming(again, hub=hub) as stream:
        eventually(lambda: stream.heard("welcome"))


def test_streams_without_a_key_are_bounded_and_a_health_check_is_answered_all_the_same(hub: Limited) -> None:
    with calling(hub.address) as nobody:
        stub = health_pb2_grpc.HealthStub(nobody.channel)
        watch = stub.Watch(health_pb2.HealthCheckRequest())
        next(watch)
        with pytest.raises(grpc.RpcError) as caught:
            next(stub.Watch(health_pb2.HealthCheckRequest()))
        assert refusal(caught.value) == ("RESOURCE_EXHAUSTED", "OVERLOADED")
        assert stub.Check(health_pb2.HealthCheckRequest()).status == health_pb2.HealthCheckResponse.SERVING
        watch.cancel()


# -- sizes


def test_a_batch_and_a_message_have_their_size(hub: Limited) -> None:
    with calling(hub.address, hub.keys["app"]) as app:
        with pytest.raises(grpc.RpcError) as caught:
            publish(app, *(fact() for _ in range(11))).result()
        assert refusal(caught.value) == ("INVALID_ARGUMENT", "BATCH_TOO_LARGE")
        with pytest.raises(grpc.RpcError) as caught:
            publish(app, *(fact(text="x" * 30_000) for _ in range(3))).result()
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        events = [{"specversion": "1.0", "id": str(n), "source": "t", "type": "transfer.started"} for n in range(11)]
        post = urllib.request.Request(
            f"{hub.http}/v1/events", json.dumps(events).encode(), {"Authorization": f"Bearer {hub.key('app')}"}
        )
        with pytest.raises(urllib.error.HTTPError) as told:
            urllib.request.urlopen(post, timeout=10)
        assert told.value.code == 413
        assert json.loads(told.value.read())["error"]["code"] == "BATCH_TOO_LARGE"
        told.value.close()


def test_the_queue_is_bounded_by_bytes_what_is_being_written_included(hub: Limited) -> None:
    held = Held(hub)
    with calling(hub.address, hub.keys["app"]) as app, ThreadPoolExecutor(1):
        waiting = publish(app, fact(text="x" * 50_000))
        eventually(lambda: hub.hub.ingest.queue.bytes > 50_000)
        with pytest.raises(grpc.RpcError) as caught:
            publish(app, fact(text="x" * 30_000)).result()
        assert refusal(caught.value) == ("RESOURCE_EXHAUSTED", "OVERLOADED")
        assert "queue_bytes" in caught.value.details()
        assert retry_after(caught.value) == 0.5
        small = publish(app, fact())
        held.let_go()
        waiting.result()
        small.result()
    assert hub.hub.ingest.queue.bytes == 0
    assert counted(hub)["queue_bytes"] == 1


def test_where_facts_wait_long_for_the_writer_further_ones_are_refused_at_once(hub: Limited) -> None:
    held = Held(hub)
    with calling(hub.address, hub.keys["app"]) as app, calling(hub.address, hub.keys["ivr"]) as ivr:
        waiting = [publish(app, fact())]
        eventually(lambda: not len(hub.hub.ingest.queue) and hub.hub.ingest.queue.bytes)
        waiting.append(publish(app, fact()))

        def refused() -> str:
            try:
                waiting.append(publish(ivr, call(), timeout=1))
                waiting[-1].result()
            except grpc.RpcError as error:
                return error.details() if "queue_ms" in (error.details() or "") else ""
            return ""

        eventually(refused)
        held.let_go()
        waiting[0].result()
        waiting[1].result()
        eventually(lambda: publish(app, fact()).exception() is None)


def test_a_stream_may_subscribe_and_ask_so_much_and_goes_on(hub: Limited) -> None:
    with calling(hub.address, hub.keys["app"]) as app, streaming(app, hub=hub) as stream:
        for number in range(1, 7):
            stream.subscribe(number, f"account=S-{number}")
        (error,) = eventually(lambda: stream.heard("error"))
        assert (error.subscription, error.code) == (6, "OVERLOADED")
        ids = [number.to_bytes(16, "big") for number in range(300)]
        for asked in (ids, [b"x" * 1000], ids[:200]):
            stream.say(pending=sync_pb2.Pending(subscription=1, facts=asked))
        eventually(lambda: len(stream.heard("error")) == 3)
        stream.subscribe(1, "account=S-1", pending=ids[:256])  # in place of the old one
        app.send(event("transfer.started", "account=S-5", transfer_id="T"))
        stream.frame(5, lambda frame: frame.HasField("context"))
        assert len(stream.heard("error")) == 3
        (state,) = hub.hub.fan_out.streams
        assert state.pending == 256
    assert counted(hub) == {"subscriptions": 1, "pending": 2}


# -- what is done about it


def test_the_sdk_waits_as_long_as_it_is_asked_to(hub: Limited, tmp_path: Path) -> None:
    held = Held(hub)
    app = segue.Touchpoint("app", hub=hub.address, key=hub.keys["app"], state=tmp_path / "app")
    session = app.session(account="L-3", wait=0)
    with calling(hub.address, hub.keys["app"]) as bare:
        waiting = publish(bare, *(fact(text="x" * 6_000) for _ in range(10)))
        eventually(lambda: hub.hub.ingest.queue.bytes > 60_000)
        session.track("transfer.started", transfer_id="x" * 5000)
        runtime = app._runtime
        eventually(lambda: "queue_bytes" in runtime.publisher.last_error)
        assert runtime.publisher._retry_at - time.monotonic() > 0
        held.let_go()
        waiting.result()
    assert app.flush(30)
    assert app.status()["delivered"] == 1
    assert app.status()["losses"] == {}
    app.close()


def test_a_pause_is_never_shorter_than_asked_and_never_mad() -> None:
    assert all(0.5 <= pause(n, 500) <= 5.5 for n in range(1, 40))
    assert all(pause(n, 10**9) <= 65 for n in range(1, 40))
    assert all(pause(1, 0) <= 0.5 for _ in range(40))


# -- how they are set and told


def test_limits_are_read_from_texts() -> None:
    assert limits_of(["calls=7", "batch=5"]) == Limits(calls=7, batch=5)
    for texts, told in (
        (["cals=7"], "did you mean calls"), (["calls=many"], "no whole number"), (["calls=0"], "less than 1"),
        (["calls"], "no whole number"), (["queue_bytes=65536"], "message_bytes"), (["calls=-1"], "no whole number"),
    ):  # fmt: skip
        with pytest.raises(ConfigError, match=told):
            limits_of(texts)


def test_every_limit_is_in_the_reference_and_in_the_commands_help() -> None:
    page = (REFERENCE / "limits.md").read_text(encoding="utf-8")
    helped = CliRunner().invoke(main, ["serve", "--help"], terminal_width=160).output
    for one in fields(Limits):
        assert f"`{one.name}` | {one.default:,} |" in page
        assert f"{one.name}={one.default}" in helped


def test_serve_refuses_a_limit_that_it_does_not_know(tmp_path: Path) -> None:
    done = CliRunner().invoke(main, ["serve", "--store", str(tmp_path / "s.db"), "--insecure", "--limit", "cals=7"])
    assert done.exit_code == 2
    assert "did you mean calls" in done.output
    assert not (tmp_path / "s.db").exists()


def test_limits_are_in_the_metrics(hub: Limited) -> None:
    with calling(hub.address, hub.keys["app"], deadlines=False) as app, pytest.raises(grpc.RpcError):
        app.contexts.GetContext(
            context_pb2.GetContextRequest(identifier=identifier_to_wire(segue.Identifier("account", "1"))),
            metadata=app.metadata,
        )
    with urllib.request.urlopen(f"{hub.http}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    assert 'segue_refused_for_room_total{limit="deadline"} 1.0' in text
    for name in (
        "segue_calls",
        "segue_streams",
        "segue_queue_bytes",
        "segue_slow_readers_total",
        "segue_abandoned_total",
    ):
        assert f"\n{name} " in text
