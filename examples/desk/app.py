"""An agent's desk: takes over a customer whom another channel offers, with the brief of what happened so far.

    SEGUE_HUB=... SEGUE_KEY=... python -m examples.desk.app --port 8082

Then open http://127.0.0.1:8082/?account=A-1009. Accepting is a fact that every channel sees at once; while the agent
has the customer the claim is renewed, and should this process die it runs out by itself.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import segue
from aiohttp import web

PAGE = Path(__file__).with_name("page.html")


class Desk:
    """The customers whom agents have open.

    Args:
        touchpoint: the desk's.
        lasting: how long a claim outlives this process.
    """

    def __init__(self, touchpoint: segue.AsyncTouchpoint, lasting: str) -> None:
        self._touchpoint = touchpoint
        self._lasting = lasting
        self._open: dict[str, segue.Session] = {}

    async def page(self, request: web.Request) -> web.StreamResponse:
        """The page."""
        return web.FileResponse(PAGE)

    def _customer(self, request: web.Request) -> segue.Session:
        account = request.query.get("account", "")
        if not account:
            raise web.HTTPBadRequest(text="account: name the customer, e.g. ?account=A-1009")
        if account not in self._open:
            self._open[account] = self._touchpoint.session(account=account, wait=0)
        return self._open[account]

    def _told(self, customer: segue.Session) -> dict[str, Any]:
        claim = customer.claimed()
        return {
            "holder": claim.holder if claim else "", "offered": bool(claim and claim.offered_to == "desk"),
            "note": claim.note if claim else "", "brief": customer.brief().sentences(),
            "freshness": str(customer.context().freshness),
        }  # fmt: skip

    async def customer(self, request: web.Request) -> web.Response:
        """Who has the customer, and the brief."""
        return web.json_response(self._told(self._customer(request)))

    async def accept(self, request: web.Request) -> web.Response:
        """The agent takes over."""
        customer = self._customer(request)
        customer.accept(lasting=self._lasting)
        return web.json_response(self._told(customer))

    async def decline(self, request: web.Request) -> web.Response:
        """The agent does not."""
        customer = self._customer(request)
        customer.decline(note="no agent is free")
        return web.json_response(self._told(customer))

    async def done(self, request: web.Request) -> web.Response:
        """The agent is through with the customer."""
        customer = self._open.pop(request.query.get("account", ""), None)
        if customer is not None:
            customer.close()
        return web.json_response({})

    async def close(self, app: web.Application) -> None:
        """Lets go of everybody."""
        for customer in self._open.values():
            customer.close()


def make_app(desk: Desk) -> web.Application:
    """The application."""
    app = web.Application()
    app.router.add_get("/", desk.page)
    app.router.add_get("/customer", desk.customer)
    app.router.add_post("/accept", desk.accept)
    app.router.add_post("/decline", desk.decline)
    app.router.add_post("/done", desk.done)
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
