"""The session machine and the count of its stream's messages: a hole ends it, and nothing after it is taken in."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from segue.domain.identifier import Identifier
from segue.domain.section import Section
from segue.sync import DOWN, GAPPED, PENDING_SHOWN, READY, Incoming, Machine
from segue.v1 import sync_pb2
from segue.wire_sync import incoming_from_wire, outgoing_to_wire

from tests.calling import event

WELCOME = {"incarnation": "i", "server_time": 5, "touchpoint": "app", "several": False}
ANN = Identifier("account", "A-1")


def context(subscription: int, version: int, **more: Any) -> dict[str, Any]:
    return {"subscription": subscription, "unchanged": False, "gone": "", "included": [], "unknown": [],
            "version": version, "view": "v", "customer": "c", "plan": "", "sections": []} | more  # fmt: skip


def machine() -> Machine:
    made = Machine("app-1", "test")
    made.connected()
    made.received(Incoming("welcome", WELCOME, 1), 0)
    assert made.state == READY
    return made


def test_messages_in_order_are_taken_in() -> None:
    made = machine()
    held, _ = made.subscribe(ANN, "service")
    for seq, version in ((2, 7), (3, 8)):
        made.received(Incoming("context", context(held.number, version), seq), 0)
    assert (made.state, held.version, made.errors) == (READY, 8, [])


def test_the_sections_of_a_context_stay_only_where_contexts_are_kept_on_disk() -> None:
    sections = [Section("envelope", b"[7,null,3,0]")]
    for keeps in (False, True):
        made = Machine("app-1", "test", keeps)
        made.connected()
        held, _ = made.subscribe(ANN, "service")
        made.received(Incoming("context", context(held.number, 7, sections=sections), 1), 0)
        assert (held.version, held.shown.content.facts) == (7, 3)
        assert held.sections == (sections if keeps else ())


def test_a_hole_ends_it_and_nothing_of_that_stream_is_taken_in_any_more() -> None:
    made = machine()
    held, _ = made.subscribe(ANN, "service")
    assert made.received(Incoming("context", context(held.number, 7), 3), 0) == []
    assert (made.state, held.version) == (GAPPED, 0)
    assert made.errors == ["SEQUENCE_GAP: message 3 came where 2 follows"]
    for seq in (2, 3, 4):
        made.received(Incoming("context", context(held.number, 9), seq), 0)
    assert (made.state, held.version, len(made.errors)) == (GAPPED, 0, 1)


def test_a_message_told_twice_is_a_hole_too() -> None:
    made = machine()
    made.received(Incoming("welcome", WELCOME, 1), 0)
    assert made.state == GAPPED


def test_a_stream_that_does_not_begin_with_one_is_not_believed() -> None:
    made = Machine("app-1", "test")
    made.connected()
    made.received(Incoming("welcome", WELCOME, 0), 0)
    assert (made.state, made.incarnation) == (GAPPED, "")


def test_the_next_stream_counts_anew_and_states_all_that_is_held() -> None:
    made = machine()
    held, _ = made.subscribe(ANN, "service")
    made.received(Incoming("context", context(held.number, 7), 2), 0)
    made.watch("joiners", "service", lambda *_: None)
    made.received(Incoming("context", context(held.number, 9), 4), 0)
    made.disconnected()
    assert made.state == DOWN
    said = made.connected()
    assert [message.kind for message in said] == ["hello", "subscribe", "watch_audience"]
    assert (said[1].fields["version"], said[1].fields["view"], said[1].fields["customer"]) == (7, "v", "c")
    made.received(Incoming("welcome", WELCOME, 1), 0)
    made.received(Incoming("context", context(held.number, 9), 2), 0)
    assert (made.state, held.version) == (READY, 9)


def test_own_facts_without_end_are_shown_to_a_limit_and_those_that_a_decision_names_are_those_it_read() -> None:
    """Regression: ids of facts shown no more were named on, so that each of 60,000 facts copied all before it."""
    made = machine()
    held, _ = made.subscribe(ANN, "service")
    facts = [event("transfer.started", "account=A-1", transfer_id="T") for _ in range(4 * PENDING_SHOWN)]
    most = 0
    for fact in facts:
        made.own(held, fact)
        assert held.shown.overlay == tuple(held.pending)
        assert fact.id in held.pending
        most = max(most, len(held.shown.overlay))
    assert most == PENDING_SHOWN


def test_a_kind_of_message_that_this_sdk_does_not_know_counts_and_says_nothing() -> None:
    made = machine()
    made.received(incoming_from_wire(sync_pb2.SyncResponse(seq=2)), 0)
    assert made.state == READY
    made.received(incoming_from_wire(sync_pb2.SyncResponse(seq=3, bookmark=sync_pb2.Bookmark(server_time=9))), 0)
    assert (made.state, made.offset) == (READY, 9)


def test_the_wire_carries_the_count_both_ways() -> None:
    made = Machine("app-1", "test")
    assert [outgoing_to_wire(message, n).seq for n, message in enumerate(made.connected(), 1)] == [1]
    welcome = sync_pb2.SyncResponse(seq=1, welcome=sync_pb2.Welcome(incarnation="i"))
    assert incoming_from_wire(welcome).seq == 1


@given(st.lists(st.integers(1, 12), max_size=12))
def test_what_is_taken_in_is_always_a_beginning_of_what_was_sent(arrived: list[int]) -> None:
    """Whatever a broken link drops, doubles or reorders of the messages 1, 2, 3 ..."""
    made = Machine("app-1", "test")
    made.connected()
    heard: list[int] = []
    for seq in arrived:
        made.received(Incoming("audience", {"subscription": 0, "members": [], "reset": False}, seq), 0)
        if made.state != GAPPED:
            heard.append(seq)
    assert heard == list(range(1, len(heard) + 1))
    assert (made.state == GAPPED) == (heard != arrived)


def test_what_the_hub_says_late_of_its_time_sets_nobody_back() -> None:
    """Facts told one after another stay in their order where a message of the hub waited half a second on its way."""
    made = machine()
    made.connected()
    second, delays = 1_000_000, [0, 500_000, 20_000, 300_000, 0]
    told = [hub_time(made, number, 100 * second + number * second, number * second + late)
            for number, late in enumerate(delays, 1)]  # fmt: skip
    assert told == [100 * second] * len(delays)


def test_a_clock_of_the_hub_that_was_set_is_taken_over_at_once_and_a_slow_one_within_eight_messages() -> None:
    made = machine()
    made.connected()
    second = 1_000_000
    assert hub_time(made, 1, 100 * second, 0) == 100 * second
    assert hub_time(made, 2, 130 * second, second) == 129 * second, "forward"
    assert hub_time(made, 3, 52 * second, 2 * second) == 50 * second, "back"
    offsets = [hub_time(made, number, 51 * second, 3 * second) for number in range(4, 12)]
    assert offsets == [50 * second] * 7 + [48 * second]
    assert hub_time(made, 12, 51 * second, 2_000 * second) == -1949 * second, "our own clock was set"


def hub_time(made: Machine, seq: int, server_time: int, at: int) -> int:
    """What the machine takes the hub's clock to be ahead of ours by, after one more message of it."""
    if seq == 1:
        made.received(
            Incoming(
                "welcome", {"incarnation": "i", "server_time": server_time, "touchpoint": "app", "several": False}, 1
            ),
            at,
        )
    else:
        made.received(Incoming("bookmark", {"server_time": server_time, "subscriptions": 0, "digest": ""}, seq), at)
    return made.offset


def test_of_more_own_facts_than_are_noted_one_by_one_the_hub_is_told_all_the_same() -> None:
    made = machine()
    some = [made.subscribe(Identifier("account", f"A-{number}"), "service")[0] for number in range(4_000)]
    facts = [event("call.started", f"account=A-{number}") for number in range(4_000) for _ in range(3)]
    for place, fact in enumerate(facts):
        made.own(some[place // 3], fact)
    told = {(message.fields["subscription"], id_) for message in made.shown() for id_ in message.fields["facts"]}
    assert told == {(some[place // 3].number, fact.id) for place, fact in enumerate(facts)}
    made.own(some[0], facts[0])
    assert [message.fields["facts"] for message in made.shown()] == [[facts[0].id]]
