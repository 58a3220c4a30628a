"""S7 in a browser: the agent's page beside the customer's, with a hub and both channels in processes of their own.

The customer chats and asks to be called; the desk hears of the offer with the brief and the note, declines one and
takes one; the chat lets go. What an agent has to know is on the page in words: nobody
waits, offered, hers, lost, hub gone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import segue

from tests.serving import Serving, serving

from .browsing import BROWSER, browsing, picture
from .example_app import running

pytestmark = [*BROWSER, pytest.mark.timeout(180)]


@dataclass
class Scene:
    """Two pages, open side by side."""

    hub: Serving
    chat: Any
    desk: Any
    folder: Path
    chat_at: str
    desk_at: str
    open: Callable[[], Any]

    def enters(self, account: str) -> None:
        """The customer opens the chat."""
        self.chat.goto(f"{self.chat_at}/?account={account}")
        self.chat.wait_for_selector("#log p:has-text('I am the bot')")

    def says(self, text: str) -> None:
        self.chat.get_by_label("Message").fill(text)
        self.chat.get_by_role("button", name="Send").click()

    def card(self, account: str) -> Any:
        return self.desk.get_by_role("article", name=f"account {account}")

    def press(self, what: str, account: str) -> None:
        self.desk.get_by_role("button", name=f"{what} account {account}", exact=True).click()


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    with (
        serving(tmp_path) as hub,
        running("examples.chat.app", tmp_path / "chat", SEGUE_HUB=hub.address, SEGUE_KEY=hub.key("chat")) as chat,
        running("examples.desk.app", tmp_path / "desk", SEGUE_HUB=hub.address, SEGUE_KEY=hub.key("desk")) as desk,
        browsing() as browser,
    ):

        def page() -> Any:
            return browser.new_page(viewport={"width": 900, "height": 700})

        made = Scene(hub, page(), page(), tmp_path, chat, desk, page)
        made.desk.goto(desk)
        yield made


def failed_transfer(scene: Scene, account: str) -> None:
    app = segue.Touchpoint("app", hub=scene.hub.address, key=scene.hub.key("app"), state=scene.folder / "app")
    try:
        with app.session(account=account, wait=1) as customer:
            customer.track("transfer.failed", transfer_id="T-77", error="E42")
        assert app.flush(10)
    finally:
        app.close()


def test_the_desk_sees_the_offer_with_the_brief_and_takes_over(scene: Scene) -> None:
    scene.desk.wait_for_selector("#hub:has-text('live')")
    scene.desk.wait_for_selector("#nobody:has-text('Nobody is waiting')")
    picture(scene.desk, "desk-nobody")
    failed_transfer(scene, "A-1009")
    scene.enters("A-1009")
    scene.says("my transfer failed, please call me")
    scene.chat.wait_for_selector("#with:has-text('waiting for desk')")
    card = scene.card("A-1009")
    card.wait_for()
    assert scene.desk.get_by_text("Nobody is waiting").is_hidden()
    assert card.get_by_text("offered to you").is_visible()
    assert card.get_by_text("my transfer failed, please call me").is_visible(), "what chat says to the desk"
    brief = card.locator("li").all_inner_texts()
    assert "wants to: send money to another account" in brief[0]
    assert any("transfer failed (E42) on app" in sentence for sentence in brief)
    assert card.get_by_role("button").all_inner_texts() == ["Accept", "Decline"]
    picture(scene.desk, "desk-offer")
    scene.press("Accept", "A-1009")
    card.get_by_text("with you", exact=True).wait_for()
    scene.chat.wait_for_selector("#with:has-text('desk has taken over')")
    assert card.get_by_role("button").all_inner_texts() == ["Done"]
    scene.chat.wait_for_selector("#log p:has-text('You need not repeat anything')")
    picture(scene.desk, "desk-mine")
    picture(scene.chat, "chat-taken-over")
    # Whoever looks her up elsewhere sees the same; and the customer closes her chat: nothing lets go of her.
    scene.chat.goto("about:blank")
    other = scene.open()
    other.goto(f"{scene.desk_at}/?account=A-1009")
    other.get_by_role("article", name="account A-1009").get_by_text("with you", exact=True).wait_for()
    assert card.get_by_text("with you", exact=True).is_visible()
    scene.press("Done", "A-1009")
    scene.desk.wait_for_selector("#nobody:has-text('Nobody is waiting')")


def test_a_declined_customer_stays_in_the_chat_and_can_be_offered_again(scene: Scene) -> None:
    scene.enters("A-7")
    scene.says("call me")
    scene.card("A-7").wait_for()
    scene.press("Decline", "A-7")
    scene.desk.wait_for_selector("#nobody:has-text('Nobody is waiting')")
    scene.chat.wait_for_selector("#with", state="hidden")
    scene.chat.wait_for_selector("#log p:has-text('No agent is free just now')")
    scene.says("please, do call me")
    scene.card("A-7").get_by_text("please, do call me").wait_for()
    scene.press("Accept", "A-7")
    scene.chat.wait_for_selector("#with:has-text('desk has taken over')")


def test_an_offer_that_is_over_is_said_to_be_lost_and_others_stay(scene: Scene) -> None:
    scene.enters("A-8")
    scene.says("call me")
    scene.card("A-8").wait_for()
    second = scene.open()
    second.goto(f"{scene.chat_at}/?account=A-9")
    second.wait_for_selector("#log p:has-text('I am the bot')")
    second.get_by_label("Message").fill("call me too")
    second.get_by_role("button", name="Send").click()
    scene.card("A-9").wait_for()
    scene.chat.goto("about:blank")  # she closes the chat before anybody accepts
    lost = scene.card("A-8")
    lost.get_by_text("offer over").wait_for()
    assert lost.get_by_text("The offer ended before it was accepted. The customer is with nobody.").is_visible()
    assert lost.get_by_role("button").all_inner_texts() == ["Close"]
    assert scene.card("A-9").get_by_text("offered to you").is_visible()
    picture(scene.desk, "desk-lost")
    scene.press("Close", "A-8")
    lost.wait_for(state="detached")
    assert scene.card("A-9").get_by_role("button").all_inner_texts() == ["Accept", "Decline"]


def test_a_hub_that_is_gone_is_said_and_its_return_too(scene: Scene) -> None:
    scene.enters("A-10")
    scene.says("call me")
    card = scene.card("A-10")
    card.wait_for()
    scene.hub.kill()
    scene.desk.wait_for_selector("#gone:has-text('The hub cannot be reached')")
    assert scene.desk.inner_text("#hub") == "not connected"
    assert card.get_by_text("offered to you").is_visible(), "what was last known stays"
    scene.press("Accept", "A-10")
    card.get_by_text("with you", exact=True).wait_for()
    assert card.get_by_text("Other channels may not know it until the hub is back").is_visible()
    picture(scene.desk, "desk-hub-gone")
    scene.hub.start()
    scene.desk.wait_for_selector("#hub:has-text('live')", timeout=60_000)
    assert scene.desk.locator("#gone").is_hidden()
    scene.chat.wait_for_selector("#with:has-text('desk has taken over')", timeout=60_000)
    assert card.get_by_text("with you", exact=True).is_visible()
