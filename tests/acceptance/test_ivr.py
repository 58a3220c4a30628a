"""S6: the phone menu knows the caller, from a real webhook with real signatures, in time, also when the hub is away."""

from __future__ import annotations

import time
import urllib.parse
from collections.abc import Iterator
from pathlib import Path

import pytest
import segue
from segue_hub.testing import RunningHub, run_hub

from examples.ivr import twiml

from .example_app import ROOT, post, running

TOKEN = "not-a-secret"
PHONE = "+4915112345678"


def turn(address: str, path: str, *, token: str = TOKEN, **parameters: str) -> tuple[int, str, float]:
    """One request of the voice provider: status, TwiML, seconds."""
    body = {"From": PHONE, "CallSid": "CA-1", **parameters}
    headers = {"X-Twilio-Signature": twiml.signature(token, address + path, body)}
    began = time.monotonic()
    status, text = post(address + path, urllib.parse.urlencode(body).encode(), headers)
    return status, text, time.monotonic() - began


@pytest.fixture(scope="module")
def hub() -> Iterator[RunningHub]:
    with run_hub(ROOT / "examples" / "plan") as running_hub:
        yield running_hub


@pytest.fixture(scope="module")
def caller(hub: RunningHub, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A customer whose transfer failed in the app, known there by account and phone."""
    state = tmp_path_factory.mktemp("app")
    app = segue.Touchpoint("app", hub=hub.address, key=hub.key("app"), state=state)
    with app.session(account="A-1009", phone=PHONE) as customer:
        customer.track("TransferError", transfer_id="T-77", error="E42")
    assert app.flush(10)
    app.close()


@pytest.fixture(scope="module")
def address(hub: RunningHub, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running(
        "examples.ivr.app", tmp_path_factory.mktemp("ivr"), SEGUE_HUB=hub.address, SEGUE_KEY=hub.key("ivr"),
        VOICE_TOKEN=TOKEN,
    ) as served:  # fmt: skip
        yield served


def test_a_cold_process_knows_why_the_customer_calls_within_a_second(address: str, caller: None) -> None:
    status, text, seconds = turn(address, "/voice")
    assert status == 200
    assert "about the transfer that failed at " in text
    assert seconds < 1


def test_the_choice_is_tracked_and_decided_upon(address: str, caller: None, hub: RunningHub) -> None:
    status, text, _ = turn(address, "/voice/choice?about=transfer", Digits="1")
    assert status == 200
    assert "link" in text or "<Dial>" in text
    status, text, _ = turn(address, "/voice/choice?about=transfer", Digits="2")
    assert "<Dial>+4930555002</Dial>" in text


def test_an_unknown_caller_gets_the_menu_within_a_second(address: str) -> None:
    status, text, seconds = turn(address, "/voice", From="+4915199999999", CallSid="CA-2")
    assert status == 200
    assert "Press 1 for payments" in text
    assert seconds < 1


def test_a_wrong_signature_is_refused(address: str) -> None:
    assert turn(address, "/voice", token="another")[0] == 403


def test_without_a_hub_the_default_answers_within_a_second(tmp_path: Path) -> None:
    with running("examples.ivr.app", tmp_path, SEGUE_HUB="127.0.0.1:9", SEGUE_KEY="x", VOICE_TOKEN=TOKEN) as served:
        status, text, seconds = turn(served, "/voice")
    assert status == 200
    assert "Press 1 for payments" in text
    assert seconds < 1
