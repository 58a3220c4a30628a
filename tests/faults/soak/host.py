"""One host of a soak: sessions come and go, decide, tell and act, at a pace, until it is asked to end.

Owns the process (`python -m tests.faults.soak.host`). So many customers come at any time, and every few seconds one of
them comes no more and another begins: what is held of them ought to be bounded. At its end it says what became of every
fact that it told.
"""

from __future__ import annotations

import json
import random
import signal
import sys
import time
from typing import Any, Final

import segue
from segue.wake import Latch

TYPES = {
    "app": ("transfer.started", "transfer.details_entered", "transfer.failed", "transfer.completed"),
    "web": ("help.searched", "help.viewed", "plan.searched"),
    "chat": ("chat.opened", "chat.closed"),
}

STAYS: Final = 5.0
"""Seconds between customers who begin to come, and others who cease to; the same for every host."""


def live(address: str, key: str, name: str, state: str, customers: int, pace: float, seed: int) -> None:
    """Until SIGTERM: so many visits a second."""
    stopping, chance = Latch(), random.Random(seed)  # an `Event` is nothing for a signal handler
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())
    touchpoint = segue.Touchpoint(name, hub=address, key=key, state=state, strict=False)

    @touchpoint.decision("soak.route", default="bot")
    def route(customer: segue.Context) -> Any:
        return "agent" if customer.seen("transfer.failed", within="1h") or customer.seen("call.started") else None

    @touchpoint.decision("soak.offer", default=None)
    def offer(customer: segue.Context) -> Any:
        return segue.Action("offer.upsell", topic="bandwidth", purpose="service")

    heard: list[int] = []

    def hear(tellings: list[segue.Telling]) -> None:
        heard[:] = [sum(heard) + len(tellings)]

    if name == "chat":
        touchpoint.watch("in_trouble", hear, cursor="soak")
        touchpoint.watch_audience("in_trouble", lambda members, reset: None)
    print("ready", flush=True)
    answers: dict[str, int] = {}
    while not stopping.wait(chance.expovariate(pace)):
        account = f"S-{int(time.time() / STAYS) + chance.randrange(customers)}"
        names = {"account": account} | ({"cookie": f"c-{account}"} if chance.random() < 0.2 else {})
        with touchpoint.session(wait=0.2, keep="20s", **names) as session:
            for _ in range(chance.randint(1, 3)):
                session.track(chance.choice(TYPES[name]), transfer_id=f"T-{chance.randrange(5)}")
            decision = session.decide(route)
            answers[str(decision.value)] = answers.get(str(decision.value), 0) + 1
            wanted = session.decide(offer)
            if wanted.allowed and chance.random() < 0.2:
                with wanted.act():
                    pass
    flushed = touchpoint.flush(60)
    status = dict(touchpoint.status())
    touchpoint.close()
    kept = {name: status[name] for name in ("offered", "delivered", "waiting")}
    lost = sum(status["losses"].values())
    print(json.dumps({**kept, "lost": lost, "flushed": flushed, "answers": answers, "heard": sum(heard)}), flush=True)


if __name__ == "__main__":
    live(*sys.argv[1:5], int(sys.argv[5]), float(sys.argv[6]), int(sys.argv[7]))
