"""A chat: a page, a websocket, and the SDK embedded in an asyncio host.

    SEGUE_HUB=... SEGUE_KEY=... python -m examples.chat.app --port 8080

Then open http://127.0.0.1:8080/?account=A-1009. Whoever is routed past the bot gets an agent with the brief; the badge
tells on how fresh a context that was decided, also when the hub is away.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import uuid
from pathlib import Path
from typing import Any

import segue
from aiohttp import WSMsgType, web

from .decisions import route

PAGE = Path(__file__).with_name("page.html")
LASTING: web.AppKey[str] = web.AppKey("lasting", str)
TOUCHPOINT: web.AppKey[segue.AsyncTouchpoint] = web.AppKey("touchpoint", segue.AsyncTouchpoint)


async def page(request: web.Request) -> web.StreamResponse:
    """The page."""
    return web.FileResponse(PAGE)


def state(customer: segue.Session) -> dict[str, Any]:
    """Where the customer is routed now, and on what."""
    decision = customer.decide(route)
    claim = customer.context().claim("conversation")
    told: dict[str, Any] = {
        "route": decision.value, "why": decision.explain(), "freshness": str(decision.freshness),
        "with": claim.holder, "offered": claim.offered_to,
    }  # fmt: skip
    if decision.value == "priority_agent":
        told["brief"] = customer.brief().sentences()
    return told


def reply(now: dict[str, Any], called: bool) -> str:
    """What the customer is answered."""
    if now["with"] not in ("", "chat"):
        return "An agent has taken over and will call you."
    if called:
        return "I ask an agent to call you. I stay with you until one takes over."
    return "I have read what happened and look into it." if "brief" in now else "Have you tried our help pages?"


def news(before: dict[str, Any], now: dict[str, Any]) -> dict[str, str]:
    """What she is told unasked: that an agent took over, or did not."""
    if now["with"] not in ("", "chat", before["with"]):
        return {"say": "An agent has taken over and will call you. You need not repeat anything."}
    if before["offered"] and not now["offered"] and now["with"] == "chat":
        return {"say": "No agent is free just now. I stay with you."}
    return {}


async def conversation(request: web.Request) -> web.WebSocketResponse:
    """One customer's chat."""
    socket = web.WebSocketResponse(heartbeat=20)
    await socket.prepare(request)
    account = request.query.get("account", "")
    who = {"account": account} if account else {"cookie": request.query.get("cookie") or uuid.uuid4().hex}
    async with request.app[TOUCHPOINT].open(**who, wait="300ms") as customer:
        customer.within(f"chat-{uuid.uuid4().hex[:12]}")
        customer.track("chat.opened")
        customer.claim(lasting=request.app[LASTING])
        told = state(customer)
        hello = (
            "An agent joins you. You need not repeat anything."
            if "brief" in told
            else "Hello! I am the bot. How can I help?"
        )
        await socket.send_json({"say": hello, **told})
        beat = asyncio.create_task(_keep_current(socket, customer, told))
        try:
            async for message in socket:
                if message.type is WSMsgType.TEXT:
                    text = str(json.loads(message.data).get("text", ""))[:2000]
                    customer.track("chat.message", text=text)
                    called = "call me" in text.lower()
                    if called:
                        # She stays here until the desk accepts; then every channel knows that she is there.
                        customer.offer("desk", note=text, lasting=request.app[LASTING])
                    now = state(customer)
                    told.update(now)
                    await socket.send_json({"say": reply(now, called), **now})
        finally:
            beat.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await beat
    return socket


async def _keep_current(socket: web.WebSocketResponse, customer: segue.Session, told: dict[str, Any]) -> None:
    """Tells the page when the route changes, e.g. since another channel told something, or the context ages.

    `told` is what the page knows.
    """
    while not socket.closed:
        await asyncio.sleep(0.25)
        now = state(customer)
        if any(now[name] != told[name] for name in ("route", "freshness", "with", "offered")):
            unasked = news(told, now)
            told.update(now)
            await socket.send_json({**unasked, **now})


def make_app(touchpoint: segue.AsyncTouchpoint, lasting: str) -> web.Application:
    """The application; a claim outlives it by `lasting`."""
    app = web.Application()
    app[TOUCHPOINT], app[LASTING] = touchpoint, lasting
    app.router.add_get("/", page)
    app.router.add_get("/chat", conversation)
    return app


def main() -> None:
    """Serves until Ctrl-C."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=8080)
    parser.add_argument("--lasting", default="2m", help="how long a claim outlives this process")
    arguments = parser.parse_args()
    touchpoint = segue.AsyncTouchpoint("chat")
    try:
        web.run_app(
            make_app(touchpoint, arguments.lasting), host="127.0.0.1", port=arguments.port, print=None,
            shutdown_timeout=1.0,
        )  # fmt: skip
    finally:
        touchpoint.close()


if __name__ == "__main__":
    main()
