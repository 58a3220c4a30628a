"""A stream that ended leaves nothing in the hub's memory that only a search for cycles would find.

The hub seeks cycles among young objects only, and what lives longer is never looked at again (`cli/serve.py`): what a
stream of half an hour would leave in a cycle would stay for good.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest
from segue.v1 import sync_pb2
from segue_hub.server.sync_service import _Session
from segue_hub.services.fan_out import Stream as HubStream
from segue_hub.testing import RunningHub, run_hub

from tests.building import document
from tests.calling import calling, event
from tests.joining import EXAMPLE
from tests.streaming import Stream
from tests.waiting import eventually


@pytest.fixture
def hub() -> Iterator[RunningHub]:
    with run_hub(EXAMPLE) as running:
        yield running


def alive(kind: type) -> int:
    """How many there are, dead or not."""
    return sum(type(found) is kind for found in gc.get_objects())


def test_what_a_stream_held_is_let_go_of_without_a_search_for_cycles(hub: RunningHub) -> None:
    gc.collect()
    before = alive(_Session), alive(HubStream)
    gc.disable()
    try:
        for number in range(5):
            with calling(hub.address, hub.key("desk")) as caller:
                stream = Stream(caller)
                stream.subscribe(1, f"account=A-{number}")
                stream.say(watch_audience=sync_pb2.WatchAudience(subscription=2, audience="in_trouble"))
                caller.send(event("call.started", f"account=A-{number}"))
                eventually(lambda stream=stream: stream.frames(1) and stream.heard("audience"))
                assert alive(_Session) > before[0]
                stream.close()
        eventually(lambda: (alive(_Session), alive(HubStream)) == before)
    finally:
        gc.enable()


NIGHTS = {
    "guardrails": {
        "night": {
            "applies_to": 'action.purpose == "service"',
            "quiet_hours": {"from": "21:00", "to": "08:00", "zone": "customer"},
            "reason": "People sleep.",
        }
    },
    "touchpoints": {"web": {"channel": "web", "writes": ["*"], "reads": {"service": ["timeline"]}}},
}
"""Who may not see where a customer lives is told of the nights to come, and again when those are over."""


def test_what_is_subscribed_to_again_and_again_holds_one_wake_up() -> None:
    """Counterexample: the wake-up of each subscription before was still pending, for days, with what it held."""
    with run_hub() as hub, calling(hub.address, hub.key("web")) as caller:
        hub.call(hub.hub.plans.push(document(NIGHTS), {}, "test", ""))
        caller.send(event("page.viewed", "account=A-1"))
        stream = Stream(caller)
        for turn in range(1, 51):
            stream.subscribe(1, "account=A-1")
            eventually(lambda turn=turn: len(stream.frames(1)) >= turn)
        assert hub.hub.timers.pending == 1
        stream.close()
        eventually(lambda: not hub.hub.timers.pending)
