"""`make demo`: scenario S1 between real processes, over real gRPC and a real database, with a kill in the middle.

Exit status 0 only if every step truly happened. `--serve` leaves the hub running afterwards.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.panel import Panel
from rich.table import Table

from . import population
from .process import ROOT, ChannelProcess, DemoFailed, HubProcess, eventually
from .story import Counted, known_as, play

CHANNELS = ("app", "web", "ivr", "chat", "desk", "email")
console = Console(highlight=False, width=None if sys.stdout.isatty() else 110)


def step(title: str) -> None:
    """A heading."""
    console.print(f"\n[bold]{title}[/bold]")


def require(holds: Any, what: str) -> None:
    """A step truly happened, or the demo fails."""
    if not holds:
        raise DemoFailed(what)
    console.print(f"  [green]ok[/green]  {what}")


def show(channel: str, answer: dict[str, Any]) -> None:
    """What a channel saw, decided and why."""
    if channel == "email":
        for held in answer["held"]:
            console.print(f"  [cyan]email[/cyan]  {held['why']}", markup=True)
        console.print(f"  [cyan]email[/cyan]  offers sent to Ann: {len(answer['sent'])}")
        return
    console.print(f"  [cyan]{channel:<5}[/cyan]  {answer['explain']}")
    if answer.get("said"):
        console.print(f"         {'asks' if answer['asked'] else 'says'}: {answer['said']}")


def without(folder: Path) -> Counted:
    """The siloed company: the same processes, each knowing only itself."""
    folder.mkdir()
    channels = {name: ChannelProcess(name, folder, "", "") for name in CHANNELS}
    try:
        return play(channels, show, lambda channel: None)
    finally:
        for channel in channels.values():
            channel.close()


def with_segue(folder: Path, arguments: argparse.Namespace) -> tuple[Counted, HubProcess]:
    """The federated company: a hub, a plan, a crowd, and the same story."""
    folder.mkdir()
    hub = HubProcess(folder)
    try:
        console.print(f"  hub serves after {hub.start():.1f} s on {hub.address}, store {hub.store.name}")
        console.print("  " + hub.command("plan", "push", str(ROOT / "examples" / "plan")).strip())
        keys = {name: hub.json("touchpoint", "add", name)["key"] for name in (*CHANNELS, "crm", "importer")}
        crowd(hub, folder, keys, arguments)
        channels = {name: ChannelProcess(name, folder, hub.address, keys[name]) for name in CHANNELS}
        try:
            counted = story(hub, channels)
            killed(hub, channels)
            ledgers(hub, channels)
        finally:
            for channel in channels.values():
                channel.close()
    except BaseException:  # also Ctrl-C: no hub is left behind
        hub.stop()
        raise
    return counted, hub


def crowd(hub: HubProcess, folder: Path, keys: dict[str, str], arguments: argparse.Namespace) -> None:
    """Some thousands of generated customers, imported like a real log."""
    data, mapping = population.write(folder, arguments.customers, arguments.seed)
    began = time.monotonic()
    said = hub.command("import", str(data), "--mapping", str(mapping), key=keys["importer"])
    console.print(f"  {arguments.customers} generated customers (seed {arguments.seed}) imported"
                  f" in {time.monotonic() - began:.1f} s: {said.strip().splitlines()[-1]}")  # fmt: skip


def story(hub: HubProcess, channels: dict[str, ChannelProcess]) -> Counted:
    """Ann's story, each channel a process."""
    console.print("  " + ", ".join(f"{name} is process {channel.pid}" for name, channel in channels.items()))

    def settle(name: str) -> None:
        require(channels[name].ask("status", flush=10)["waiting"] == 0, f"the hub has everything that {name} told")

    counted = play(channels, show, settle)
    chat = counted.answers["chat"]
    require(chat["value"] == "priority_agent", "chat routes Ann past the bot")
    require(counted.answers["desk"]["solved"] and not counted.answers["desk"]["asked"],
            "the agent reads the brief, asks nothing and solves it")  # fmt: skip
    require(counted.answers["ivr"]["value"] == "about_transfer", "the phone menu knows why she calls")
    require(counted.answers["web"]["value"] == "help_with_transfer", "the website helps instead of selling")
    require(counted.answers["email"]["held"], "the shared guardrail holds the offer back")
    console.print(Panel(counted.answers["desk"]["brief"], title="the brief that the agent reads", width=100))
    shown = hub.json("customer", "show", f"phone={population.ANN['phone']}")
    require({f"{k}={v}" for k, v in population.ANN.items()} <= set(shown["identifiers"]),
            "account, phone, e-mail and browser are one customer in the hub")  # fmt: skip
    require("stuck_in_transfer" in shown["audiences"], "she is in the audience stuck_in_transfer")
    return counted


def killed(hub: HubProcess, channels: dict[str, ChannelProcess]) -> None:
    """S10: the hub is killed; everybody goes on; a late fact arrives; the hub comes back."""
    step("The hub is killed (kill -9)")
    before = hub.json("customer", "show", "account=A-1009")
    hub.kill()
    chat = channels["chat"]

    def old() -> dict[str, Any] | None:
        answer = chat.ask("decide", who=known_as("account"), question="route")
        return answer if answer["age_s"] >= 2 else None

    answer = eventually("chat says how old its context is", old)
    aged = f"context {answer['freshness']}, {answer['age_s']} s old"
    require(answer["value"] == "priority_agent", f"chat still routes to a priority agent, {aged}")
    chat.ask("message", who=known_as("account"), type="chat.message", properties={"text": "are you still there?"})
    channels["app"].ask(
        "message", who=known_as("account"), type="transfer.started", properties={"transfer_id": "T-77"}, ago=19
    )
    waiting = {name: channel.ask("status")["waiting"] for name, channel in channels.items()}
    require(waiting["chat"] >= 1 and waiting["app"] >= 1, f"what was told meanwhile waits on disk: {waiting}")
    console.print(f"  hub serves again after {hub.start():.1f} s")
    for name, channel in channels.items():
        require(channel.ask("status", flush=20)["waiting"] == 0, f"{name} has delivered what waited")
    after = hub.json("customer", "show", "account=A-1009")

    def began(shown: dict[str, Any]) -> str:
        return str(next(j["started_at"] for j in shown["journeys"] if j["key"] == "T-77"))

    require(
        began(after) < began(before),
        f"the late fact took its place: the journey began {began(after)}, not {began(before)}",
    )
    fresh = eventually("chat is live again", lambda: _live(chat), 20)
    require(fresh["value"] == "priority_agent", "chat is live again and decides the same")


def _live(chat: ChannelProcess) -> dict[str, Any] | None:
    answer = chat.ask("decide", who=known_as("account"), question="route")
    return answer if answer["freshness"] == "LIVE" and answer["age_s"] < 1 else None


def ledgers(hub: HubProcess, channels: dict[str, ChannelProcess]) -> None:
    """Every process's own ledger against the hub's log."""
    step("Ledgers against the log")
    for channel in channels.values():
        channel.ask("status", flush=20)
    status = hub.json("status")
    lines = hub.command("events", "tail", "--after", "-1", "--count", str(status["store"]["facts"]), "--json")
    log = [line.split('"id": "')[1][:32] for line in lines.splitlines()]
    require(len(log) == len(set(log)), f"the log holds {len(log)} facts, none twice")
    table = Table("process", "told", "kept", "lost")
    lost = 0
    for name, channel in channels.items():
        told = channel.told()
        missing = told - set(log)
        lost += len(missing)
        table.add_row(name, str(len(told)), str(len(told & set(log))), str(len(missing)))
    console.print(table)
    require(lost == 0, "nothing was lost: every fact in every ledger is in the log")


def side_by_side(siloed: Counted, federated: Counted) -> None:
    """The same story twice, counted."""
    step("Ann's story, twice")
    table = Table("", "without Segue", "with Segue")
    for title, figure in (
        ("asked again", "asked"),
        ("interactions", "interactions"),
        ("offers while in trouble", "offered"),
    ):
        table.add_row(title, str(getattr(siloed, figure)), str(getattr(federated, figure)))
    for name in ("ivr", "web", "chat"):
        table.add_row(f"{name} decides", siloed.answers[name]["value"], federated.answers[name]["value"])
    table.add_row("solved by", siloed.solved_by, federated.solved_by)
    console.print(table)
    require(federated.asked < siloed.asked, f"asked again {siloed.asked} times without, {federated.asked} with")
    require(federated.interactions < siloed.interactions, "fewer interactions")
    require(federated.offered == 0 < siloed.offered, "no offer reached her while in trouble")


def main() -> int:
    """Runs the demo."""
    parser = argparse.ArgumentParser(prog="make demo", description=__doc__)
    parser.add_argument("--customers", type=int, default=3000, help="generated customers around Ann")
    parser.add_argument(
        "--seed", type=int, default=int(os.environ.get("SEGUE_SEED", "20")), help="of the generated ones"
    )
    parser.add_argument("--serve", action="store_true", help="leave the hub running afterwards")
    arguments = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="segue-demo-") as temporary:
        folder = Path(temporary)
        try:
            step("Without Segue: six channels, each knowing only itself")
            siloed = without(folder / "without")
            step("With Segue: the same six channels, one hub, one plan")
            federated, hub = with_segue(folder / "with", arguments)
            try:
                side_by_side(siloed, federated)
                console.print(f"\n[bold green]every step happened[/bold green] in {time.monotonic() - began:.0f} s")
                if arguments.serve:
                    console.print(f"\nexport SEGUE_HUB={hub.address}\nexport SEGUE_ADMIN_KEY={hub.admin_key}")
                    console.print("Ctrl-C ends it")
                    _until_interrupted()
            finally:
                hub.stop()
            console.print("  " + hub.command("store", "check", str(hub.store)).strip())
        except DemoFailed as error:
            console.print(f"\n[bold red]the demo failed:[/bold red] {error}")
            log = folder / "with" / "hub.log"
            if log.exists():
                console.print(log.read_text(encoding="utf-8")[-2000:], markup=False)
            return 1
    return 0


def _until_interrupted() -> None:
    try:
        while True:
            time.sleep(3600)
    except KeyboardInterrupt:
        console.print("stopping")


if __name__ == "__main__":
    sys.exit(main())
