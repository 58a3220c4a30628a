"""What an id of a reservation is good for: once, for one question, and not after its release (AC2)."""

from __future__ import annotations

import os
import random
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from segue.domain.fact import ACTION, CLAIM, RESERVATION
from segue.domain.identifier import Identifier
from segue.v1 import fact_pb2, reservation_service_pb2, reservation_service_pb2_grpc
from segue.wire import identifier_to_wire
from segue_hub.testing import RunningHub, run_hub

from tests.calling import Caller, calling, event, now, refusal
from tests.integration.test_places import PLAN
from tests.waiting import eventually


def new() -> bytes:
    return uuid.uuid4().bytes


class Asking:
    """One team at the hub, without an SDK."""

    def __init__(self, caller: Caller) -> None:
        self.reads = caller.context
        self._stub = reservation_service_pb2_grpc.ReservationServiceStub(caller.channel)
        self._with: dict[str, Any] = {"metadata": caller.metadata, "timeout": 10}

    def reserve(self, id_: bytes, account: str, kind: str = "offer.upsell") -> Any:
        return self.reserving(id_, account, kind).result()

    def reserving(self, id_: bytes, account: str, kind: str = "offer.upsell") -> Any:
        request = reservation_service_pb2.ReserveRequest(
            id=id_, identifiers=_names(account), kind=kind, action=fact_pb2.Action(purpose="marketing")
        )
        return self._stub.Reserve.future(request, **self._with)

    def release(self, id_: bytes, account: str) -> bool:
        return bool(self.releasing(id_, account).result().released)

    def releasing(self, id_: bytes, account: str) -> Any:
        request = reservation_service_pb2.ReleaseRequest(id=id_, identifiers=_names(account))
        return self._stub.Release.future(request, **self._with)

    def confirm(self, id_: bytes, account: str) -> None:
        action = fact_pb2.Action(purpose="marketing", status="completed", details=b'{"price": 12.5}')
        request = reservation_service_pb2.ConfirmRequest(
            id=id_, identifiers=_names(account), kind="offer.upsell", action=action
        )
        self._stub.Confirm(request, **self._with)

    def is_refused(self, id_: bytes, account: str, kind: str = "offer.upsell") -> str:
        """Asks in vain; returns why."""
        with pytest.raises(grpc.RpcError) as refused:
            self.reserve(id_, account, kind)
        assert refusal(refused.value) == ("ALREADY_EXISTS", "ID_CONFLICT")
        return str(refused.value.details())


def told(hub: RunningHub, account: str, kind: str) -> list[dict[str, Any]]:
    """The properties of a customer's facts of one kind, in the hub's log."""

    async def read() -> list[dict[str, Any]]:
        known = hub.hub.contexts.find(Identifier("account", account))
        facts = hub.hub.contexts.facts(known.customer) if known is not None else []
        return [fact.properties for fact in facts if fact.kind == kind]

    found: list[dict[str, Any]] = hub.call(read())
    return found


def _names(account: str) -> list[fact_pb2.Identifier]:
    return [identifier_to_wire(Identifier("account", account))]


@pytest.fixture(scope="module")
def hub() -> Iterator[RunningHub]:
    with run_hub(PLAN) as running:
        yield running


@pytest.fixture
def mailer(hub: RunningHub) -> Iterator[Asking]:
    with calling(hub.address, hub.key("mailer")) as caller:
        yield Asking(caller)


@pytest.fixture
def texter(hub: RunningHub) -> Iterator[Asking]:
    with calling(hub.address, hub.key("texter")) as caller:
        yield Asking(caller)


def test_a_question_that_comes_after_its_own_release_takes_no_place(mailer: Asking, texter: Asking) -> None:
    """Counterexample: the release found nothing, the late question was granted a place, and it was lost for a day."""
    id_ = new()
    assert mailer.release(id_, "LATE") is False, "there is nothing to give back"
    assert "given back before it was asked for. Ask with a new id" in mailer.is_refused(id_, "LATE")
    assert texter.reserve(new(), "LATE").granted


def test_a_release_is_remembered_by_a_hub_that_was_started_again(tmp_path: Path) -> None:
    id_, store = new(), tmp_path / "segue.db"
    with run_hub(PLAN, store=store) as hub, calling(hub.address, hub.key("mailer")) as caller:
        assert Asking(caller).release(id_, "AGAIN") is False
    with run_hub(store=store) as hub, calling(hub.address, hub.key("mailer")) as caller:
        mailer = Asking(caller)
        mailer.is_refused(id_, "AGAIN")
        assert mailer.reserve(new(), "AGAIN").granted


def test_whenever_a_call_is_cancelled_its_release_leaves_no_place_taken(
    hub: RunningHub, mailer: Asking, texter: Asking
) -> None:
    seed = int(os.environ.get("SEGUE_SEED") or random.SystemRandom().randrange(1 << 32))
    print(f"SEGUE_SEED={seed}", end=" ")
    chance = random.Random(seed)
    pause = threading.Event()
    for number in range(80):
        account, id_ = f"CUT-{number}", new()
        call = mailer.reserving(id_, account)
        pause.wait(chance.uniform(0, 0.004))  # the instant of the cut: chance, no wait for anything
        call.cancel()
        mailer.release(id_, account)
        assert texter.reserve(new(), account).granted, f"seed {seed}, customer {number}"
    assert not hub.hub.reservations._turns, "nobody waits, nothing is kept"


def test_a_question_that_is_in_line_when_it_is_released_takes_no_place_and_writes_nothing(
    hub: RunningHub, mailer: Asking, texter: Asking
) -> None:
    ingest, turns = hub.hub.ingest, hub.hub.reservations._turns
    write, begun, go_on = ingest._write, threading.Event(), threading.Event()

    def waiting(batches: Any, checkpoints: Any) -> Any:
        begun.set()
        assert go_on.wait(9)
        return write(batches, checkpoints)

    ingest._write = waiting  # type: ignore[method-assign]  # the grant before takes as long as the others need to come
    try:
        first, id_ = texter.reserving(new(), "LINE"), new()
        assert begun.wait(9)
        second = mailer.reserving(id_, "LINE")
        eventually(lambda: any(turn.count == 2 for turn in turns.values()))
        second.cancel()
        copy = mailer.reserving(id_, "LINE")  # the same question again, as somebody in between may send it
        eventually(lambda: any(turn.count >= 2 for turn in turns.values()))
        released = mailer.releasing(id_, "LINE")
        eventually(lambda: hub.hub.reservations._asked[("mailer", id_)])
    finally:
        go_on.set()
        ingest._write = write  # type: ignore[method-assign]
    assert first.result().granted
    assert released.result().released is False
    with pytest.raises(grpc.RpcError) as refused:
        copy.result()
    assert refusal(refused.value) == ("ALREADY_EXISTS", "ID_CONFLICT")
    assert len(told(hub, "LINE", RESERVATION)) == 1, "one grant, and nothing of what was given up"


def test_a_place_that_was_given_back_cannot_be_had_under_its_id_again(mailer: Asking, texter: Asking) -> None:
    id_ = new()
    assert mailer.reserve(id_, "BACK").granted
    assert mailer.release(id_, "BACK") is True
    assert mailer.release(id_, "BACK") is False
    mailer.is_refused(id_, "BACK")
    assert texter.reserve(new(), "BACK").granted


def test_the_id_of_one_place_gets_nobody_a_second(mailer: Asking, texter: Asking) -> None:
    """Counterexample: another team with the same id was told that it was granted, and both sent."""
    id_ = new()
    first = mailer.reserve(id_, "SAME")
    assert first.granted
    again = mailer.reserve(id_, "SAME")
    assert (again.granted, again.expires_at) == (True, first.expires_at), "the reply was lost: the same answer"
    assert "is of another reservation" in texter.is_refused(id_, "SAME")
    assert "is of another reservation" in mailer.is_refused(id_, "SAME", kind="offer.other")
    mailer.is_refused(id_, "SAME-BUT-ANOTHER")
    assert texter.release(id_, "SAME") is False, "it is not theirs to give back"
    mailer.confirm(id_, "SAME")
    assert "was confirmed already" in mailer.is_refused(id_, "SAME")


def test_of_more_places_than_the_cap_has_none_is_granted_again(hub: RunningHub, mailer: Asking, texter: Asking) -> None:
    """Regression (found by F9): two customers became one between their grants and the answers, which the hub did not
    live to give. Asked again under its id, each was answered as granted.
    """
    first, second = new(), new()
    assert mailer.reserve(first, "I-20").granted
    assert texter.reserve(second, "I-21").granted
    with calling(hub.address, hub.key("chat")) as chat:
        assert chat.statuses(event("page.viewed", "account=I-20", "account=I-21")) == ["ACCEPTED"]
    for asking, id_, account in ((mailer, first, "I-20"), (texter, second, "I-21"), (mailer, first, "I-21")):
        again = asking.reserve(id_, account)
        assert not again.granted
        assert [verdict.guardrail for verdict in again.verdicts] == ["contact_pressure"]
    # They may have been used: they stay taken.
    assert [fact["status"] for fact in told(hub, "I-20", RESERVATION)] == ["granted", "granted"]


def test_a_confirmation_told_again_is_one_action(hub: RunningHub, mailer: Asking) -> None:
    id_ = new()
    assert mailer.reserve(id_, "TWICE").granted
    mailer.confirm(id_, "TWICE")
    mailer.confirm(id_, "TWICE")

    (action,) = told(hub, "TWICE", ACTION)
    assert (action["reservation"], action["details"]) == (id_.hex(), {"price": 12.5})


def test_places_of_many_who_were_never_seen_are_granted_side_by_side(hub: RunningHub, mailer: Asking) -> None:
    """Counterexample: all who were not known yet stood in one line, and each waited for the fsync of all before."""
    ingest = hub.hub.ingest
    write, units = ingest._write, []

    def waiting(batches: Any, checkpoints: Any) -> Any:
        if not units:
            eventually(lambda: len(ingest.queue) >= 60, 9)
        units.append(len(batches))
        return write(batches, checkpoints)

    ingest._write = waiting  # type: ignore[method-assign]  # the first unit takes as long as the others need to come
    try:
        calls = [mailer.reserving(new(), f"NEW-{number}") for number in range(64)]
        assert all(call.result().granted for call in calls)
    finally:
        ingest._write = write  # type: ignore[method-assign]
    assert units[1] >= 60, "one unit, and one fsync, for all who came meanwhile"


def test_a_question_that_is_cancelled_half_way_is_done_before_the_next_is_judged(
    hub: RunningHub, mailer: Asking, texter: Asking
) -> None:
    assert mailer.reserve(new(), "HALF-READ").granted
    ingest = hub.hub.ingest
    write, begun, go_on = ingest._write, threading.Event(), threading.Event()

    def waiting(batches: Any, checkpoints: Any) -> Any:
        begun.set()
        assert go_on.wait(9)
        return write(batches, checkpoints)

    ingest._write = waiting  # type: ignore[method-assign]  # the grant is on its way to the disk while its caller goes
    try:
        call = mailer.reserving(new(), "HALF")
        assert begun.wait(9)
        call.cancel()
        for _ in range(20):
            mailer.reads("account=HALF-READ")  # on the same connection: by then the hub has heard of the end
        other = texter.reserving(new(), "HALF")
        eventually(lambda: ingest.queue or any(turn.count == 2 for turn in hub.hub.reservations._turns.values()))
    finally:
        go_on.set()
        ingest._write = write  # type: ignore[method-assign]
    answer = other.result()
    assert not answer.granted
    assert [v.holder for v in answer.verdicts if v.guardrail == "contact_pressure"] == ["mailer"]
    (granted,) = told(hub, "HALF", RESERVATION)
    assert granted["status"] == "granted"


def test_of_many_who_ask_at_once_for_one_customer_all_hear_after_one_unit(hub: RunningHub, texter: Asking) -> None:
    calls = [texter.reserving(new(), "CROWD") for _ in range(64)]
    answers = [call.result() for call in calls]
    (granted,) = [answer for answer in answers if answer.granted]
    assert granted.expires_at
    for answer in answers:
        if not answer.granted:
            (verdict,) = [v for v in answer.verdicts if v.guardrail == "contact_pressure"]
            assert (verdict.kind, verdict.holder) == ("DEFER", "texter")
            assert verdict.until > answer.server_time


def test_a_crowd_that_comes_while_she_becomes_known_is_granted_one_place_and_none_is_taken_back(
    hub: RunningHub, texter: Asking
) -> None:
    """Counterexample: who came between commit and fold stood in her line, the first of them in that of her name."""
    before = hub.hub.reservations.counts["taken_back"]
    for number in range(60):
        calls = [texter.reserving(new(), f"CROWD-{number}") for _ in range(16)]
        assert [call.result().granted for call in calls].count(True) == 1
        assert len(told(hub, f"CROWD-{number}", RESERVATION)) == 1
    assert hub.hub.reservations.counts["taken_back"] == before


def test_what_was_acknowledged_before_one_asks_is_judged_with(hub: RunningHub, mailer: Asking) -> None:
    """A question waits for nobody else's writing; what was acknowledged is folded all the same (VE7)."""
    with calling(hub.address, hub.key("chat")) as chat:
        for number in range(50):
            until = now() + 60_000_000
            held = event("conversation", f"account=CLAIM-{number}", kind=CLAIM, status="held", until=until)
            assert chat.statuses(held) == ["ACCEPTED"]
            answer = mailer.reserve(new(), f"CLAIM-{number}")
            assert not answer.granted
            assert [v.holder for v in answer.verdicts if v.guardrail == "with_somebody"] == ["chat"]
