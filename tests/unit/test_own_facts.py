"""Own facts on the host's thread: details that need no decoding, and what the hub is told of what is shown."""

from __future__ import annotations

import json
import threading
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from segue.domain.fact import Fact, decoded, properties_bytes
from segue.domain.identifier import Identifier
from segue.replica import Held
from segue.sync import Incoming, Machine
from segue.wire_sync import outgoing_to_wire

from tests.building import BEGIN, fact, realistic
from tests.unit.logs import law

ANN = Identifier("account", "A-1")
VALUES = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.integers(), max_size=2)


def _typed(value: object) -> object:
    """A value with its types and the order of its keys: True is not 1, and 0.0 is not -0.0."""
    if isinstance(value, dict):
        return [(name, _typed(part)) for name, part in value.items()]
    return (type(value), repr(value))


@law(500)
@given(st.dictionaries(st.text(), VALUES, max_size=6))
def test_details_that_need_no_decoding_are_what_decoding_gives(properties: dict[str, Any]) -> None:
    try:
        raw = properties_bytes(properties)
    except UnicodeEncodeError:
        return  # a lone surrogate: no fact
    found = decoded(properties)
    if any(isinstance(value, list) for value in properties.values()):
        assert found is None
    else:
        assert _typed(found) == _typed(json.loads(raw))


def test_details_of_other_types_are_decoded() -> None:
    class Text(str):
        pass

    assert decoded({"a": Text("x")}) is None
    assert decoded({Text("a"): 1}) is None
    assert decoded({"a": (1, 2)}) is None
    assert decoded({1: 2}) is None  # type: ignore[dict-item]  # what a host may do


def _facts(count: int, first: int = 0) -> list[Fact]:
    numbers = range(first + 1, first + count + 1)
    return [fact("transfer.started", BEGIN + n * 1000, transfer_id=f"T{n % 3}") for n in numbers]


def _machine(*, several: bool = False) -> Machine:
    made = Machine("app-1", "test")
    made.connected()
    welcome = {"incarnation": "i", "server_time": 5, "touchpoint": "app", "several": several}
    made.received(Incoming("welcome", welcome, 1), 0)
    return made


def test_what_is_shown_is_told_once_and_together() -> None:
    made = _machine()
    held, _ = made.subscribe(ANN, "service")
    one, two = _facts(2)
    made.own(held, one)
    made.own(held, two)
    (told,) = made.shown()
    assert (told.kind, told.fields) == ("pending", {"subscription": held.number, "facts": [one.id, two.id]})
    assert made.shown() == []


def test_what_is_shown_of_several_customers_is_told_at_once_where_the_hub_takes_it() -> None:
    for several, messages in ((False, 300), (True, 2)):
        made = _machine(several=several)
        shown = {}
        for number, own in enumerate(_facts(300)):
            held, _ = made.subscribe(Identifier("account", str(number)), "service")
            made.own(held, own)
            shown[held.number] = [own.id]
        told = [outgoing_to_wire(message, place) for place, message in enumerate(made.shown(), 1)]
        assert len(told) == messages
        each = [one for request in told for one in request.pending_of_several.pending or [request.pending]]
        assert {one.subscription: list(one.facts) for one in each} == shown
        made.disconnected()
        made.connected()
        assert not made.several, "another hub may answer: it has to say so itself"


def test_what_is_gone_meanwhile_is_not_told_and_a_new_stream_states_all() -> None:
    made = _machine()
    held, _ = made.subscribe(ANN, "service")
    one, two, three = _facts(3)
    made.own(held, one)
    made.own(held, two)
    made.rejected([one.id])
    assert [told.fields["facts"] for told in made.shown()] == [[two.id]]
    made.own(held, three)
    made.disconnected()
    assert made.shown() == []
    (subscribe,) = [message for message in made.connected() if message.kind == "subscribe"]
    assert subscribe.fields["pending"] == [two.id, three.id]
    made.unsubscribe(held)
    assert made.shown() == []


def test_beyond_what_is_shown_telling_lays_nothing_and_asking_lays_all_that_is_left() -> None:
    held, plan = Held(1, ANN, "service"), realistic()
    laid = held.shown
    for own in _facts(500):
        held.show(own, plan, 256)
        assert held.laid is laid, "a host that tells pays for what nobody asked"
    left = list(held.pending.values())
    assert 192 <= len(left) <= 256
    assert left[-1].occurred_at == BEGIN + 500_000
    assert held.shown.overlay == tuple(own.id for own in left)
    assert held.shown.content.facts == len(left)
    assert held.shown is held.laid
    assert not held.unlaid


def test_whoever_reads_meanwhile_finds_own_facts_or_more_never_none() -> None:
    held, plan, facts, ended = Held(1, ANN, "service"), realistic(), _facts(2_000), threading.Event()
    held.show(facts[0], plan, 16)
    few: list[int] = []

    def read() -> None:
        while not ended.is_set():
            if len(found := held.shown.overlay) < 1:
                few.append(len(found))

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    for own in facts[1:]:
        held.show(own, plan, 16)
    ended.set()
    for reader in readers:
        reader.join()
    assert not few
    assert held.shown.overlay == tuple(held.pending)
