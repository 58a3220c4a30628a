"""The slot in a browser: what usually sells helps while a transfer is open, and says by whom the offer is held back."""

from __future__ import annotations

from pathlib import Path

import pytest
import segue

from tests.serving import serving

from .browsing import BROWSER, browsing, picture
from .example_app import running
from .test_two_teams import known

pytestmark = [*BROWSER, pytest.mark.timeout(180)]


def test_the_open_page_helps_instead_of_selling(tmp_path: Path) -> None:
    with (
        serving(tmp_path) as hub,
        running("examples.web.app", tmp_path / "web", SEGUE_HUB=hub.address, SEGUE_KEY=hub.key("web")) as address,
        browsing() as browser,
    ):
        known(hub, tmp_path, "A-1009")
        page = browser.new_page(viewport={"width": 900, "height": 600})
        page.goto(f"{address}/?account=A-1009")
        page.wait_for_selector("#slot:has-text('More bandwidth')")
        picture(page, "web-offer")
        app, chat = (
            segue.Touchpoint(name, hub=hub.address, key=hub.key(name), state=tmp_path / name)
            for name in ("app", "chat")
        )
        try:
            with app.session(account="A-1009", wait=1) as customer:
                customer.track("transfer.failed", transfer_id="T-1", error="E42")
                page.wait_for_selector("#slot:has-text('Finish your transfer')")
                assert page.get_by_label("For you").is_visible()
                assert "the slot shows help.transfer" in page.get_by_label("Why this is shown").inner_text()
                picture(page, "web-help")
                customer.track("transfer.completed", transfer_id="T-1")
                # Now there is nothing to help with; the complaint holds the offer back, and the slot stays empty.
                page.wait_for_selector("#slot:has-text('More bandwidth')")
            with chat.session(account="A-1009", wait=1) as customer:
                customer.track("complaint.opened", topic="fees")
                page.wait_for_selector("#slot", state="hidden")
        finally:
            app.close()
            chat.close()
        held = page.get_by_label("Why this is shown").inner_text()
        assert "the slot stays empty" in held
        assert "offer.upsell is held back by cx-board: The customer is trying to solve a problem, until" in held
        picture(page, "web-held")
