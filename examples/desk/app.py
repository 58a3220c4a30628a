"""An agent's desk: takes over customers whom another channel offers, with the brief of what happened so far.

    SEGUE_HUB=... SEGUE_KEY=... python -m examples.desk.app --port 8082

Then open http://127.0.0.1:8082/: whoever is offered appears by herself, since the desk hears of the audience
`waiting_for_the_desk`; /?account=A-1009 shows one customer, whoever has her. Accepting is a fact that every channel
sees at once; while the agent has the customer the claim is renewed, and should this process die it runs out by itself.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
from pathlib import Path
from typing import Any

import segue
from aiohttp import WSMsgType, web
from segue.domain.identifier import Identifier

from .customer import Customer

PAGE = Path(__file__).with_name("page.html")
WAITING = "waiting_for_the_desk"


class Desk:
    """The customers whom agents have open, by `account=A-1009`.

    Args:
        touchpoint: the desk's.
        lasting: how long a claim outlives this process.
    """

    def __init__(self, touchpoint: segue.AsyncTouchpoint, lasting: str) -> None:
        self._touchpoint = touchpoint
        self._lasting = lasting
        self._open: dict[str, Customer] = {}

    async def page(self, request: web.Request) -> web.StreamResponse:
        """The page."""
        return web.FileResponse(PAGE)

    # -- who is offered ------------------------------------------------------------------------------------------------

    async def listen(self, app: web.Application) -> None:
        """Begins to hear of customers who are offered to the desk, on the host's own loop."""
        loop = asyncio.get_running_loop()

        def tell(members: list[tuple[str, list[Identifier], bool]], reset: bool) -> None:
            # Who leaves the audience was taken back, or is the desk's by now: her card finds out by her claim.
            offered = [identifiers for _, identifiers, left in members if not left]
            with contextlib.suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(self._offered, offered)

        self._touchpoint.watch_audience(WAITING, tell)

    def _offered(self, customers: list[list[Identifier]]) -> None:
        for identifiers in customers:
            account = next((name for name in identifiers if name.kind == "account"), None)
            self._opened(str(account or identifiers[0]))

    def _opened(self, name: str, *, asked: bool = False) -> Customer:
        if name not in self._open:
            kind, _, value = name.partition("=")
            self._open[name] = Customer(name, self._touchpoint.session(**{kind: value}, wait=0))
        self._open[name].asked |= asked
        return self._open[name]

    # -- what the agent sees and does ----------------------------------------------------------------------------------

    async def seat(self, request: web.Request) -> web.WebSocketResponse:
        """One agent's page: is sent what changed, and says what she does."""
        socket = web.WebSocketResponse(heartbeat=20)
        await socket.prepare(request)
        if request.query.get("account"):
            self._opened(f"account={request.query['account']}", asked=True)
        beat = asyncio.create_task(self._keep_current(socket))
        try:
            async for message in socket:
                if message.type is WSMsgType.TEXT:
                    told = json.loads(message.data)
                    self._do(str(told.get("do")), str(told.get("customer")))
        finally:
            beat.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await beat
        return socket

    async def _keep_current(self, socket: web.WebSocketResponse) -> None:
        told: dict[str, Any] = {}
        while not socket.closed:
            now = self._state()
            if now != told:
                told = now
                await socket.send_json(now)
            await asyncio.sleep(0.2)

    def _state(self) -> dict[str, Any]:
        status = self._touchpoint.status()
        cards = [customer.told() for customer in self._open.values()]
        return {"hub": status["connection"] == "READY", "customers": [card for card in cards if card["state"]]}

    def _do(self, what: str, name: str) -> None:
        customer = self._open.get(name)
        if customer is None:
            return
        if what == "accept":
            customer.session.accept(lasting=self._lasting)
        elif what == "decline":
            customer.decline()
        elif what == "done":
            self._open.pop(name).session.close()

    # -- the same for programs -----------------------------------------------------------------------------------------

    def _named(self, request: web.Request) -> Customer:
        account = request.query.get("account", "")
        if not account:
            raise web.HTTPBadRequest(text="account: name the customer, e.g. ?account=A-1009")
        return self._opened(f"account={account}", asked=True)

    async def customer(self, request: web.Request) -> web.Response:
        """Who has the customer, and the brief."""
        return web.json_response(self._named(request).told())

    async def act(self, request: web.Request) -> web.Response:
        """The agent takes over, does not, or is through with the customer."""
        customer = self._named(request)
        self._do(request.match_info["what"], customer.name)
        return web.json_response(customer.told())

    async def close(self, app: web.Application) -> None:
        """Lets go of everybody."""
        for customer in self._open.values():
            customer.session.close()


def make_app(desk: Desk) -> web.Application:
    """The application."""
    app = web.Application()
    app.router.add_get("/", desk.page)
    app.router.add_get("/seat", desk.seat)
    app.router.add_get("/customer", desk.customer)
    app.router.add_post("/{what:accept|decline|done}", desk.act)
    app.on_startup.append(desk.listen)
    app.on_cleanup.append(desk.close)
    return app


def main() -> None:
    """Serves until Ctrl-C."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=8082)
    parser.add_argument("--lasting", default="2m", help="how long a claim outlives this process")
    arguments = parser.parse_args()
    touchpoint = segue.AsyncTouchpoint("desk")
    try:
        web.run_app(
            make_app(Desk(touchpoint, arguments.lasting)), host="127.0.0.1", port=arguments.port, print=None,
            shutdown_timeout=1.0,
        )  # fmt: skip
    finally:
        touchpoint.close()


if __name__ == "__main__":
    main()
