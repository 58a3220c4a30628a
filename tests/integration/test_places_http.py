"""Places under strict caps for whoever speaks HTTP: `/v1/reserve`, `/v1/confirm`, `/v1/release`, by curl and urllib."""

from __future__ import annotations

import json
import subprocess
import threading
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import segue
from segue.domain.fact import ACTION
from segue_hub.testing import RunningHub, run_hub

from tests.integration.test_place_ids import told
from tests.integration.test_places import PLAN, offer
from tests.joining import joined

OFFER = {"kind": "offer.upsell", "topic": "bandwidth", "purpose": "marketing"}


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningHub]:
    logic = tmp_path_factory.mktemp("logic") / "http_logic.py"
    logic.write_text(
        """
import segue

mailer = segue.Touchpoint("mailer")


@mailer.decision("mail.upsell")
def upsell(c: segue.Context) -> segue.Action:
    return segue.Action("offer.upsell", topic="bandwidth", purpose="marketing", properties={"price": 12.5})
""",
        encoding="utf-8",
    )
    with run_hub(PLAN, store=logic.parent / "segue.db", decisions=[str(logic)]) as running:
        yield running


def post(hub: RunningHub, what: str, body: Any, key: str) -> tuple[int, dict[str, Any]]:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    request = urllib.request.Request(f"{hub.http}/v1/{what}", data=data, headers={"Authorization": f"Bearer {key}"})
    try:
        with urllib.request.urlopen(request, timeout=20) as response:
            return response.status, json.loads(response.read())
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.loads(error.read())


def place(account: str, **more: Any) -> dict[str, Any]:
    return {"id": str(uuid.uuid4()), "identifiers": {"account": account}, "action": OFFER} | more


def test_what_decide_proposed_is_reserved_confirmed_and_counted_with_curl_alone(hub: RunningHub) -> None:
    mailer, texter = hub.key("mailer"), hub.key("texter")

    def curl(what: str, body: dict[str, Any]) -> dict[str, Any]:
        command = ["curl", "-sS", f"{hub.http}/v1/{what}", "-H", f"Authorization: Bearer {mailer}"]
        done = subprocess.run(
            [*command, "-d", json.dumps(body)], capture_output=True, text=True, timeout=20, check=True
        )
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer

    who = {"account": "W-1"}
    decided = curl("decide", {"decision": "mail.upsell", "identifiers": who})
    assert decided["allowed"]
    asked = {"id": str(uuid.uuid4()), "identifiers": who, "action": decided["action"]}
    granted = curl("reserve", asked)
    assert (granted["granted"], granted["id"]) == (True, asked["id"].replace("-", ""))
    assert granted["expires_at"].endswith("Z")
    status, refused = post(hub, "reserve", place("W-1"), texter)
    assert (status, refused["granted"], refused["expires_at"]) == (200, False, None)
    (verdict,) = [v for v in refused["verdicts"] if v["guardrail"] == "contact_pressure"]
    assert (verdict["kind"], verdict["holder"], verdict["owner"]) == ("DEFER", "mailer", "crm")
    assert verdict["until"] > granted["expires_at"], "spent or confirmed, it is hers for the window"
    done = asked | {"status": "completed", "decision_id": decided["id"]}
    assert curl("confirm", done)["confirmed"]
    assert curl("confirm", done)["confirmed"], "saying it again changes nothing"
    (action,) = told(hub, "W-1", ACTION)
    assert action["reservation"] == granted["id"]
    assert (action["decision_id"], action["details"]) == (decided["id"], {"price": 12.5})
    assert (action["kind"], action["status"], action["channel"]) == ("offer.upsell", "completed", "email")
    assert not curl("decide", {"decision": "mail.upsell", "identifiers": who})["allowed"]


def test_a_place_that_was_not_used_is_given_back(hub: RunningHub) -> None:
    mailer, texter = hub.key("mailer"), hub.key("texter")
    asked = place("W-2")
    assert post(hub, "reserve", asked, mailer)[1]["granted"]
    assert post(hub, "reserve", asked, mailer)[1]["granted"], "the answer was lost: the same place"
    status, error = post(hub, "reserve", asked, texter)
    assert (status, error["error"]["code"]) == (409, "ID_CONFLICT")
    given = {"id": asked["id"], "identifiers": ["account=W-2"]}
    assert post(hub, "release", given, texter) == (200, {"id": asked["id"].replace("-", ""), "released": False})
    assert post(hub, "release", given, mailer)[1]["released"] is True
    assert post(hub, "reserve", asked, mailer)[0] == 409
    assert post(hub, "reserve", place("W-2"), texter)[1]["granted"]


def test_of_many_channels_at_once_one_is_granted_and_an_sdk_hears_of_it(hub: RunningHub, tmp_path: Path) -> None:
    keys = [hub.key(name) for name in ("mailer", "texter", "chat")]
    answers: list[tuple[int, dict[str, Any]]] = []
    start = threading.Barrier(24)

    def ask(key: str) -> None:
        start.wait(20)
        answers.append(post(hub, "reserve", place("W-3", deadline_ms=10_000), key))

    threads = [threading.Thread(target=ask, args=(keys[number % 3],)) for number in range(24)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert [status for status, _ in answers] == [200] * 24
    assert [answer["granted"] for _, answer in answers].count(True) == 1
    (holder,) = {v["holder"] for _, a in answers for v in a["verdicts"] if v["guardrail"] == "contact_pressure"} - {""}
    assert holder in ("mailer", "texter", "chat")
    with joined(hub, "desk", tmp_path) as desk, desk.session(account="W-3", wait=2) as session:
        decision = session.decide(offer(desk))
        assert not decision.allowed or _held_by(decision) == holder


def _held_by(decision: segue.Decision) -> str:
    with pytest.raises(segue.HeldBack) as held, decision.act():
        pytest.fail("the place is taken")
    return str(held.value.verdict.holder)


def test_an_answer_that_does_not_come_in_time_is_said_and_leaves_a_place_that_can_be_given_back(
    hub: RunningHub,
) -> None:
    mailer, texter = hub.key("mailer"), hub.key("texter")
    ingest, go_on = hub.hub.ingest, threading.Event()
    write = ingest._write

    def waiting(batches: Any, checkpoints: Any) -> Any:
        assert go_on.wait(9)
        return write(batches, checkpoints)

    asked = place("W-4", deadline_ms=50)
    ingest._write = waiting  # type: ignore[method-assign]  # a disk that takes its time
    try:
        status, error = post(hub, "reserve", asked, mailer)
    finally:
        go_on.set()
        ingest._write = write  # type: ignore[method-assign]
    assert (status, error["error"]["code"]) == (504, "DEADLINE_EXCEEDED")
    assert "release it" in error["error"]["message"]
    assert post(hub, "reserve", asked | {"deadline_ms": 10_000}, mailer)[1]["granted"], "the same id, the same place"
    assert post(hub, "release", {"id": asked["id"], "identifiers": {"account": "W-4"}}, mailer)[1]["released"]
    assert post(hub, "reserve", place("W-4"), texter)[1]["granted"]


@pytest.mark.parametrize(
    ("what", "change", "status", "code", "says"),
    [
        ("reserve", {"id": "7"}, 400, "FACT_INVALID", "id: '7' is no UUID"),
        ("reserve", {"id": None}, 400, "FACT_INVALID", "id: None is no UUID"),
        ("reserve", {"identifiers": {}}, 400, "FACT_INVALID", "identifiers: nobody is named"),
        ("reserve", {"identifiers": ["account"]}, 400, "FACT_INVALID", "identifiers: "),
        ("reserve", {"action": {}}, 400, "FACT_INVALID", "action: names no kind"),
        ("reserve", {"action": {"kind": "x", "topic": 7}}, 400, "FACT_INVALID", "action.topic: 7 is none. Send a text"),
        ("reserve", {"action": {"kind": "x", "colour": ""}}, 400, "INPUT_INVALID", "action.colour: is not known"),
        ("reserve", {"status": "completed"}, 400, "INPUT_INVALID", "status: is not known. One of id, identifiers"),
        ("reserve", {"deadline_ms": 10_001}, 400, "INPUT_INVALID", "deadline_ms: 10001 is no whole number between"),
        ("reserve", {"deadline_ms": True}, 400, "INPUT_INVALID", "deadline_ms: True"),
        ("confirm", {"status": "sent"}, 400, "FACT_INVALID", "status: 'sent' is not known. One of completed"),
        ("confirm", {"status": ["sent"]}, 400, "FACT_INVALID", "status: ['sent'] is not known"),
        ("confirm", {"decision_id": "x"}, 400, "FACT_INVALID", "decision_id: is none"),
        ("release", {"action": OFFER}, 400, "INPUT_INVALID", "action: is not known. One of id, identifiers"),
    ],
)
def test_what_cannot_be_read_is_refused_by_field_with_its_cure(
    hub: RunningHub, what: str, change: dict[str, Any], status: int, code: str, says: str
) -> None:
    body = place("W-5")
    if what == "release":
        del body["action"]
    found, answer = post(hub, what, body | change, hub.key("mailer"))
    assert (found, answer["error"]["code"]) == (status, code)
    assert answer["error"]["message"].startswith(says)


@pytest.mark.parametrize("what", ["reserve", "confirm", "release"])
def test_nobody_asks_without_a_key_of_its_own_or_without_json(hub: RunningHub, what: str) -> None:
    for key in ("", "wrong", hub.admin_key):
        status, answer = post(hub, what, place("W-6"), key)
        assert (status, answer["error"]["code"]) == (401, "KEY_INVALID")
    for body in (b"{", b"[]", b"\xff"):
        status, answer = post(hub, what, body, hub.key("mailer"))
        assert (status, answer["error"]["code"]) == (400, "INPUT_INVALID")
