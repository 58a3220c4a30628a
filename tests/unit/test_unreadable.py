"""Bytes that cannot be read, as fuzzing found them (F19) or looking where it would: each has its name here."""

from __future__ import annotations

import json
import time
import warnings
from contextlib import closing
from pathlib import Path

import pytest
import segue
from google.protobuf import any_pb2, duration_pb2
from google.rpc import error_details_pb2, status_pb2
from segue.domain.identifier import Identifier
from segue.outbox import Offered, Outbox
from segue.retry_hint import asked_pause
from segue.sync import Machine, prepare
from segue.v1 import sync_pb2
from segue.wire_sync import incoming_from_wire
from segue_hub.checking.plan_check import check_plan
from segue_hub.checking.yaml_text import DEPTH, YamlBroken, read_yaml

from tests.offering import offer


def frame(subscription: int, envelope: object) -> sync_pb2.SyncResponse:
    update = sync_pb2.ContextUpdate(subscription=subscription)
    update.context.version, update.context.view, update.context.customer = 7, "v", "c1"
    section = update.context.sections.add()
    section.name, section.data = "envelope", json.dumps(envelope).encode()
    return sync_pb2.SyncResponse(context=update)


def heard(machine: Machine, *responses: sync_pb2.SyncResponse) -> None:
    for number, response in enumerate(responses, 1):
        response.seq = number
        machine.received(prepare(incoming_from_wire(response)), 0)


def test_a_context_that_cannot_be_read_keeps_what_is_held_and_the_stream_goes_on() -> None:
    machine = Machine("i", "t")
    machine.connected()
    one, _ = machine.subscribe(Identifier("account", "1"), "service")
    two, _ = machine.subscribe(Identifier("account", "2"), "service")
    good = [1, None, 3, 2**62]
    heard(machine, frame(one.number, good), frame(one.number, ["of", "another", "shape"]), frame(two.number, good))
    assert (one.version, two.version) == (7, 7)
    assert machine.state != "GAPPED"
    assert [error.partition(":")[0] for error in machine.errors] == ["FRAME_UNREADABLE"]


def test_a_touchpoint_hears_past_a_context_that_cannot_be_read(tmp_path: Path) -> None:
    """Regression: the guard was there, and the runtime took the message as it was before it."""
    with closing(segue.Touchpoint("chat", hub="", state=tmp_path)) as chat:
        runtime = chat.runtime()
        runtime.machine.connected()
        held, _ = runtime.machine.subscribe(Identifier("account", "1"), "service")
        broken, good = frame(held.number, ["of", "another", "shape"]), frame(held.number, [1, None, 3, 2**62])
        broken.seq, good.seq = 1, 2
        assert runtime.hear(broken)
        assert runtime.hear(good)
        assert held.version == 7
        assert [error.partition(":")[0] for error in runtime.machine.errors] == ["FRAME_UNREADABLE"]


@pytest.mark.parametrize(
    "response",
    [
        sync_pb2.SyncResponse(plan=sync_pb2.PlanUpdate(digest="d", document=b"{")),
        sync_pb2.SyncResponse(workspace=sync_pb2.WorkspaceUpdate(digest="d", document=b"\xff")),
        sync_pb2.SyncResponse(
            audience=sync_pb2.AudienceChange(through=1, members=[sync_pb2.AudienceMember(at=2**62, number=1)])
        ),
    ],
    ids=["plan", "workspace", "an instant far away"],
)
def test_a_message_that_cannot_be_read_counts_and_is_said(response: sync_pb2.SyncResponse) -> None:
    machine = Machine("i", "t")
    machine.connected()
    before = machine.plan
    heard(machine, response, sync_pb2.SyncResponse(welcome=sync_pb2.Welcome(incarnation="i", touchpoint="chat")))
    assert machine.state == "READY"
    assert machine.plan is before
    assert machine.errors[0].startswith("FRAME_UNREADABLE")


# -- YAML


def test_a_few_aliases_that_stand_for_millions_of_values_are_refused_quickly() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    began = time.thread_time()
    with pytest.raises(YamlBroken, match="aliases written out"):
        read_yaml("\n".join(lines))
    assert time.thread_time() - began < 20  # of the processor; written out it would be a thousand times that
    (problem, *_) = check_plan({"audiences.yaml": "\n".join(lines)}).problems
    assert "aliases" in str(problem)


def test_an_alias_within_itself_is_refused() -> None:
    with pytest.raises(YamlBroken):
        read_yaml("a: &a [*a]")


def test_a_text_of_any_depth_is_refused_with_its_place() -> None:
    for depth in (DEPTH + 2, 500, 5_000):
        with pytest.raises(YamlBroken):
            read_yaml("[" * depth + "]" * depth)


def test_a_number_of_thousands_of_digits_is_refused_and_a_quoted_one_is_text() -> None:
    with pytest.raises(YamlBroken, match="digits"):
        read_yaml("a: " + "1" * 5_000)
    assert read_yaml(f"a: '{'1' * 5_000}'").value == {"a": "1" * 5_000}


def test_an_anchor_given_twice_is_no_warning() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_yaml("a: &x [1]\nb: &x [2]\nc: *x").value == {"a": [1], "b": [2], "c": [2]}


# -- outboxes


def test_an_orphan_whose_schema_is_torn_is_laid_aside_and_the_outbox_works(tmp_path: Path) -> None:
    """SQLite quotes the torn text in its message, which Python cannot decode: UnicodeDecodeError ended the worker."""
    orphan = tmp_path / "app.1.aaaaaaaaaaaaaaaa.outbox"
    orphan.write_bytes((Path(__file__).parents[1] / "fuzz" / "corpus" / "journals" / "torn-schema").read_bytes())
    outbox = Outbox(tmp_path, "app", 100, 100_000)
    outbox.open()
    assert orphan.name in outbox.trouble
    assert offer(outbox, Offered(b"a" * 16, b"body", 0))
    assert outbox.journal() == 1
    outbox.close()
    assert orphan.exists()


# -- the pause that a hub asks for


def status(*details: object) -> bytes:
    made = status_pb2.Status(code=8, message="full")
    for detail in details:
        wrapped = any_pb2.Any()
        wrapped.Pack(detail)  # type: ignore[arg-type]
        made.details.append(wrapped)
    return made.SerializeToString()


def retry(seconds: int, nanos: int = 0) -> error_details_pb2.RetryInfo:
    return error_details_pb2.RetryInfo(retry_delay=duration_pb2.Duration(seconds=seconds, nanos=nanos))


def test_the_pause_is_read_wherever_it_stands() -> None:
    reason = error_details_pb2.ErrorInfo(reason="OVERLOADED", domain="segue", metadata={"a": "b"})
    assert asked_pause(status(retry(1, 250_000_000))) == 1250
    assert asked_pause(status(reason, retry(0, 5_000_000))) == 5
    assert asked_pause(status(retry(3), reason)) == 3000


def test_where_no_pause_is_said_or_it_cannot_be_read_there_is_none() -> None:
    whole = status(retry(1))
    cut_short = [whole[:cut] for cut in range(len(whole))]
    told = [status(), status(error_details_pb2.ErrorInfo()), status(retry(-5)), status(retry(0))]
    for data in (b"", b"\xff" * 20, b"\x1a\x7f", *told, *cut_short):
        assert asked_pause(data) == 0, data
