"""The hub's log tells who is refused what and why, and never what a customer's fact says."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from segue_hub.services.admission import Result
from segue_hub.services.refusals import OTHERS, PAUSE, RefusalKind, Refusals
from segue_hub.testing import run_hub
from structlog.testing import capture_logs

from tests.calling import Caller, calling, event, now
from tests.commanding import Command
from tests.serving import Serving, environment, free_port, serving
from tests.waiting import eventually

SECRET = "Secret-4711"
HOUR = 3600 * 1_000_000


def refuse_all(app: Caller) -> set[tuple[str, str]]:
    """One fact for every way of being refused, each with a secret in it; returns codes and reasons."""
    first = event("transfer.failed", "account=A-1", transfer_id="T-1")
    app.send(first)
    wrong = [
        event("transfer.failed", "account=A-1", at=first.occurred_at, id_=first.id, transfer_id=SECRET),
        event("transfer.failed", "account=A-1", amount=SECRET),
        event("value_tier", "account=A-1", kind="trait", value=SECRET),
        event(SECRET, "account=A-1"),
        event(f"{SECRET}.seen", "account=A-1", kind="trait", value=1),
        event("call.started", "account=A-1", text=SECRET),
        event("marketing", "account=A-1", kind="consent", state=SECRET),
        event("transfer.failed", "account=null", transfer_id=SECRET),
        event("transfer.failed", f"{SECRET * 200}={SECRET}", transfer_id=SECRET),
        event("transfer.failed", "account=A-1", at=now() + HOUR, transfer_id=SECRET),
    ]
    broken = event("transfer.failed", "account=A-1")
    broken.raw = f'{{"transfer_id": "{SECRET}'.encode()
    return {(code, reason) for _, code, reason in app.send(*wrong, broken)}


def test_a_hub_that_refuses_facts_logs_code_field_and_touchpoint_and_no_value(tmp_path: Path) -> None:
    with serving(tmp_path) as hub, calling(hub.address, hub.key("app")) as app:
        told = refuse_all(app)
        assert any(SECRET in reason for _, reason in told), "whoever sent it is told in full"
        log = tmp_path / "hub.1.log"
        lines = eventually(lambda: [json.loads(line) for line in log.read_text().splitlines() if "refused" in line])
        assert SECRET not in log.read_text()
        kinds = {(line["touchpoint"], line["code"], line["field"]) for line in lines}
        assert {code for _, code, _ in kinds} == {code for code, _ in told}
        assert {
            ("app", "ID_CONFLICT", "id"), ("app", "PROPERTY_INVALID", "properties.amount"),
            ("app", "NOT_GRANTED", "type"), ("app", "BLOCKED_VALUE", "identifiers"),
            ("app", "TOO_FAR_AHEAD", "occurred_at"), ("app", "FACT_INVALID", "consent.state"),
            ("app", "FACT_INVALID", "properties"), ("app", "FACT_INVALID", "identifiers"),
        } <= kinds  # fmt: skip
        assert SECRET not in json.dumps(hub.status()["refused_since_start"])


def test_the_status_shows_what_was_refused(tmp_path: Path) -> None:
    with run_hub({"vocabulary.yaml": "traits: {orders: {type: int}}\n"}) as hub:
        with calling(hub.address, hub.key("shop")) as shop:
            shop.send(*(event("orders", "account=A", kind="trait", value=SECRET) for _ in range(3)))
        entry = {"touchpoint": "shop", "code": "TRAIT_INVALID", "field": "properties.value", "count": 3}
        assert hub.hub.overview.plain()["refused_since_start"] == [entry]
        assert "TRAIT_INVALID" in Command.of(hub, "shop").ok("status")


def test_refusals_of_one_kind_are_logged_at_once_and_then_together_once_a_minute() -> None:
    clock = [1_000 * PAUSE]
    refusals = Refusals(lambda: clock[0])
    result = Result("REJECTED", "TRAIT_INVALID", f"properties.value: {SECRET}", "properties.value")
    with capture_logs() as lines:
        for _ in range(1000):
            refusals.note("app", result)
        refusals.note("chat", result)
        clock[0] += PAUSE
        refusals.note("app", result)
    assert [(line["touchpoint"], line["count"]) for line in lines] == [("app", 1), ("chat", 1), ("app", 1000)]
    assert SECRET not in str(lines)
    assert refusals.counts[RefusalKind("app", "TRAIT_INVALID", "properties.value")] == 1001


def test_however_many_touchpoints_are_named_memory_and_log_stay_bounded() -> None:
    refusals = Refusals(lambda: PAUSE * 1000)
    with capture_logs() as lines:
        for number in range(3000):
            refusals.note(f"touchpoint-{number}", Result("REJECTED", "FACT_INVALID", "", "type"))
    assert len(lines) == 1001
    assert len(refusals.counts) == 1001
    assert refusals.counts[RefusalKind(OTHERS, "FACT_INVALID", "")] == 2000


@pytest.mark.parametrize("form", ["json", "people"])
def test_a_logged_traceback_shows_places_and_no_local_values(form: str) -> None:
    program = """
import structlog
from segue_hub.cli.serve import _configure_log

def fails(properties):
    raise RuntimeError("on purpose")

_configure_log("%s")
try:
    fails({"name": "Secret" + "-" + str(4711)})
except RuntimeError:
    structlog.get_logger("segue.hub").exception("a context cannot be sent", subscription=1)
"""
    done = subprocess.run(
        [sys.executable, "-c", program % form], capture_output=True, text=True, timeout=60, check=True,
        env=environment(),
    )  # fmt: skip
    assert "fails" in done.stderr
    assert "on purpose" in done.stderr
    assert SECRET not in done.stderr


@pytest.mark.parametrize(
    "sent",
    [
        f"{SECRET}\r\n\r\n", f"GET / HTTP/1.1\r\nno colon {SECRET}\r\n\r\n",
        f"POST /v1/events HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n{SECRET}\r\n",
        f"GET / HTTP/1.1\r\nx: {SECRET * 3000}\r\n\r\n",
    ],
)  # fmt: skip
def test_what_is_no_http_is_refused_and_leaves_nothing_in_the_log(tmp_path: Path, sent: str) -> None:
    """Counterexample: a traceback each, of what was sent, in lines that were no JSON."""
    port = free_port()
    hub = Serving(tmp_path, http_port=port)
    hub.start()
    try:
        for _ in range(3):
            with socket.create_connection(("127.0.0.1", port), timeout=10) as line:
                line.sendall(b"GET /healthz HTTP/1.1\r\nHost: hub\r\n\r\n")  # so that it is not the first of its line
                assert line.recv(4096).startswith(b"HTTP/1.1 200")
                line.sendall(sent.encode())
                assert line.recv(4096).startswith((b"HTTP/1.0 400", b"HTTP/1.1 400"))
    finally:
        hub.stop()
    lines = (tmp_path / "hub.1.log").read_text().splitlines()
    assert [json.loads(line)["event"] for line in lines] == ["serving", "stopped"]
