"""A host that embeds the SDK, for P11: the same measurement in a plain script, FastAPI and gunicorn.

Run in the peers' environment, where the hosts are installed; the SDK comes by PYTHONPATH. It answers with what
its own request thread paid: nothing is measured from outside.
"""

from __future__ import annotations

import gc
import json
import sys
import threading
import time
from collections.abc import Callable, Iterable
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

_BEGAN = time.perf_counter()
import segue  # noqa: E402  # what importing it takes is measured

IMPORTED_MS: Final = (time.perf_counter() - _BEGAN) * 1000
PACE: Final = 1_000
"""Calls each second."""
_lock = threading.Lock()


@lru_cache(maxsize=1)
def _touchpoint() -> segue.Touchpoint:
    """By the environment: SEGUE_HUB, SEGUE_KEY, SEGUE_STATE."""
    return segue.Touchpoint("bench")


def measure(count: int) -> dict[str, Any]:
    """Paced calls of `track`, each timed; milliseconds."""
    with _lock:
        touchpoint = _touchpoint()
    began = time.perf_counter()
    session = touchpoint.session(account="A-1", wait="5s")
    opened, took, due = (time.perf_counter() - began) * 1000, [], time.perf_counter()
    for number in range(count):
        due += 1 / PACE
        while (left := due - time.perf_counter()) > 0:
            time.sleep(left)
        at_first = time.perf_counter_ns()
        session.track("call.started", number=number)
        took.append((time.perf_counter_ns() - at_first) / 1e6)
    version = session.context().version
    session.close()
    took.sort()
    arrived = touchpoint.flush(30)
    ours = sorted(thread.name for thread in threading.enumerate() if thread.name.startswith("segue"))
    return {
        "p50": took[len(took) // 2], "p99.9": took[int(len(took) * 0.999)], "threads": ours, "opened": opened,
        "imported": IMPORTED_MS, "arrived": arrived, "version": version, "told": touchpoint.status()["offered"],
    }  # fmt: skip


def held(count: int) -> float:
    """Bytes of this process for each customer that is held, three facts each."""
    touchpoint = _touchpoint()
    _hold(touchpoint, 0, 200)
    before = _resident()
    kept = _hold(touchpoint, 200, 200 + count)
    return (_resident() - before) / len(kept)


def _hold(touchpoint: segue.Touchpoint, first: int, last: int) -> list[Any]:
    sessions = [touchpoint.session(account=f"H-{number}", wait=0) for number in range(first, last)]
    for session in sessions:
        session.track("transfer.started", transfer_id="t1", amount=120.0)
        session.track("help.viewed", article="how-to-1")
        session.set_trait("value_tier", "high")
    if not touchpoint.flush(60):
        raise RuntimeError("the facts did not arrive")
    deadline = time.monotonic() + 60
    while any(session._held.pending or session.context().version == 0 for session in sessions):
        if time.monotonic() > deadline:
            raise RuntimeError("the contexts did not arrive")
        time.sleep(0.05)
    return sessions


def _resident() -> int:
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096


def wsgi(environ: dict[str, Any], start: Callable[[str, list[tuple[str, str]]], Any]) -> Iterable[bytes]:
    """For gunicorn."""
    count = int(environ.get("QUERY_STRING") or 0)
    body = json.dumps(measure(count) if count else {}).encode()
    start("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]


def asgi() -> Any:
    """For uvicorn: an endpoint that FastAPI runs on a thread, as most are."""
    from fastapi import FastAPI, Request

    app = FastAPI()

    def endpoint(request: Request) -> dict[str, Any]:
        count = int(request.url.query or 0)
        return measure(count) if count else {}

    endpoint.__annotations__["request"] = Request
    app.get("/")(endpoint)
    return app


if __name__ == "__main__":
    command, number = sys.argv[1], int(sys.argv[2])
    print(json.dumps(measure(number) if command == "track" else {"bytes": held(number)}))
    _touchpoint().close()
