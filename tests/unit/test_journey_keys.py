"""TI3: what a fact with the key of a running journey is to it, whatever its type."""

from __future__ import annotations

from segue.domain.fold import fold
from segue.domain.plan import Plan

from tests.building import document, fact

MAP = {
    "m": {
        "starts": 'event.type == "call.started"',
        "key": "event.interaction",
        "reaches_goal": 'event.type == "agent.ended"',
    }
}
SKETCH = {
    "channels": {"ivr": {}, "voice": {"assisted": True}},
    "events": {"call.started": {}, "queue.joined": {}, "agent.ended": {}},
    "maps": MAP,
}


def test_an_event_of_a_type_that_no_condition_names_belongs_to_the_journey_of_its_key() -> None:
    """Found in the bank's log: 640 repeat calls waited in the queue, and no report said so."""
    plan = Plan(document(SKETCH))
    content = fold(
        plan,
        [
            fact("call.started", "0s", "account=A", channel="ivr", visit="c1"),
            fact("queue.joined", "10s", "account=A", channel="voice", visit="c1"),
            fact("queue.joined", "20s", "account=A", channel="voice", visit="c2"),
        ],
    )
    (journey,) = content.journeys.values()
    assert dict(journey.interactions) == {"ivr": 1, "voice": 1}
