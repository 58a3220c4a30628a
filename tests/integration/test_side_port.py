"""The side port: metrics, health and CloudEvents, as anything that speaks HTTP meets them."""

from __future__ import annotations

import json
import socket
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from segue.domain.identifier import Identifier
from segue_hub.testing import RunningHub, run_hub

PLAN = Path(__file__).resolve().parents[2] / "examples" / "plan"
EVENT = {
    "specversion": "1.0",
    "id": "1",
    "source": "/app",
    "type": "TransferError",
    "subject": "account=A-1&device=d-1",
    "time": "2026-05-04T10:42:00Z",
    "data": {"transfer_id": "T-1", "error": "E42"},
}


@pytest.fixture(scope="module")
def hub() -> Iterator[RunningHub]:
    with run_hub(PLAN) as running:
        yield running


def call(url: str, body: Any = None, key: str = "") -> tuple[int, str]:
    data = body if isinstance(body, bytes) else json.dumps(body).encode() if body is not None else None
    request = urllib.request.Request(url, data=data, headers={"Authorization": f"Bearer {key}"})
    try:
        with urllib.request.urlopen(request, timeout=10) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def test_a_cloud_event_becomes_a_fact_once_however_often_it_is_sent(hub: RunningHub) -> None:
    key = hub.key("app")
    first, again = call(f"{hub.http}/v1/events", EVENT, key), call(f"{hub.http}/v1/events", [EVENT, EVENT], key)
    assert (first[0], json.loads(first[1])["results"][0]["status"]) == (200, "ACCEPTED")
    assert [result["status"] for result in json.loads(again[1])["results"]] == ["DUPLICATE", "DUPLICATE"]
    shown = hub.call(_customer(hub, "device", "d-1"))
    assert shown["timeline"][-1]["type"] == "transfer.failed"
    assert shown["timeline"][-1]["occurred_at"] == "2026-05-04T10:42:00Z"


async def _customer(hub: RunningHub, kind: str, value: str) -> dict[str, Any]:
    return hub.hub.reports.customer(Identifier(kind, value))


def test_an_event_without_a_time_gets_the_time_of_its_first_arrival(hub: RunningHub) -> None:
    key = hub.key("app")
    event = {name: value for name, value in EVENT.items() if name != "time"} | {"id": "2"}
    statuses = [json.loads(call(f"{hub.http}/v1/events", event, key)[1])["results"][0]["status"] for _ in range(2)]
    assert statuses == ["ACCEPTED", "DUPLICATE"]


@pytest.mark.parametrize(
    ("change", "cure"),
    [
        ({"type": ""}, 'Write "type"'),
        ({"subject": ""}, 'Write "subject"'),
        ({"subject": "A-1009"}, "kind=value"),
        ({"id": ""}, "its own id"),
        ({"time": "yesterday"}, 'Write e.g. "2026-05-04T10:42:00Z"'),
        ({"data": [1]}, 'Write "data"'),
        ({"type": "chat.opened"}, "touchpoints.yaml"),
    ],
)
def test_a_wrong_event_is_refused_with_its_cure(hub: RunningHub, change: dict[str, Any], cure: str) -> None:
    status, text = call(f"{hub.http}/v1/events", EVENT | {"id": "3"} | change, hub.key("app"))
    assert status == 422
    assert cure in json.loads(text)["results"][0]["reason"]


def test_without_a_key_nothing_is_taken(hub: RunningHub) -> None:
    assert call(f"{hub.http}/v1/events", EVENT)[0] == 401
    assert call(f"{hub.http}/v1/events", EVENT, hub.admin_key)[0] == 401
    assert call(f"{hub.http}/v1/events", b"{", hub.key("app"))[0] == 400


def test_metrics_and_health_tell_how_the_hub_is(hub: RunningHub) -> None:
    status, text = call(f"{hub.http}/metrics")
    assert status == 200
    assert 'segue_facts_total{result="accepted"}' in text
    assert "segue_serving 1.0" in text
    assert call(f"{hub.http}/healthz") == (200, '{"serving": true}')


def test_a_key_that_is_no_text_is_no_key(hub: RunningHub) -> None:
    """Regression (found by fuzzing): it was an internal error."""
    for path in ("/v1/events", "/v1/decide", "/v1/reserve"):
        with socket.create_connection(("127.0.0.1", int(hub.http.rsplit(":", 1)[1])), timeout=10) as line:
            line.sendall(
                f"POST {path} HTTP/1.1\r\nHost: hub\r\nContent-Length: 2\r\nConnection: close\r\n".encode()
                + b"Authorization: Bearer \xff\xfe\r\n\r\n{}"
            )
            assert line.recv(1000).split(b"\r\n")[0] == b"HTTP/1.1 401 Unauthorized"
