"""S3, S7, S8 and S9 between real processes: the examples as anybody runs them, and a hub of its own process."""

from __future__ import annotations

import asyncio
import json
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import segue
from aiosmtpd.controller import Controller
from segue.domain.claim import Claim, told
from segue.domain.fact import CLAIM, Fact
from segue.domain.identifier import Identifier
from segue.wire import fact_from_bytes

from tests.serving import Serving, environment, serving
from tests.waiting import eventually

from .example_app import ROOT, free_port, wait_until_it_listens

pytestmark = pytest.mark.timeout(180)


class Mailbox:
    """What a mail server was given."""

    def __init__(self) -> None:
        self.mails: list[tuple[str, str]] = []

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802  # aiosmtpd's name
        self.mails += [(address, envelope.content.decode()) for address in envelope.rcpt_tos]
        return "250 taken"

    def to(self, address: str) -> int:
        return sum(address == given for given, _ in self.mails)


@pytest.fixture
def mailbox() -> Iterator[tuple[Mailbox, str]]:
    box = Mailbox()
    server = Controller(box, hostname="127.0.0.1", port=free_port())
    server.start()
    yield box, f"127.0.0.1:{server.port}"
    server.stop()


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Serving]:
    with serving(tmp_path) as running:
        yield running


class Team:
    """One of the examples in a process of its own; `said` are the lines that it printed."""

    def __init__(self, hub: Serving, name: str, module: str, folder: Path, *arguments: str, key: str = "") -> None:
        self.said: list[dict[str, Any]] = []
        self.process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments], cwd=ROOT, stdout=subprocess.PIPE, text=True,
            env=environment(SEGUE_HUB=hub.address, SEGUE_KEY=key or hub.key(name), SEGUE_STATE=str(folder)),
        )  # fmt: skip
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as lines:
            for line in lines:
                self.said.append(json.loads(line))

    def what(self, kind: str) -> list[dict[str, Any]]:
        return [line for line in self.said if line["what"] == kind]

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(10)
        self._reader.join(5)

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
        self.process.wait(15)
        self._reader.join(5)


@contextmanager
def team(hub: Serving, name: str, module: str, folder: Path, *arguments: str) -> Iterator[Team]:
    running = Team(hub, name, module, folder, *arguments)
    try:
        yield running
    finally:
        running.stop()


@contextmanager
def app(hub: Serving, name: str, folder: Path, *arguments: str) -> Iterator[tuple[Team, str]]:
    port = free_port()
    with team(hub, name, f"examples.{name}.app", folder / name, "--port", str(port), *arguments) as running:
        wait_until_it_listens(port, running.process)  # type: ignore[arg-type]
        yield running, f"http://127.0.0.1:{port}"


@contextmanager
def joined(hub: Serving, name: str, folder: Path) -> Iterator[segue.Touchpoint]:
    touchpoint = segue.Touchpoint(name, hub=hub.address, key=hub.key(name), state=folder / f"{name}-own")
    try:
        assert touchpoint.wait_ready(10)
        yield touchpoint
    finally:
        touchpoint.close()


def known(hub: Serving, folder: Path, *accounts: str) -> None:
    """Good customers who agreed to marketing and looked for a bigger plan."""
    with joined(hub, "crm", folder) as crm, joined(hub, "web", folder) as web:
        for account in accounts:
            with crm.session(account=account, email=f"{account.lower()}@example.org", wait=0) as customer:
                customer.set_trait("value_tier", "high")
                customer.consent("marketing", "granted")
            with web.session(account=account, wait=0) as customer:
                customer.track("plan.searched", query="more bandwidth")
        assert crm.flush(10)
        assert web.flush(10)


async def get(url: str, method: str = "GET") -> Any:
    async with aiohttp.ClientSession() as client, client.request(method, url) as response:
        assert response.status == 200, await response.text()
        return await response.json()


def seen(url: str, holds: Callable[[Any], Any], timeout: float = 15) -> Any:
    return eventually(lambda: found if holds(found := asyncio.run(get(url))) else None, timeout)


def post(url: str) -> Any:
    return asyncio.run(get(url, "POST"))


def test_s3_no_selling_while_suffering_and_service_goes_out(
    hub: Serving, tmp_path: Path, mailbox: tuple[Mailbox, str]
) -> None:
    box, smtp = mailbox
    known(hub, tmp_path, "A-1", "A-2")
    with joined(hub, "chat", tmp_path) as chat:
        with chat.session(account="A-1", wait=1) as customer:
            customer.track("complaint.opened", topic="bandwidth")
        assert chat.flush(10)
        with team(hub, "email", "examples.email.campaign", tmp_path / "email", "--smtp", smtp) as campaign:
            eventually(lambda: campaign.what("sent") and campaign.what("held"), 30)
            held = campaign.what("held")[0]
            assert held["who"] == "a-1@example.org"
            assert "no_selling_in_trouble" in held["why"]
            assert "The customer is trying to solve a problem" in held["why"]
            assert "until" in held["why"]
            assert (box.to("a-1@example.org"), box.to("a-2@example.org")) == (0, 1)

        @chat.decision("chat.status", default=None)
        def status(c: segue.Context) -> segue.Action:
            return segue.Action("complaint.status", topic="complaint", purpose="service")

        with chat.session(account="A-1", wait=1) as customer:
            decision = customer.decide(status)
            assert decision.allowed
            with decision.act():
                pass


def test_the_slot_that_usually_sells_helps_instead(hub: Serving, tmp_path: Path) -> None:
    known(hub, tmp_path, "A-3")
    with app(hub, "web", tmp_path) as (_, address):
        slot = f"{address}/slot?account=A-3"
        seen(slot, lambda told: told["shows"] == "offer.upsell")
        with joined(hub, "app", tmp_path) as touchpoint, touchpoint.session(account="A-3", wait=1) as customer:
            customer.track("transfer.failed", transfer_id="T-1", error="E42")
            told = seen(slot, lambda told: told["shows"] == "help.transfer")
        assert told["text"].startswith("Finish your transfer")


@contextmanager
def chatting(address: str, account: str) -> Iterator[Callable[[str], None]]:
    """A customer in the chat, on a connection and loop of their own; gives what she can say."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    def run(work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, loop).result(15)

    async def start() -> tuple[aiohttp.ClientSession, aiohttp.ClientWebSocketResponse]:
        client = aiohttp.ClientSession()
        return client, await client.ws_connect(f"{address}/chat?account={account}")

    client, socket = run(start())

    def say(text: str) -> None:
        run(socket.send_json({"text": text}))

    async def end() -> None:
        await socket.close()
        await client.close()

    try:
        yield say
    finally:
        run(end())
        loop.call_soon_threadsafe(loop.stop)
        thread.join(5)
        loop.close()


@pytest.fixture
def handover(hub: Serving, tmp_path: Path) -> Iterator[dict[str, Any]]:
    """A customer in the chat, who asks to be called; both channels as the examples run them."""
    with (
        app(hub, "chat", tmp_path, "--lasting", "6s") as (chat, chat_at),
        app(hub, "desk", tmp_path, "--lasting", "3s") as (desk, desk_at),
    ):
        yield {"chat": chat, "desk": desk, "chat_at": chat_at, "at": f"{desk_at}", "hub": hub, "folder": tmp_path}


def test_s7_chat_hands_over_to_the_desk_with_a_brief_and_everybody_knows(handover: dict[str, Any]) -> None:
    hub, customer = handover["hub"], f"{handover['at']}/customer?account=A-4"
    with joined(hub, "app", handover["folder"]) as touchpoint:
        with touchpoint.session(account="A-4", wait=1) as session:
            session.track("transfer.failed", transfer_id="T-4", error="E42")
        assert touchpoint.flush(10)
    with chatting(handover["chat_at"], "A-4") as say:
        seen(customer, lambda told: told["holder"] == "chat")
        say("my transfer failed, please call me")
        told = seen(customer, lambda told: told["offered"])
        assert "call me" in told["note"]
        assert any("transfer" in sentence.lower() for sentence in told["brief"])
        post(f"{handover['at']}/decline?account=A-4")
        told = seen(customer, lambda told: not told["offered"])
        assert told["holder"] == "chat", "declined: no gap, she stays where she is"
        say("call me")
        seen(customer, lambda told: told["offered"])
        post(f"{handover['at']}/accept?account=A-4")
        seen(customer, lambda told: told["holder"] == "desk")
    # The chat is over. Its end lets go of nothing that is no longer its own: no gap.
    assert asyncio.run(get(customer))["holder"] == "desk"
    eventually(lambda: holders(hub, "A-4") == ["chat", "desk"])  # in that order, and nobody else in between
    known(hub, handover["folder"], "A-4")
    with (
        joined(hub, "email", handover["folder"]) as email,
        email.session(account="A-4", purpose="marketing", wait=1) as session,
    ):
        verdicts = session.decide(offer(email)).verdicts
        busy = next(v for v in verdicts if v.guardrail == "with_somebody")
        assert (busy.binds, busy.holder) == (True, "desk"), "claims are hidden here, and bind"
    post(f"{handover['at']}/done?account=A-4")
    seen(customer, lambda told: told["holder"] == "")


def test_s7_the_chat_dies_after_it_offered_and_the_desk_takes_over(handover: dict[str, Any]) -> None:
    customer = f"{handover['at']}/customer?account=A-5"
    with chatting(handover["chat_at"], "A-5") as say:
        say("call me")
        seen(customer, lambda told: told["offered"])
        handover["chat"].kill()
        post(f"{handover['at']}/accept?account=A-5")
        seen(customer, lambda told: told["holder"] == "desk")
    eventually(lambda: holders(handover["hub"], "A-5") == ["chat", "desk"])


def test_s7_the_desk_dies_after_it_accepted_and_she_is_free_again(handover: dict[str, Any]) -> None:
    customer = f"{handover['at']}/customer?account=A-6"
    with joined(handover["hub"], "chat", handover["folder"]) as other, chatting(handover["chat_at"], "A-6") as say:
        say("call me")
        seen(customer, lambda told: told["offered"])
        post(f"{handover['at']}/accept?account=A-6")
        with other.session(account="A-6", wait=2) as session:
            eventually(lambda: (c := session.claimed()) is not None and c.holder == "desk")
            handover["desk"].kill()
            # Renewed until it died, and for three seconds after: then nobody has her, and anybody may.
            eventually(lambda: session.claimed() is None, 10)
            session.claim()
            assert session.claimed().holder == "chat"


def offer(touchpoint: segue.Touchpoint) -> Any:
    @touchpoint.decision("upsell", default=None)
    def upsell(c: segue.Context) -> segue.Action:
        return segue.Action("offer.upsell", topic="bandwidth", purpose="marketing")

    return upsell


def claims(hub: Serving, account: str) -> list[Fact]:
    """What was told of a customer's claim, in the order of the facts, by the hub's log."""
    connection = sqlite3.connect(f"file:{hub.store}?mode=ro", uri=True)
    facts = [fact_from_bytes(body) for (body,) in connection.execute("SELECT body FROM facts")]
    connection.close()
    name = Identifier("account", account)
    return sorted((f for f in facts if f.kind == CLAIM and name in f.identifiers), key=lambda fact: fact.order)


def holders(hub: Serving, account: str) -> list[str]:
    """Who had a customer, one after the other; a gap is an empty text."""
    claim: Claim | None = None
    found: list[str] = []
    for fact in claims(hub, account):
        said = fact.properties
        if claim is not None and not claim.stands(fact.occurred_at):
            found.append("")
        claim = told(
            claim, fact.type, said["status"], fact.touchpoint, fact.occurred_at, said.get("until", 0),
            to=said.get("to", ""),
        )  # fmt: skip
        who = claim.holder if claim is not None else ""
        if not found or found[-1] != who:
            found.append(who)
    return found


def test_s8_what_she_chose_binds_every_channel_at_once(hub: Serving, tmp_path: Path) -> None:
    known(hub, tmp_path, "A-7")
    with (
        joined(hub, "web", tmp_path) as web,
        joined(hub, "chat", tmp_path) as chat,
        joined(hub, "email", tmp_path) as mail,
        web.session(account="A-7", wait=1) as on_page,
        chat.session(account="A-7", wait=1) as in_chat,
        mail.session(account="A-7", wait=1, purpose="marketing") as by_mail,
    ):

        def helping(touchpoint: segue.Touchpoint, journey: str) -> Any:
            @touchpoint.decision(f"help.{journey}", default=None)
            def help(c: segue.Context) -> segue.Action:
                return segue.Action("help.next_step", advances=journey)

            return help

        everybody = [(on_page, web), (in_chat, chat), (by_mail, mail)]
        assert by_mail.decide(offer(mail)).allowed
        in_chat.opt_out("channel:email")
        held = eventually(lambda: d if not (d := by_mail.decide(offer(mail))).allowed else None)
        assert held.verdict.owner == "the customer"
        assert held.verdict.holder == "chat", "who was told so"
        # She leaves one journey for another: nobody pushes her along the old one, everybody helps with the new.
        in_chat.choose("journey:activation", "left")
        for session, touchpoint in everybody[:2]:
            eventually(lambda s=session, t=touchpoint: not s.decide(helping(t, "activation")).allowed)
            assert session.decide(helping(touchpoint, "money_transfer")).allowed
        in_chat.choose("journey:activation", "")
        for session, touchpoint in everybody[:2]:
            eventually(lambda s=session, t=touchpoint: s.decide(helping(t, "activation")).allowed)


def test_s9_two_teams_in_the_same_second_and_one_of_them_wins(
    hub: Serving, tmp_path: Path, mailbox: tuple[Mailbox, str]
) -> None:
    box, smtp = mailbox
    accounts = [f"B-{number}" for number in range(6)]
    known(hub, tmp_path, *accounts)
    key = hub.key("email")
    arguments = ["--smtp", smtp]
    one = Team(hub, "email", "examples.email.campaign", tmp_path / "one", *arguments, key=key)
    two = Team(hub, "email", "examples.email.campaign", tmp_path / "two", *arguments, key=key)
    try:
        eventually(lambda: len(one.what("sent") + one.what("held")) >= 6, 40)
        eventually(lambda: len(two.what("sent") + two.what("held")) >= 6, 40)
        held = one.what("held") + two.what("held")
        unheard = sum("HUB_UNREACHABLE" in line["why"] for line in held)
        for account in accounts:
            assert box.to(f"{account.lower()}@example.org") <= 1, box.mails
        sent = len(one.what("sent")) + len(two.what("sent"))
        # Whoever cannot ask in time does not act: on a loaded machine that may be both of them.
        assert sent == len(box.mails) <= 6
        assert sent + unheard >= 6
        assert sent >= 1
        assert all("contact_pressure" in line["why"] and "until" in line["why"] for line in held), held
        assert all("email" in line["why"] or "HUB_UNREACHABLE" in line["why"] for line in held)
    finally:
        one.stop()
        two.stop()
