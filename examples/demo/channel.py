"""One channel of the demo: a process of its own, with its own embedded SDK and its own logic.

Reads what Ann does to it as JSON lines, answers with what it saw, decided, asked and offered. Keeps a ledger of every
fact id it told, outside the SDK, so that the demo can compare it with the hub's log. Without SEGUE_HUB it knows only
what happened to itself: that is the siloed company.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from importlib import import_module
from pathlib import Path
from typing import Any

import segue
from segue.domain.fact import Fact

Said = dict[str, Any]


class Channel:
    """What all channels of the demo share: sessions, ledger, and the answer to a move of Ann's."""

    def __init__(self, name: str, ledger: Path) -> None:
        self.logic = import_module(f"examples.{name}.decisions")
        self.touchpoint: segue.Touchpoint = getattr(self.logic, name)
        self._ledger = ledger.open("a", encoding="utf-8")
        self.touchpoint.listeners.append(self._told)

    def _told(self, fact: Fact) -> None:
        self._write(fact.id)

    def _write(self, id_: bytes) -> None:
        self._ledger.write(id_.hex() + "\n")
        self._ledger.flush()

    def open(self, who: dict[str, str], purpose: str = "service") -> segue.Session:
        """A session with whoever this channel knows her as."""
        return self.touchpoint.session(wait="2s", purpose=purpose, **who)

    def decide(self, customer: segue.Session, question: Any) -> segue.Decision:
        """Decides, and notes the decision's fact in the ledger."""
        decision = customer.decide(question)
        if decision.id:
            self._write(decision.id)
        return decision

    def told(self, customer: segue.Session, decision: segue.Decision, **more: Any) -> Said:
        """The answer: what was decided and why, on how fresh a context."""
        freshness = decision.freshness
        return {
            "decision": decision.name, "value": str(decision.value), "explain": decision.explain(),
            "freshness": freshness.state, "age_s": round(freshness.age / 1e6, 1), "asked": 0, "offered": 0,
            "interactions": 1, "brief": str(customer.brief()), **more,
        }  # fmt: skip


def to_ask(customer: segue.Session) -> list[str]:
    """What a person or a menu has to ask, since the context does not tell: who she is, and what it is about."""
    context = customer.context()
    questions = [] if context.traits() else ["your account number, please"]
    return questions if context.journeys() else [*questions, "what is it about"]


def _ago(minutes: float) -> datetime:
    return datetime.now(UTC) - timedelta(minutes=minutes)


def app(channel: Channel, move: Said) -> Said:
    """The app: a transfer fails."""
    with channel.open(move["who"]) as customer:
        customer.track(
            move.get("type", "TransferError"), {"transfer_id": "T-77", "amount": 250.0, "error": "E42"},
            occurred_at=_ago(move["ago"]),
        )  # fmt: skip
        decision = channel.decide(customer, channel.logic.after_failure)
        return channel.told(customer, decision)


def web(channel: Channel, move: Said) -> Said:
    """The website: she searches for help; the slot on top helps or sells."""
    with channel.open(move["who"]) as customer:
        customer.track("help.searched", {"query": move["query"]}, occurred_at=_ago(move["ago"]))
        decision = channel.decide(customer, channel.logic.slot)
        return channel.told(customer, decision, offered=int(decision.value == "offer"))


def ivr(channel: Channel, move: Said) -> Said:
    """The phone menu: knows why she calls, or asks. Either way she hangs up in the queue."""
    with channel.open(move["who"]) as customer:
        asked = to_ask(customer)
        customer.within(move["call"])
        customer.track("call.started", occurred_at=_ago(move["ago"]))
        decision = channel.decide(customer, channel.logic.greet)
        known = decision.value == "about_transfer"
        customer.track("call.menu", {"choice": "transfer" if known else "other"}, occurred_at=_ago(move["ago"] - 0.5))
        customer.track("call.abandoned", occurred_at=_ago(move["ago"] - 2))
        said = "about the transfer that failed?" if known else "; ".join(asked)
        return channel.told(customer, decision, asked=len(asked), said=said)


def chat(channel: Channel, move: Said) -> Said:
    """The chat: past the bot with a brief, or to the bot, which asks."""
    with channel.open(move["who"]) as customer:
        asked = to_ask(customer)
        customer.within(move["chat"])
        customer.track("chat.opened")
        decision = channel.decide(customer, channel.logic.route)
        return channel.told(customer, decision, asked=len(asked), said="; ".join(asked))


def desk(channel: Channel, move: Said) -> Said:
    """An agent: reads the brief, or asks; solves it, or passes her on. The specialists always solve it."""
    with channel.open(move["who"]) as customer:
        asked = to_ask(customer)
        customer.within(move["call"])
        decision = channel.decide(customer, channel.logic.accept)
        solved = move.get("specialist", False) or decision.value == "solve"
        return channel.told(customer, decision, asked=len(asked), said="; ".join(asked), solved=solved)


def email(channel: Channel, move: Said) -> Said:
    """The campaign: writes to everybody on its list, as far as the guardrails let it."""
    sent, held = [], []
    for who in move["list"]:
        with channel.open(who, "marketing") as customer:
            decision = channel.decide(customer, channel.logic.upsell)
            if channel.touchpoint.status()["hub"] and not decision.allowed:
                held.append({"who": who, "why": decision.explain()})
            elif decision.action is not None or not channel.touchpoint.status()["hub"]:
                try:
                    if decision.allowed:
                        with decision.act():
                            pass  # the mail goes out here
                    sent.append(who)
                except segue.HeldBack as refused:
                    held.append({"who": who, "why": str(refused)})
    return {"sent": sent, "held": held, "offered": len(sent), "asked": 0, "interactions": 0}


def message(channel: Channel, move: Said) -> Said:
    """Something more is said, whatever the state of the hub; journalled before the answer."""
    with channel.open(move["who"]) as customer:
        customer.track(
            move["type"], move.get("properties", {}), occurred_at=_ago(move.get("ago", 0)), durable=True
        )  # fmt: skip
        return {"asked": 0, "offered": 0, "interactions": 0}


def decide(channel: Channel, move: Said) -> Said:
    """Asks the channel's question again."""
    with channel.open(move["who"]) as customer:
        return channel.told(customer, channel.decide(customer, getattr(channel.logic, move["question"])))


def status(channel: Channel, move: Said) -> Said:
    """How the SDK is; waits until the outbox is empty where asked."""
    began = time.monotonic()
    if move.get("flush"):
        channel.touchpoint.flush(move["flush"])
    return {**channel.touchpoint.status(), "waited_s": round(time.monotonic() - began, 2)}


MOVES: dict[str, Callable[[Channel, Said], Said]] = {
    "app": app, "web": web, "ivr": ivr, "chat": chat, "desk": desk, "email": email, "message": message,
    "decide": decide, "status": status,
}  # fmt: skip


def main() -> None:
    """Serves moves until the input ends."""
    name, ledger = sys.argv[1], Path(sys.argv[2])
    channel = Channel(name, ledger)
    for line in sys.stdin:
        move = json.loads(line)
        answer = MOVES[move["do"]](channel, move)
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()
    channel.touchpoint.close()


if __name__ == "__main__":
    main()
