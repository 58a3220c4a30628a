"""Negative controls of the watch checks: a watcher that skips is caught, whichever message it skips, and however well
it hides it. The histories are real ones, of a real hub; only the watcher lies."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from segue.v1 import sync_pb2
from segue_hub.testing import RunningHub, run_hub

from tests.calling import calling, event
from tests.joining import EXAMPLE
from tests.streaming import Stream, streaming
from tests.waiting import eventually

TOLD = 4


@pytest.fixture(scope="module")
def hub() -> Iterator[RunningHub]:
    with run_hub(EXAMPLE) as running:
        yield running


def watched(hub: RunningHub, customer: str, lie: Callable[[Stream], None]) -> None:
    with (
        calling(hub.address, hub.key("chat")) as chat,
        calling(hub.address, hub.key("app")) as app,
        streaming(chat, hub=hub) as stream,
    ):
        stream.subscribe(1, customer)
        stream.frame(1)
        for number in range(TOLD):
            had = len(stream.frames(1))
            app.send(event("transfer.started", customer, transfer_id=f"T-{number}"))
            eventually(lambda had=had: len(stream.frames(1)) > had)
        lie(stream)


def contexts(stream: Stream) -> list[int]:
    return [place for place, m in enumerate(stream.history.messages) if m.WhichOneof("body") == "context"]


def numbered_anew(stream: Stream) -> None:
    for number, message in enumerate(stream.history.messages, 1):
        message.seq = number


def skips_one(stream: Stream) -> None:
    del stream.history.messages[contexts(stream)[2]]


def skips_the_last_and_hides_it(stream: Stream) -> None:
    del stream.history.messages[contexts(stream)[-1]]
    numbered_anew(stream)


def shows_an_old_one_as_new(stream: Stream) -> None:
    first, last = (stream.history.messages[contexts(stream)[place]] for place in (1, -1))
    held = sync_pb2.SyncResponse.FromString(first.SerializeToString())
    held.context.context.version = last.context.context.version
    last.CopyFrom(held)
    numbered_anew(stream)


def tells_one_twice(stream: Stream) -> None:
    stream.history.messages.append(stream.history.messages[contexts(stream)[-1]])
    numbered_anew(stream)


def test_a_watcher_that_tells_the_truth_passes(hub: RunningHub) -> None:
    watched(hub, "account=WC-0", lambda stream: None)


@pytest.mark.parametrize("lie", [skips_one, skips_the_last_and_hides_it, shows_an_old_one_as_new, tells_one_twice])
def test_control_a_watcher_that_skips_or_lies_is_caught(hub: RunningHub, lie: Callable[[Stream], None]) -> None:
    with pytest.raises(AssertionError, match=r"subscription 1|has seq"):
        watched(hub, f"account=WC-{lie.__name__}", lie)
