"""The gate: who gets in, who does not, and what they are told; and that a hub can be asked how it is."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from segue.v1 import (
    admin_service_pb2,
    context_pb2,
    event_service_pb2,
    identity_service_pb2,
    plan_service_pb2,
    sync_pb2,
)
from segue_hub.server.gate import Gate
from segue_hub.testing import RunningHub, run_hub

from tests.calling import Caller, calling, event, refusal

EXAMPLE = Path(__file__).parents[2] / "examples" / "plan"


@pytest.fixture(scope="module")
def hub() -> Iterator[RunningHub]:
    with run_hub(EXAMPLE) as running:
        yield running


CALLS: dict[str, Callable[[Caller], Any]] = {
    "PublishEvents": lambda c: c.events.PublishEvents(event_service_pb2.PublishEventsRequest(), metadata=c.metadata),
    "GetContext": lambda c: c.contexts.GetContext(context_pb2.GetContextRequest(), metadata=c.metadata),
    "Sync": lambda c: next(c.sync.Sync(iter([sync_pb2.SyncRequest()]), metadata=c.metadata)),
}
ADMIN_CALLS: dict[str, Callable[[Caller], Any]] = {
    "ListPlans": lambda c: c.plans.ListPlans(plan_service_pb2.ListPlansRequest(), metadata=c.metadata),
    "PushPlan": lambda c: c.plans.PushPlan(plan_service_pb2.PushPlanRequest(), metadata=c.metadata),
    "RollbackPlan": lambda c: c.plans.RollbackPlan(plan_service_pb2.RollbackPlanRequest(), metadata=c.metadata),
    "GetStatus": lambda c: c.admin.GetStatus(admin_service_pb2.GetStatusRequest(), metadata=c.metadata),
    "AddTouchpoint": lambda c: c.admin.AddTouchpoint(
        admin_service_pb2.AddTouchpointRequest(touchpoint="mallory"), metadata=c.metadata
    ),
    "ShowCustomer": lambda c: c.admin.ShowCustomer(admin_service_pb2.ShowCustomerRequest(), metadata=c.metadata),
    "DiffCustomer": lambda c: c.admin.DiffCustomer(admin_service_pb2.DiffCustomerRequest(), metadata=c.metadata),
    "ExplainIdentity": lambda c: c.identities.ExplainIdentity(
        identity_service_pb2.ExplainIdentityRequest(), metadata=c.metadata
    ),
    "PreviewIdentity": lambda c: c.identities.PreviewIdentity(
        identity_service_pb2.PreviewIdentityRequest(), metadata=c.metadata
    ),
    "ChangeIdentity": lambda c: c.identities.ChangeIdentity(
        identity_service_pb2.ChangeIdentityRequest(), metadata=c.metadata
    ),
    "ListAffected": lambda c: c.identities.ListAffected(
        identity_service_pb2.ListAffectedRequest(), metadata=c.metadata
    ),
    "TailFacts": lambda c: next(c.admin.TailFacts(admin_service_pb2.TailFactsRequest(after=1), metadata=c.metadata)),
    "ListMembers": lambda c: next(
        c.admin.ListMembers(admin_service_pb2.ListMembersRequest(audience="in_trouble"), metadata=c.metadata)
    ),
}  # fmt: skip


def refused(call: Callable[[Caller], Any], caller: Caller) -> tuple[str, str]:
    with pytest.raises(grpc.RpcError) as caught:
        call(caller)
    return refusal(caught.value)


@pytest.mark.parametrize("name", [*CALLS, *ADMIN_CALLS])
def test_nobody_gets_in_without_a_key(hub: RunningHub, name: str) -> None:
    with calling(hub.address) as caller:
        assert refused((CALLS | ADMIN_CALLS)[name], caller) == ("UNAUTHENTICATED", "KEY_MISSING")


@pytest.mark.parametrize("name", [*CALLS, *ADMIN_CALLS])
def test_nobody_gets_in_with_a_wrong_key(hub: RunningHub, name: str) -> None:
    with calling(hub.address, "segue_chat_guessed") as caller:
        assert refused((CALLS | ADMIN_CALLS)[name], caller) == ("UNAUTHENTICATED", "KEY_INVALID")


@pytest.mark.parametrize("name", CALLS)
def test_a_key_that_is_revoked_while_a_call_is_let_in_is_refused_as_any_other(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Regression (found by F9): facts were refused one by one and for good, as of a touchpoint that nobody is; where no
    plan names touchpoints, they were taken in.
    """
    lets_in = Gate.intercept_service

    async def lets_in_and_revokes(self: Gate, continuation: Any, details: grpc.HandlerCallDetails) -> Any:
        handler = await lets_in(self, continuation, details)
        self._touchpoints._owners.clear()
        return handler

    with run_hub() as alone:
        key = alone.key("chat")
        monkeypatch.setattr(Gate, "intercept_service", lets_in_and_revokes)
        with calling(alone.address, key) as caller:
            assert refused(CALLS[name], caller) == ("UNAUTHENTICATED", "KEY_INVALID")


@pytest.mark.parametrize("name", ADMIN_CALLS)
def test_the_admins_services_need_the_admins_key(hub: RunningHub, name: str) -> None:
    with calling(hub.address, hub.key("chat")) as caller:
        assert refused(ADMIN_CALLS[name], caller) == ("PERMISSION_DENIED", "NOT_GRANTED")
    assert "mallory" not in hub.hub.touchpoints.names


def test_the_admin_gets_in(hub: RunningHub) -> None:
    with calling(hub.address, hub.admin_key) as caller:
        assert ADMIN_CALLS["ListPlans"](caller).versions[0].current
        assert json.loads(ADMIN_CALLS["GetStatus"](caller).document)["serving"] is True


def test_the_admins_key_is_no_touchpoints_key(hub: RunningHub) -> None:
    with calling(hub.address, hub.admin_key) as caller:
        fact = event("transfer.failed", "account=G-1", transfer_id="T")
        try:
            ((status, code, _),) = caller.send(fact)
        except grpc.RpcError as error:
            status, code = refusal(error)
        assert (status, code) in [("REJECTED", "NOT_GRANTED"), ("PERMISSION_DENIED", "NOT_GRANTED")]


def test_two_keys_of_a_touchpoint_live_and_the_third_ends_the_first(hub: RunningHub) -> None:
    keys = [hub.key("ivr") for _ in range(3)]
    outcomes = []
    for key in keys:
        with calling(hub.address, key) as caller:
            try:
                CALLS["PublishEvents"](caller)
                outcomes.append("in")
            except grpc.RpcError as error:
                outcomes.append(refusal(error)[1])
    assert outcomes == ["KEY_INVALID", "in", "in"]


def test_a_revoked_key_is_invalid_from_then_on(hub: RunningHub) -> None:
    with calling(hub.address, hub.key("email")) as caller:
        CALLS["PublishEvents"](caller)
        hub.call(hub.hub.touchpoints.revoke("email"))
        assert refused(CALLS["PublishEvents"], caller) == ("UNAUTHENTICATED", "KEY_INVALID")


def test_a_name_that_no_touchpoint_can_have_gets_no_key(hub: RunningHub) -> None:
    with calling(hub.address, hub.admin_key) as caller:
        for name in ("", "Chat", "x" * 80, "a b"):
            with pytest.raises(grpc.RpcError) as caught:
                caller.admin.AddTouchpoint(
                    admin_service_pb2.AddTouchpointRequest(touchpoint=name), metadata=caller.metadata
                )
            assert refusal(caught.value) == ("INVALID_ARGUMENT", "NAME_INVALID"), name


def test_what_the_refusal_says_names_the_cure(hub: RunningHub) -> None:
    with calling(hub.address) as caller, pytest.raises(grpc.RpcError) as caught:
        CALLS["GetContext"](caller)
    assert "segue-hub touchpoint add" in caught.value.details()


def test_only_hashes_of_keys_are_kept(hub: RunningHub) -> None:
    key = hub.key("desk")
    assert all(key.encode() not in stored.hash for stored in hub.hub.store.keys())
    assert all(len(stored.hash) == 32 for stored in hub.hub.store.keys())


def test_health_answers_anybody(hub: RunningHub) -> None:
    with calling(hub.address) as caller:
        stub = health_pb2_grpc.HealthStub(caller.channel)
        for service in ("", "segue.v1.SyncService", "segue.v1.EventService"):
            answer = stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=5)
            assert answer.status == health_pb2.HealthCheckResponse.SERVING
        with pytest.raises(grpc.RpcError) as caught:
            stub.Check(health_pb2.HealthCheckRequest(service="no.such.Service"), timeout=5)
        assert caught.value.code() == grpc.StatusCode.NOT_FOUND


def test_reflection_lists_the_services_to_anybody(hub: RunningHub) -> None:
    with calling(hub.address) as caller:
        stub = reflection_pb2_grpc.ServerReflectionStub(caller.channel)
        request = reflection_pb2.ServerReflectionRequest(list_services="")
        (answer,) = list(stub.ServerReflectionInfo(iter([request]), timeout=5))
        names = {service.name for service in answer.list_services_response.service}
        wanted = {"AdminService", "ContextService", "EventService", "PlanService", "SyncService"}
        assert {f"segue.v1.{name}" for name in wanted} <= names


def http(url: str, data: bytes | None = None, key: str = "") -> tuple[int, bytes]:
    request = urllib.request.Request(url, data, {"Authorization": f"Bearer {key}"} if key else {})
    try:
        with urllib.request.urlopen(request, timeout=10) as response:
            return response.status, response.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


def test_the_side_port_tells_health_and_metrics(hub: RunningHub) -> None:
    status, body = http(f"{hub.http}/healthz")
    assert (status, json.loads(body)) == (200, {"serving": True})
    status, body = http(f"{hub.http}/metrics")
    assert status == 200
    assert b"segue_serving 1.0" in body
    assert b"segue_facts_total" in body


def test_the_side_port_takes_events_with_a_touchpoints_key_only(hub: RunningHub) -> None:
    for key in ("", "wrong", hub.admin_key):
        status, body = http(f"{hub.http}/v1/events", b"{}", key)
        assert (status, json.loads(body)["error"]["code"]) == (401, "KEY_INVALID")
    key = hub.key("app")
    assert http(f"{hub.http}/v1/events", b"{no json", key)[0] == 400
    status, body = http(f"{hub.http}/v1/events", b'{"type": "transfer.failed"}', key)
    assert status == 422
    assert "subject" in json.loads(body)["results"][0]["reason"]
