"""Negative controls of `tests/observing.py`: an SDK that skips, repeats or reorders is caught in a test that says
nothing of watch checks, by what every test has around it. Hub, streams and sessions are real; only the SDK lies."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from segue.sync import Machine
from segue.transport import SyncCall
from segue.v1 import sync_pb2
from segue_hub.testing import RunningHub, run_hub

from tests import observing
from tests.calling import calling, event
from tests.joining import EXAMPLE, joined
from tests.waiting import eventually

TOLD = 5
Fields = dict[str, Any]
Take = Callable[[Fields], Any]


@pytest.fixture(scope="module")
def hub() -> Iterator[RunningHub]:
    with run_hub(EXAMPLE) as running:
        yield running


def followed(hub: RunningHub, folder: Path, customer: str) -> None:
    """A plain test: somebody is held by the SDK, and facts come one by one."""
    with (
        joined(hub, "chat", folder) as chat,
        calling(hub.address, hub.key("app")) as app,
        chat.session(account=customer, wait=5),
    ):
        stream = observing.stream_of(chat.runtime())
        for number in range(TOLD):
            had = len(stream.history.frames())
            app.send(event("transfer.started", f"account={customer}", transfer_id=f"T-{number}"))
            eventually(lambda had=had: len(stream.history.frames()) > had)


def skips_the_third(frames: list[Fields], take: Take) -> None:
    if len(frames) != 3:
        take(frames[-1])


def skips_the_last(frames: list[Fields], take: Take) -> None:
    if len(frames) <= TOLD:
        take(frames[-1])


def repeats_an_old_one(frames: list[Fields], take: Take) -> None:
    take(frames[-1])
    if len(frames) == 4:
        take(frames[1])


def takes_two_the_wrong_way_round(frames: list[Fields], take: Take) -> None:
    if len(frames) == 4:
        take(frames[3])
        take(frames[2])
    elif len(frames) != 3:
        take(frames[-1])


@pytest.mark.parametrize("lie", [skips_the_third, skips_the_last, repeats_an_old_one, takes_two_the_wrong_way_round])
def test_control_an_sdk_that_takes_frames_in_otherwise_is_caught(
    hub: RunningHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lie: Callable[[list[Fields], Take], None]
) -> None:
    frames, original = list[Fields](), Machine._on_context

    def taken(machine: Machine, fields: Fields, at: int) -> Any:
        frames.append(fields)
        lie(frames, lambda one: original(machine, one, at))
        return []

    monkeypatch.setattr(Machine, "_on_context", taken)
    monkeypatch.setattr(observing, "SETTLES", 0.5)
    with observing.caught() as wrong:
        followed(hub, tmp_path, f"OS-{lie.__name__}")
    assert any("shows" in one for one in wrong), wrong


def test_control_a_stream_that_swallows_the_last_frame_is_caught(
    hub: RunningHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The SDK finds no hole itself: the cold read at the end says what it should hold."""
    original = SyncCall.__iter__

    def heard(call: SyncCall) -> Iterator[sync_pb2.SyncResponse]:
        contexts = 0
        for message in original(call):
            contexts += message.WhichOneof("body") == "context"
            if contexts <= 1 or message.WhichOneof("body") != "context":
                yield message

    monkeypatch.setattr(SyncCall, "__iter__", heard)
    monkeypatch.setattr(observing, "SETTLES", 0.5)
    with (
        observing.caught() as wrong,
        joined(hub, "chat", tmp_path) as chat,
        calling(hub.address, hub.key("app")) as app,
        chat.session(account="OS-S", wait=5),
    ):
        app.send(event("transfer.started", "account=OS-S", transfer_id="T"))
    assert any("holds" in one for one in wrong), wrong


def test_control_a_stream_that_tells_twice_or_out_of_order_is_caught(
    hub: RunningHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = SyncCall.__iter__

    def heard(call: SyncCall) -> Iterator[sync_pb2.SyncResponse]:
        for message in original(call):
            yield message
            if message.WhichOneof("body") == "context":
                yield message

    monkeypatch.setattr(SyncCall, "__iter__", heard)
    with observing.caught() as wrong, joined(hub, "chat", tmp_path) as chat, chat.session(account="OS-T", wait=5):
        pass
    assert any("has seq" in one for one in wrong), wrong


def test_a_stream_that_is_told_the_truth_passes_and_was_held_against_all_of_it(hub: RunningHub, tmp_path: Path) -> None:
    before = observing.judged.copy()
    with observing.caught() as wrong:
        followed(hub, tmp_path, "OS-0")
    assert wrong == []
    assert set(observing.judged - before) == {"at every moment", "atomic", "settled"}


def test_control_half_a_change_is_caught(hub: RunningHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a customer whose log has one fact more than she was told of, at the same version."""
    monkeypatch.setattr(observing, "_log_of", lambda hub, real=observing._log_of: (real(hub) or [])[:-1])
    with observing.caught() as wrong:
        followed(hub, tmp_path, "OS-H")
    assert any("facts, the log" in one for one in wrong), wrong
