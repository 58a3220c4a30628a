"""Gaps as the hub reports them: what it is told of ordinals, what a restart keeps, what it forgets, where it shows."""

from __future__ import annotations

import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from segue import runtime
from segue.domain.fact import Fact
from segue.domain.tally import Tally, runs
from segue.v1 import event_service_pb2 as pb
from segue.wire import fact_to_wire
from segue_hub.services import sequences
from segue_hub.services.sequences import Sequences
from segue_hub.storage.memory import MemoryStore
from segue_hub.storage.ports import StoreFull
from segue_hub.storage.sqlite import SqliteStore
from segue_hub.testing import RunningHub, run_hub

from tests.calling import Caller, calling, event, refusal
from tests.commanding import Command
from tests.joining import joined
from tests.waiting import eventually


@pytest.fixture(scope="module")
def hub() -> Iterator[RunningHub]:
    with run_hub() as running:
        yield running


@pytest.fixture
def app(hub: RunningHub) -> Iterator[Caller]:
    with calling(hub.address, hub.key("app")) as caller:
        yield caller


def tally(producer: str, *ordinals: int, lost: tuple[tuple[int, int, str], ...] = (), **more: Any) -> pb.Tally:
    return pb.Tally(
        producer=producer, carried=[pb.OrdinalRange(first=first, last=last) for first, last in runs(ordinals)],
        lost=[pb.LostRange(first=first, last=last, reason=reason) for first, last, reason in lost], **more,
    )  # fmt: skip


def send(app: Caller, *tallies: pb.Tally, facts: tuple[Fact, ...] = ()) -> list[int]:
    request = pb.PublishEventsRequest(facts=[fact_to_wire(fact) for fact in facts], tallies=tallies)
    return [result.status for result in app.events.PublishEvents(request, timeout=20, metadata=app.metadata).results]


def facts(count: int) -> tuple[Fact, ...]:
    return tuple(event("transfer.failed", "account=Q-1") for _ in range(count))


def known(hub: RunningHub, producer: str) -> dict[str, Any] | None:
    """What the status says of a producer that something is missing of."""
    found = [p for p in hub.hub.overview.plain()["sequences"]["producers"] if p["producer"] == producer]
    return found[0] if found else None


def test_a_gap_is_reported_while_it_is_open_and_gone_when_it_closes(hub: RunningHub, app: Caller) -> None:
    send(app, tally("gap", 1, 2, 5), facts=facts(3))
    found = known(hub, "gap")
    assert found is not None
    assert (found["arrived"], found["missing"], found["gaps"], found["lost"]) == (3, 2, [[3, 4]], {})
    send(app, tally("gap", 3, 4), facts=facts(2))
    assert known(hub, "gap") is None


def test_what_the_producer_says_is_lost_is_lost_and_what_is_missing_at_its_end_too(
    hub: RunningHub, app: Caller
) -> None:
    send(app, tally("ends", 1, 6), facts=facts(2))
    send(app, tally("ends", lost=((2, 3, "outbox_full"),)))
    found = known(hub, "ends")
    assert found is not None
    assert (found["missing"], found["lost"], found["ended"]) == (2, {"outbox_full": 2}, False)
    send(app, tally("ends", handed_out=7, at_most=16, ended=True))
    found = known(hub, "ends")
    assert found is not None
    assert (found["missing"], found["lost"], found["doubtful"]) == (0, {"outbox_full": 2, "ended": 3}, 9)


def test_facts_that_are_duplicates_or_refused_did_arrive(hub: RunningHub, app: Caller) -> None:
    fact = event("transfer.failed", "account=Q-2")
    refused = event("transfer.failed", "account=null")
    accepted, duplicate, rejected = pb.FACT_STATUS_ACCEPTED, pb.FACT_STATUS_DUPLICATE, pb.FACT_STATUS_REJECTED
    assert send(app, tally("answered", 1), facts=(fact,)) == [accepted]
    assert send(app, tally("answered", 2, 3), facts=(fact, refused)) == [duplicate, rejected]
    assert send(app, tally("answered", 4), facts=(refused,)) == [rejected]
    assert send(app, tally("answered", 5), facts=(event("transfer.failed", "account=Q-2"),)) == [accepted]
    assert known(hub, "answered") is None
    assert hub.hub.ingest.sequences._books["app"]["answered"].arrived == 5


def test_a_batch_that_was_not_acknowledged_did_not_arrive(
    hub: RunningHub, app: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as full:
        full.setattr(hub.hub.ingest.queue, "limit", -1)
        with pytest.raises(grpc.RpcError) as raised:
            send(app, tally("full", 1), facts=facts(1))
        assert refusal(raised.value) == ("RESOURCE_EXHAUSTED", "OVERLOADED")
    with monkeypatch.context() as full:
        full.setattr(hub.hub.store, "unit", raising(StoreFull("no space left")))
        with pytest.raises(grpc.RpcError) as raised:
            send(app, tally("full", 2), facts=facts(1))
        assert refusal(raised.value) == ("RESOURCE_EXHAUSTED", "STORE_FULL")
    send(app, tally("full", 3), facts=facts(1))
    found = known(hub, "full")
    assert found is not None
    assert found["gaps"] == [[1, 2]]


def raising(error: Exception) -> Any:
    def raises() -> None:
        raise error

    return raises


def test_one_touchpoints_books_are_not_anothers(hub: RunningHub, app: Caller) -> None:
    send(app, tally("same name", 2), facts=facts(1))
    with calling(hub.address, hub.key("ivr")) as ivr:
        send(ivr, tally("same name", 1), facts=facts(1))
    found = known(hub, "same name")
    assert found is not None
    assert (found["touchpoint"], found["missing"]) == ("app", 1)


@pytest.mark.parametrize(
    ("told", "says"),
    [
        (tally("", 1), "tallies.producer: 0 characters"),
        (tally("p" * 129, 1), "tallies.producer: 129 characters"),
        (pb.Tally(producer="p", carried=[pb.OrdinalRange(first=0, last=3)]), "tallies.carried: 0 to 3 is no run"),
        (pb.Tally(producer="p", carried=[pb.OrdinalRange(first=5, last=3)]), "tallies.carried: 5 to 3 is no run"),
        (tally("p", lost=((1, 1 << 60, "x"),)), "tallies.lost: 1 to"),
        (tally("p", lost=((1, 2, ""),)), "tallies.lost.reason: 0 characters"),
        (tally("p", settled=-1), "tallies.settled: -1 is no ordinal"),
        (tally("p", at_most=1 << 53, ended=True), "tallies.at_most"),
        (tally("p", *range(1, 4004, 2)), "2002 runs in one request. Send at most 2000"),
    ],
)
def test_what_cannot_be_booked_is_refused_with_its_field_and_changes_nothing(
    hub: RunningHub, app: Caller, told: pb.Tally, says: str
) -> None:
    before = hub.hub.ingest.counts["ACCEPTED"]
    with pytest.raises(grpc.RpcError) as raised:
        send(app, told, facts=facts(1))
    assert refusal(raised.value) == ("INVALID_ARGUMENT", "TALLY_INVALID")
    assert says in raised.value.details()
    assert hub.hub.ingest.counts["ACCEPTED"] == before
    assert "p" not in hub.hub.ingest.sequences._books.get("app", {})


def test_a_restart_of_the_hub_neither_invents_a_gap_nor_forgets_one(tmp_path: Path) -> None:
    store = tmp_path / "segue.db"
    with run_hub(store=store) as hub, calling(hub.address, hub.key("app")) as app:
        send(app, tally("whole", 1, 2, 3), tally("open", 1, 4), facts=facts(5))
        send(app, tally("lost", 1, lost=((2, 2, "disk"),)), facts=facts(1))
        before = hub.hub.overview.plain()["sequences"]
    with run_hub(store=store) as hub, calling(hub.address, hub.key("app")) as app:
        assert hub.hub.overview.plain()["sequences"] == before
        send(app, tally("whole", 4), tally("open", 2, 3), facts=facts(3))
        after = hub.hub.overview.plain()["sequences"]
        assert after["touchpoints"]["app"]["missing"] == 0
        assert [p["producer"] for p in after["producers"]] == ["lost"]


def test_a_hub_without_a_book_begins_where_the_producer_waits_and_misses_nothing_before(
    hub: RunningHub, app: Caller
) -> None:
    """A hub whose store was wiped, or that forgot the producer: what was settled with the one before is no gap."""
    send(app, tally("older", 701, 702, settled=700), facts=facts(2))
    assert known(hub, "older") is None
    send(app, tally("older", 705, settled=700), facts=facts(1))
    found = known(hub, "older")
    assert found is not None
    assert (found["begins"], found["gaps"]) == (701, [[703, 704]])
    send(app, tally("older", 12, 13, settled=11), facts=facts(2))  # kept there after all, and offered again
    assert known(hub, "older") == {**found, "arrived": 5, "heard_at": known(hub, "older")["heard_at"]}  # type: ignore[index]


@pytest.mark.parametrize("sort", ["memory", "sqlite"])
def test_what_the_bound_makes_it_forget_is_said_and_nothing_that_is_missing_goes_before_what_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sort: str
) -> None:
    monkeypatch.setattr(sequences, "PRODUCERS", 3)
    store = MemoryStore() if sort == "memory" else SqliteStore(tmp_path / "segue.db")
    books = Sequences(store)

    def book(at: int, *told: Tally) -> None:
        with store.unit() as unit:
            staged = books.stage([("app", one) for one in told], unit, at)
        books.keep(staged)

    book(1, Tally("gap 1", ((2, 3),)))
    book(2, Tally("whole", ((1, 5),)))
    book(3, Tally("gap 2", ((3, 3),), lost=((1, 1, "disk"),)))
    book(4, Tally("new", ((1, 1),)))
    assert set(books._books["app"]) == {"gap 1", "gap 2", "new"}
    book(5, Tally("gap 3", ((9, 9),)))
    assert set(books._books["app"]) == {"gap 1", "gap 2", "gap 3"}
    book(6, Tally("gap 4", ((2, 2),)))
    assert set(books._books["app"]) == {"gap 2", "gap 3", "gap 4"}
    sums = books.plain()["touchpoints"]["app"]
    assert sums["forgotten"] == {
        "producers": 3, "arrived": 8, "missing": 1, "lost": 0, "doubtful": 0, "untracked": 0,
    }  # fmt: skip
    assert Sequences(store).plain() == books.plain()
    store.close()


def test_a_unit_that_fails_leaves_the_books_as_they_were(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "segue.db")
    books = Sequences(store)
    with pytest.raises(RuntimeError, match="on purpose"), store.unit() as unit:
        books.stage([("app", Tally("p", ((1, 3),)))], unit, 1)
        raise RuntimeError("on purpose")
    assert store.books() == []
    assert books.plain() == Sequences(store).plain() == {"touchpoints": {}, "producers": []}
    store.close()


def test_a_touchpoint_numbers_what_it_is_told_and_its_instance_names_its_outbox(
    hub: RunningHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runtime, "STATUS_EVERY", 0.05)
    with joined(hub, "voice", tmp_path) as voice, voice.session(account="Q-9", wait=5) as session:
        for number in range(40):
            session.track("call.started", number=number)
            session.set_trait("value_tier", "high")
        assert voice.flush(10)
        name = voice.runtime().outbox.name
        sums = hub.hub.overview.plain()["sequences"]["touchpoints"]["voice"]
        assert (sums["producers"], sums["arrived"], sums["missing"], sums["lost"]) == (2, 80, 0, {})
        assert set(hub.hub.ingest.sequences._books["voice"]) == {f"{name}.must", f"{name}.analytics"}
        eventually(lambda: name in [i.get("outbox") for i in hub.hub.overview.plain()["instances"]])


def test_people_and_machines_are_shown_the_same(hub: RunningHub, app: Caller) -> None:
    send(app, tally("shown", 1, 4, 6), facts=facts(3))
    send(app, tally("shown 2", lost=((1, 2, "disk"),), handed_out=2, at_most=18, ended=True))
    segue_hub = Command.of(hub)
    plain = segue_hub.json("status")["sequences"]
    found = {p["producer"]: p for p in plain["producers"]}
    assert (found["shown"]["missing"], found["shown"]["gaps"]) == (3, [[2, 3], [5, 5]])
    assert (found["shown 2"]["lost"], found["shown 2"]["doubtful"]) == ({"disk": 2}, 16)
    said = segue_hub.ok("status")
    assert f"{plain['touchpoints']['app']['missing']} missing" in said
    assert "disk 2" in said
    assert "2 to 3, 5" in said
    with urllib.request.urlopen(f"{hub.http}/metrics", timeout=10) as answer:
        metrics = answer.read().decode()
    sums = plain["touchpoints"]["app"]
    assert f'segue_ordinals{{reason="",state="missing",touchpoint="app"}} {float(sums["missing"])}' in metrics
    assert f'segue_ordinals{{reason="disk",state="lost",touchpoint="app"}} {float(sums["lost"]["disk"])}' in metrics
    assert f'segue_producers{{touchpoint="app"}} {float(sums["producers"])}' in metrics
