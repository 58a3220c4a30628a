"""The slot of a help page that usually sells: it helps instead while the customer has something else to get done.

    SEGUE_HUB=... SEGUE_KEY=... python -m examples.web.app --port 8083

Then open http://127.0.0.1:8083/?account=A-1009, or ask for the slot alone: /slot?account=A-1009. The function proposes,
best first; what the shared guardrails hold back falls away, and the first that remains is shown.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import segue
from aiohttp import web
from segue.domain.expression import NEVER

from .decisions import best

PAGE = Path(__file__).with_name("page.html")
TOUCHPOINT: web.AppKey[segue.AsyncTouchpoint] = web.AppKey("touchpoint", segue.AsyncTouchpoint)
TEXTS = {"help.transfer": "Finish your transfer in two steps.", "offer.upsell": "More bandwidth for 5 EUR a month."}


async def page(request: web.Request) -> web.StreamResponse:
    """A help page with the slot on top."""
    return web.FileResponse(PAGE)


async def slot(request: web.Request) -> web.Response:
    """What the slot shows to one customer, and why not the others."""
    async with request.app[TOUCHPOINT].open(account=request.query.get("account", ""), wait="150ms") as customer:
        decision = customer.decide(best)
        held = [
            {
                "action": candidate.action.kind,
                "why": verdict.reason,
                "owner": verdict.owner,
                "until": verdict.until // 1000 if verdict.until < NEVER else 0,
            }
            for candidate in decision.candidates
            for verdict in candidate.verdicts
            if verdict.binds
        ]
        shown = decision.action.kind if decision.allowed and decision.action is not None else ""
        return web.json_response({"shows": shown, "text": TEXTS.get(shown, ""), "held": held})


def make_app(touchpoint: segue.AsyncTouchpoint) -> web.Application:
    """The application."""
    app = web.Application()
    app[TOUCHPOINT] = touchpoint
    app.router.add_get("/", page)
    app.router.add_get("/slot", slot)
    return app


def main() -> None:
    """Serves until Ctrl-C."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=8083)
    arguments = parser.parse_args()
    touchpoint = segue.AsyncTouchpoint("web")
    try:
        web.run_app(make_app(touchpoint), host="127.0.0.1", port=arguments.port, print=None, shutdown_timeout=1.0)
    finally:
        touchpoint.close()


if __name__ == "__main__":
    main()
