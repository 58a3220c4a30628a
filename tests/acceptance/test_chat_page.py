"""S1 and S10 in a browser: the chat page routes past the bot with a brief, and says so when the hub is away."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import segue
from segue_hub.testing import run_hub

from .browsing import BROWSER, browsing, picture
from .example_app import ROOT, running

pytestmark = BROWSER


@pytest.fixture
def page() -> Iterator[Any]:
    with browsing() as browser:
        yield browser.new_page(viewport={"width": 900, "height": 700})


def test_ann_is_routed_past_the_bot_with_a_brief_and_the_page_says_how_old_its_context_is(
    page: Any, tmp_path: Path
) -> None:
    with run_hub(ROOT / "examples" / "plan", store=tmp_path / "segue.db") as hub:
        environment = {"SEGUE_HUB": hub.address, "SEGUE_KEY": hub.key("chat")}
        others = {
            name: segue.Touchpoint(name, hub=hub.address, key=hub.key(name), state=tmp_path / name)
            for name in ("app", "ivr", "crm")
        }
        with others["crm"].session(account="A-1009") as customer:
            customer.set_trait("value_tier", "high")
        with others["app"].session(account="A-1009") as customer:
            customer.track("TransferError", transfer_id="T-77", error="E42")
        assert all(touchpoint.flush(10) for touchpoint in others.values())
        with running("examples.chat.app", tmp_path / "chat", **environment) as address:
            page.goto(f"{address}/?account=A-1009")
            page.wait_for_selector("#route:has-text('bot')")
            # The phone is tried meanwhile: the open page hears of it without a reload.
            with others["ivr"].session(account="A-1009") as customer:
                customer.track("call.started")
            page.wait_for_selector("#route:has-text('priority agent')")
            page.fill("#text", "hello?")
            page.click("button")
            page.wait_for_selector("#log p:has-text('I have read what happened')")
            assert "transfer failed" in page.inner_text("#brief").lower()
            picture(page, "chat")
            for touchpoint in others.values():
                touchpoint.close()
            hub.hub.fan_out.streams.clear()  # nobody says goodbye
            hub.call(hub.hub._server.stop(0))
            page.wait_for_selector("#freshness:has-text('s old')", timeout=20_000)
            assert page.inner_text("#route") == "priority agent"
