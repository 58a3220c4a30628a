"""Facts in, over gRPC: what becomes of each, and in which form it is kept."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from segue.v1 import event_service_pb2
from segue.wire import fact_to_wire
from segue_hub.checking.plan_check import read_directory
from segue_hub.testing import RunningHub, run_hub

from tests.calling import SECOND, Caller, calling, event, now, refusal
from tests.waiting import eventually

EXAMPLE = Path(__file__).parents[2] / "examples" / "plan"
ACCEPTED, DUPLICATE, REJECTED = "ACCEPTED", "DUPLICATE", "REJECTED"


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningHub]:
    with run_hub(EXAMPLE, store=tmp_path_factory.mktemp("ingest") / "segue.db") as running:
        yield running


@pytest.fixture
def app(hub: RunningHub) -> Iterator[Caller]:
    with calling(hub.address, hub.key("app")) as caller:
        yield caller


def code(result: tuple[str, str, str]) -> str:
    assert result[0] == REJECTED
    return result[1]


def whole(hub: RunningHub, name: str) -> dict[str, Any]:
    from segue.domain.identifier import parse_identifier

    async def read() -> dict[str, Any]:
        return hub.hub.reports.customer(parse_identifier(name))

    found: dict[str, Any] = hub.call(read())
    return found


# What becomes of a fact.


def test_a_fact_is_accepted_once_and_a_duplicate_ever_after(app: Caller) -> None:
    fact = event("transfer.failed", "account=I-1", transfer_id="T-1")
    assert app.statuses(fact) == [ACCEPTED]
    assert app.statuses(fact) == [DUPLICATE]
    assert app.statuses(fact, fact) == [DUPLICATE, DUPLICATE]


def test_within_one_batch_the_second_of_an_id_is_the_duplicate(app: Caller, hub: RunningHub) -> None:
    fact = event("transfer.failed", "account=I-2", transfer_id="T-1")
    assert app.statuses(fact, fact, fact) == [ACCEPTED, DUPLICATE, DUPLICATE]
    assert whole(hub, "account=I-2")["facts"] == 1


def test_the_same_id_for_another_fact_is_a_conflict_and_changes_nothing(app: Caller, hub: RunningHub) -> None:
    first = event("transfer.failed", "account=I-3", transfer_id="T-1")
    app.send(first)
    others = [
        event("transfer.failed", "account=I-3", at=first.occurred_at, id_=first.id, transfer_id="T-2"),
        event("transfer.started", "account=I-3", at=first.occurred_at, id_=first.id, transfer_id="T-1"),
        event("transfer.failed", "account=I-4", at=first.occurred_at, id_=first.id, transfer_id="T-1"),
        event("transfer.failed", "account=I-3", at=first.occurred_at + 1, id_=first.id, transfer_id="T-1"),
    ]
    for other in others:
        (result,) = app.send(other)
        assert code(result) == "ID_CONFLICT"
        assert first.id.hex() in result[2]
    assert whole(hub, "account=I-3")["timeline"][0]["properties"] == {"transfer_id": "T-1"}
    with pytest.raises(grpc.RpcError) as caught:
        app.context("account=I-4")
    assert refusal(caught.value) == ("NOT_FOUND", "NOT_FOUND")


def test_two_facts_of_one_id_in_one_batch_conflict_as_they_do_one_after_the_other(app: Caller) -> None:
    first = event("transfer.failed", "account=I-5", transfer_id="T-1")
    other = event("transfer.failed", "account=I-5", at=first.occurred_at, id_=first.id, transfer_id="T-2")
    results = app.send(first, other, first)
    assert [(status, reason) for status, reason, _ in results] == [
        (ACCEPTED, ""), (REJECTED, "ID_CONFLICT"), (DUPLICATE, "")
    ]  # fmt: skip


def test_what_is_not_granted_is_rejected_and_the_reason_names_the_cure(app: Caller) -> None:
    (event_, trait) = app.send(
        event("call.started", "account=I-6"), event("value_tier", "account=I-6", kind="trait", value="high")
    )
    assert code(event_) == code(trait) == "NOT_GRANTED"
    assert "touchpoints.yaml" in event_[2]
    assert "trait 'value_tier'" in trait[2]


def test_a_rejected_fact_leaves_the_rest_of_its_batch_alone(app: Caller) -> None:
    good = event("transfer.started", "account=I-7", transfer_id="T")
    assert app.statuses(event("call.started", "account=I-7"), good) == [REJECTED, ACCEPTED]


@pytest.mark.parametrize(
    ("fact", "field"),
    [
        (event("transfer.failed", "account=I-8", id_=b"short"), "id"),
        (event("", "account=I-8"), "type"),
        (event("transfer.failed"), "identifiers"),
        (event("transfer.failed", *(f"cookie={n}" for n in range(17))), "identifiers"),
        (event("transfer.failed", "account=I-8", at=-5), "occurred_at"),
        (event("marketing", "account=I-8", kind="consent", state="maybe"), "consent.state"),
        (event("transfer.failed", "account=" + "x" * 600), "identifiers"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_fact_that_cannot_be_one_is_invalid_and_the_field_is_named(app: Caller, fact: Any, field: str) -> None:
    (result,) = app.send(fact)
    assert code(result) == "FACT_INVALID"
    assert field in result[2]


def test_properties_that_are_no_json_object_and_a_fact_without_a_body_are_invalid(app: Caller) -> None:
    message = fact_to_wire(event("transfer.failed", "account=I-9"))
    results = []
    for raw in (b"[1]", b"{", b"\xff", b'{"a": NaN}', b'{"a": "\\ud800"}', b'"text"'):
        message.event.properties = raw
        results += app.events.PublishEvents(
            event_service_pb2.PublishEventsRequest(facts=[message]), metadata=app.metadata
        ).results
    message.ClearField("body")
    results += app.events.PublishEvents(
        event_service_pb2.PublishEventsRequest(facts=[message]), metadata=app.metadata
    ).results
    assert {result.code for result in results} == {"FACT_INVALID"}


def test_a_fact_too_far_ahead_is_refused_and_a_little_ahead_is_taken(app: Caller) -> None:
    far, near = now() + 3600 * SECOND, now() + 60 * SECOND
    (late, fine) = app.send(
        event("transfer.started", "account=I-10", at=far, transfer_id="T"),
        event("transfer.started", "account=I-10", at=near, transfer_id="T"),
    )
    assert code(late) == "TOO_FAR_AHEAD"
    assert "clock" in late[2]
    assert fine[0] == ACCEPTED


def test_a_foreign_clock_that_is_wrong_is_taken_out_of_the_facts_and_a_second_sending_is_a_duplicate(
    app: Caller, hub: RunningHub
) -> None:
    behind = now() - 7200 * SECOND
    fact = event("transfer.failed", "account=I-11", at=behind - SECOND, transfer_id="T")
    before = now()
    assert app.statuses(fact, sent_at=behind) == [ACCEPTED]
    kept = whole(hub, "account=I-11")["timeline"][0]["occurred_at"]
    from segue.domain.instant import parse_instant

    assert before - 2 * SECOND <= parse_instant(kept) <= now()
    assert app.statuses(fact, sent_at=behind + SECOND) == [DUPLICATE]


def test_more_than_a_thousand_facts_in_one_batch_are_refused_as_a_whole(app: Caller) -> None:
    facts = [event("transfer.started", "account=I-12", transfer_id="T") for _ in range(1001)]
    with pytest.raises(grpc.RpcError) as caught:
        app.send(*facts)
    assert refusal(caught.value) == ("INVALID_ARGUMENT", "BATCH_TOO_LARGE")


def test_an_empty_batch_is_answered_with_nothing(app: Caller) -> None:
    assert app.send() == []


# Names and values.


def test_every_teams_spelling_is_kept_under_the_one_name(app: Caller, hub: RunningHub) -> None:
    with calling(hub.address, hub.key("web")) as web:
        assert app.statuses(event("TransferError", "account=I-20", transfer_id="T")) == [ACCEPTED]
        assert web.statuses(event("transfer_ko", "account=I-20", transfer_id="T")) == [ACCEPTED]
    assert {fact["type"] for fact in whole(hub, "account=I-20")["timeline"]} == {"transfer.failed"}


def test_a_fact_carries_the_touchpoint_of_its_key_whatever_it_claims(app: Caller, hub: RunningHub) -> None:
    fact = event("transfer.failed", "account=I-21", transfer_id="T")
    fact.touchpoint = "ivr"
    assert app.statuses(fact) == [ACCEPTED]
    (kept,) = whole(hub, "account=I-21")["timeline"]
    assert (kept["touchpoint"], kept["channel"]) == ("app", "app")


def test_identifiers_are_kept_in_their_normal_form(app: Caller, hub: RunningHub) -> None:
    app.send(event("transfer.failed", "email=  Ann@Example.COM ", transfer_id="T"))
    assert whole(hub, "email=ANN@example.com")["customer"] == "email=ann@example.com"


def test_a_fact_that_names_only_blocked_values_is_rejected(app: Caller) -> None:
    (result,) = app.send(event("transfer.failed", "account=null", "cookie=0", transfer_id="T"))
    assert code(result) == "BLOCKED_VALUE"
    assert "nobody" in result[2]


def test_a_blocked_value_beside_a_real_one_links_nobody(app: Caller, hub: RunningHub) -> None:
    for name in ("account=I-22", "account=I-23"):
        assert app.statuses(event("transfer.failed", name, "email=null", transfer_id="T")) == [ACCEPTED]
    assert whole(hub, "account=I-22")["identifiers"] == ["account=I-22"]
    assert whole(hub, "account=I-23")["facts"] == 1


def test_unknown_names_are_taken_and_counted_with_the_nearest_known_one(hub: RunningHub) -> None:
    with calling(hub.address, hub.key("app")) as app:
        assert app.statuses(*(event("transfer.faild", "account=I-24") for _ in range(3))) == [ACCEPTED] * 3
    unknown = {entry["type"]: entry for entry in hub.hub.overview.plain()["unknown_events"]}
    assert unknown["transfer.faild"] == {"type": "transfer.faild", "count": 3, "nearest": "transfer.failed"}


def changed(word: str) -> dict[str, str]:
    files = read_directory(EXAMPLE)
    files["vocabulary.yaml"] = files["vocabulary.yaml"].replace("unknown_events: accept", f"unknown_events: {word}")
    assert word in files["vocabulary.yaml"]
    return files


def test_where_the_plan_rejects_unknown_names_the_reason_names_the_nearest(tmp_path: Path) -> None:
    with run_hub(changed("reject")) as hub, calling(hub.address, hub.key("app")) as app:
        unknown, known = app.send(
            event("transfer.faild", "account=A"), event("transfer.failed", "account=A", transfer_id="T")
        )
        assert code(unknown) == "EVENT_UNKNOWN"
        assert "Did you mean 'transfer.failed'?" in unknown[2]
        assert known[0] == ACCEPTED
        assert hub.hub.overview.plain()["unknown_events"][0]["count"] == 1


def test_where_the_plan_quarantines_them_they_are_kept_counted_and_change_no_figure() -> None:
    with run_hub(changed("quarantine")) as hub, calling(hub.address, hub.key("app")) as app:
        assert app.statuses(event("transfer.faild", "account=A")) == [ACCEPTED]
        found = whole(hub, "account=A")
        assert found["facts"] == 1
        assert found["activity"] == {}
        assert hub.hub.overview.plain()["unknown_events"][0]["nearest"] == "transfer.failed"
        hub.push(EXAMPLE)
        assert set(whole(hub, "account=A")["activity"]) == {"transfer.faild", "app"}


# Acknowledged is readable.


def test_what_was_acknowledged_is_in_the_very_next_read_of_everybody(app: Caller, hub: RunningHub) -> None:
    with calling(hub.address, hub.key("ivr")) as ivr:
        for number in range(20):
            app.send(event("transfer.failed", "account=I-30", transfer_id=f"T-{number}"))
            activity = {s.name: json.loads(s.data) for s in ivr.context("account=I-30").sections}["activity"]
            assert activity["transfer.failed"][0] == number + 1


def test_cloud_events_over_http_are_facts_and_the_same_one_twice_is_a_duplicate(hub: RunningHub) -> None:
    import urllib.request

    body = {"id": "n-1", "source": "crm", "type": "transfer.failed", "subject": "account=I-31", "data": {"a": 1}}
    request = urllib.request.Request(
        f"{hub.http}/v1/events", json.dumps([body, body]).encode(), {"Authorization": f"Bearer {hub.key('app')}"}
    )
    with urllib.request.urlopen(request, timeout=10) as response:
        results = json.load(response)["results"]
    assert [result["status"] for result in results] == [ACCEPTED, DUPLICATE]
    assert whole(hub, "account=I-31")["facts"] == 1


# What would spoil a context is refused at the door; what fails inside does not go unnoticed.


@pytest.mark.parametrize(
    "raw", [b"1%s" % (b"0" * 30), b"1e400", b"[" * 100 + b"]" * 100, b'{"a":' * 40 + b"1" + b"}" * 40],
    ids=["too long", "infinite", "too deep a list", "too deep an object"],
)  # fmt: skip
def test_a_trait_that_no_context_could_carry_is_refused(hub: RunningHub, raw: bytes) -> None:
    with calling(hub.address, hub.key("crm")) as crm:
        message = fact_to_wire(event("value_tier", "account=I-40", kind="trait", value=1))
        message.trait.value = raw
        (result,) = crm.events.PublishEvents(
            event_service_pb2.PublishEventsRequest(facts=[message]), metadata=crm.metadata, timeout=10
        ).results
        assert result.code == "FACT_INVALID"
        assert crm.statuses(event("value_tier", "account=I-40", kind="trait", value="high")) == [ACCEPTED]


def test_an_event_with_odd_numbers_is_kept_as_it_is_and_can_be_shown(app: Caller, hub: RunningHub) -> None:
    from segue.v1 import admin_service_pb2
    from segue.wire import identifier_to_wire

    assert app.statuses(event("transfer.failed", "account=I-41", amount=10**40, transfer_id="T")) == [ACCEPTED]
    with calling(hub.address, hub.admin_key) as admin:
        name = identifier_to_wire(event("x", "account=I-41").identifiers[0])
        request = admin_service_pb2.ShowCustomerRequest(identifier=name)
        plain = json.loads(admin.admin.ShowCustomer(request, metadata=admin.metadata, timeout=10).document)
    assert plain["timeline"][0]["properties"]["amount"] == 10**40


def test_a_hub_whose_fold_fails_stops_and_acknowledges_nothing_rather_than_seem_to_serve(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with run_hub(EXAMPLE) as hub, calling(hub.address, hub.key("app")) as app:

        def fails(entries: Any) -> None:
            raise RuntimeError("on purpose")

        monkeypatch.setattr(hub.hub.contexts, "accepted", fails)
        with pytest.raises(grpc.RpcError) as caught:
            app.send(event("transfer.failed", "account=A", transfer_id="T"))
        assert refusal(caught.value) == ("UNAVAILABLE", "STORE_BROKEN")
        assert not hub.hub.ingest.accepting
        eventually(lambda: "on purpose" in hub.hub._broken)  # not asked of its loop, which ends with it
        monkeypatch.undo()
