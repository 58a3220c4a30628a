"""A web application that embeds the SDK, as gunicorn loads it: one touchpoint per module, made when that is imported.

Owns `application`. Where `HOSTILE_USED` is set the touchpoint is used while the module is loaded, so that with
`--preload` its threads and its connection live in the process that the workers are forked from.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

import segue

_HUB, _KEY, _STATE = (os.environ[f"HOSTILE_{name}"] for name in ("HUB", "KEY", "STATE"))
touchpoint = segue.Touchpoint("app", hub=_HUB, key=_KEY, state=_STATE, strict=False)
_told: dict[
    int, list[str]
] = {}  # by thread or greenlet: a `threading.local` made before gevent patches is no greenlet's
touchpoint.listeners.append(lambda fact: _told.setdefault(threading.get_ident(), []).append(fact.id.hex()))


@touchpoint.decision("hostile.route", default="bot", record="never")
def route(customer: segue.Context) -> str | None:
    """Whoever started a transfer gets an agent."""
    return "agent" if customer.seen("transfer.started") else None


if os.environ.get("HOSTILE_USED"):
    with touchpoint.session(account="parent", wait="5s") as _session:
        _session.track("transfer.started", transfer_id="P")
        touchpoint.flush(5)


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """`/ACCOUNT`: tells a fact of it and decides; with `?durable` once that is on disk."""
    began = time.perf_counter()
    told = _told[threading.get_ident()] = []
    with touchpoint.session(account=environ["PATH_INFO"].strip("/"), wait="2s") as session:
        kept = session.track("transfer.started", transfer_id="T", durable="durable" in environ.get("QUERY_STRING", ""))
        decision = session.decide(route)
    answer = {
        "pid": os.getpid(), "value": decision.value, "freshness": decision.freshness.state,
        "ids": told, "kept": kept, "ms": (time.perf_counter() - began) * 1000,
    }  # fmt: skip
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps(answer).encode()]
