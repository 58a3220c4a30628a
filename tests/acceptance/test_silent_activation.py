"""S2, silent activation: a phone is bought, days pass without a word, and everybody acts on that silence.

Real processes: a hub (`segue-hub serve`) whose clock can be set on by days (libfaketime), the app team's own process
that puts up offers of help and is killed, the shop and the e-mail team here. Absence is never a fact: what was told
because of it is taken back when it turns out that she had activated the phone in time, and all who were told are told.
"""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import segue
from segue.domain.instant import parse_instant, to_datetime

from examples.app.decisions import home
from examples.email.decisions import accessories
from tests.calling import calling, event
from tests.faults.test_clocks import LIBRARY, needs_faketime, stepping
from tests.joining import EXAMPLE
from tests.serving import Serving, environment
from tests.waiting import eventually

ROOT = Path(__file__).resolve().parents[2]
SECOND = 1_000_000
DAY = 24 * 3600
PATIENCE = 40.0
HELD_BACK = "The customer is trying to solve a problem"


class HelpOffers:
    """The app team's process, and the lines that it wrote."""

    def __init__(self, hub: Serving, key: str, folder: Path) -> None:
        self.hub = hub
        self.variables = {"SEGUE_HUB": hub.address, "SEGUE_KEY": key, "SEGUE_STATE": str(folder / "app")}
        self.file = folder / "offers.jsonl"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.file.open("ab") as out:
            command = [sys.executable, "-m", "examples.app.help_offers"]
            self.process = subprocess.Popen(command, cwd=ROOT, stdout=out, env=environment(**self.variables))
        eventually(lambda: self.hub.status()["ledger"]["cursors"] == 1, PATIENCE)

    def kill(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait(10)

    @property
    def lines(self) -> list[dict[str, Any]]:
        """By id, once each, in the order written."""
        found = [json.loads(line) for line in self.file.read_text().splitlines()] if self.file.exists() else []
        return list({line["id"]: line for line in found}.values())

    @property
    def told(self) -> list[tuple[str, str]]:
        return [(line["offer"], line["reason"]) for line in self.lines]


@contextmanager
def shop(folder: Path, plan: Path = EXAMPLE, **faked: str) -> Iterator[Serving]:
    hub = Serving(folder)
    hub.variables = faked
    hub.start()
    try:
        hub.push(plan)
        yield hub
    finally:
        hub.stop()


@contextmanager
def touchpoint(hub: Serving, name: str, key: str, folder: Path) -> Iterator[segue.Touchpoint]:
    made = segue.Touchpoint(name, hub=hub.address, key=key, state=folder / f"{name}-here")
    try:
        assert made.wait_ready(20)
        yield made
    finally:
        made.close()


def clock(hub: Serving) -> int:
    return parse_instant(hub.status()["at"])


@needs_faketime
def test_s2_days_of_silence_hold_offers_back_and_a_late_activation_takes_it_back_for_all_who_were_told(
    tmp_path: Path,
) -> None:
    variables, set_to = stepping(tmp_path)
    faked = {"LD_PRELOAD": str(LIBRARY), "FAKETIME_DONT_FAKE_MONOTONIC": "1", "DONT_FAKE_MONOTONIC": "1"} | variables
    with shop(tmp_path, **faked) as hub:
        key = hub.key("app")
        offers = HelpOffers(hub, key, tmp_path)
        offers.start()
        try:
            _tell_the_story(hub, key, offers, tmp_path, set_to)
        finally:
            offers.kill()


def _tell_the_story(hub: Serving, app_key: str, offers: HelpOffers, folder: Path, set_to: Any) -> None:
    crm_key, email_key = hub.key("crm"), hub.key("email")
    bought_at = clock(hub)
    with calling(hub.address, app_key) as app, calling(hub.address, crm_key) as crm:
        assert app.statuses(event("device.bought", "account=A-1", at=bought_at, device_id="P-1")) == ["ACCEPTED"]
        consent = event("marketing", "account=A-1", at=bought_at, kind="consent", state="granted")
        assert crm.statuses(consent) == ["ACCEPTED"]
    with touchpoint(hub, "email", email_key, folder) as email, touchpoint(hub, "app", app_key, folder) as app_here:

        def offered() -> segue.Decision:
            with email.session(account="A-1", wait=10, purpose="marketing") as customer:
                return customer.decide(accessories)

        def home_page() -> Any:
            with app_here.session(account="A-1", wait=10) as customer:
                return customer.decide(home).value

        assert offered().allowed, "she bought a phone: accessories may be offered"
        assert home_page() == "news"

        set_to(3 * DAY - 600)  # days pass
        eventually(lambda: clock(hub) > bought_at + (3 * DAY - 660) * SECOND, PATIENCE)
        assert offers.lines == []
        set_to(3 * DAY + 60)
        eventually(lambda: offers.told == [("put up", "")], PATIENCE)
        assert datetime.fromisoformat(offers.lines[0]["at"]) == to_datetime(bought_at) + timedelta(days=3)
        held = eventually(lambda: found if not (found := offered()).allowed else None, PATIENCE)
        assert held.verdict.guardrail == "no_selling_in_trouble"
        assert held.verdict.reason.startswith(HELD_BACK)
        assert HELD_BACK in held.explain()
        eventually(lambda: home_page() == "help_to_activate", PATIENCE)

        offers.kill()  # who was told is gone, and so is the hub
        hub.kill()
        hub.start()
        with calling(hub.address, app_key) as app:  # a batch that lay around: she had activated it on the second day
            late = event("device.activated", "account=A-1", at=bought_at + 2 * DAY * SECOND, device_id="P-1")
            assert app.statuses(late) == ["ACCEPTED"]
        offers.start()
        eventually(lambda: offers.told == [("put up", ""), ("taken down", "retracted")], PATIENCE)
        eventually(lambda: offered().allowed, PATIENCE)
        eventually(lambda: home_page() == "news", PATIENCE)


def short(folder: Path) -> Path:
    """The example plan, with a map whose patience is three seconds."""
    plan = folder / "plan"
    shutil.copytree(EXAMPLE, plan)
    map_ = plan / "maps" / "activation.yaml"
    patient, impatient = 'stalls: {after: "3d"}', 'stalls: {after: "3s"}'
    assert patient in map_.read_text()
    map_.write_text(map_.read_text().replace(patient, impatient))
    return plan


def test_s2_with_the_hub_down_the_stall_is_derived_at_the_right_moment_and_told_when_the_hub_is_back(
    tmp_path: Path,
) -> None:
    with shop(tmp_path, short(tmp_path)) as hub:
        key = hub.key("app")
        offers = HelpOffers(hub, key, tmp_path)
        offers.start()
        try:
            with touchpoint(hub, "app", key, tmp_path) as app, app.session(account="A-2", wait=10) as customer:
                customer.track("device.bought", device_id="P-2")
                assert app.flush(20)
                # Known to the hub before it dies, and to the process that will be told.
                eventually(lambda: hub.status()["ledger"]["wake_ups"] == 1, PATIENCE)
                hub.kill()
                asked_at, last_news = app.runtime().now(), 0
                while customer.decide(home).value == "news":  # asked again and again: when it turns is what is measured
                    last_news, asked_at = asked_at, app.runtime().now()
                turned_at = app.runtime().now()
                started_at = customer.context().journey("activation").started_at
                assert started_at is not None
                deadline = started_at + timedelta(seconds=3)
                assert to_datetime(last_news) < deadline <= to_datetime(turned_at)
            hub.start()
            eventually(lambda: offers.told == [("put up", "")], PATIENCE)
            assert datetime.fromisoformat(offers.lines[0]["at"]) == deadline, "slept through, told with its own instant"
        finally:
            offers.kill()
