"""A phone menu behind a voice webhook: knows the caller before it says a word.

    SEGUE_HUB=... SEGUE_KEY=... VOICE_TOKEN=... python -m examples.ivr.app --port 8081

A voice provider that speaks TwiML posts each turn of a call to /voice and /voice/choice. Each turn is a new request, so
the SDK keeps the customer between them. With the hub away the caller gets the ordinary menu, at once.
"""

from __future__ import annotations

import argparse
import os
from zoneinfo import ZoneInfo

import segue
from aiohttp import web

from . import twiml
from .decisions import greet, route

TOUCHPOINT: web.AppKey[segue.AsyncTouchpoint] = web.AppKey("touchpoint", segue.AsyncTouchpoint)
TOKEN: web.AppKey[str] = web.AppKey("token", str)
DESK, QUEUE = "+4930555001", "+4930555002"
ZONE = ZoneInfo("Europe/Berlin")


async def _turn(request: web.Request) -> dict[str, str]:
    """The parameters of a request that is really the provider's."""
    parameters = {name: str(value) for name, value in (await request.post()).items()}
    given = request.headers.get("X-Twilio-Signature", "")
    if not twiml.is_signed(request.app[TOKEN], str(request.url), parameters, given):
        raise web.HTTPForbidden(text="wrong signature")
    return parameters


def _answer(text: str) -> web.Response:
    return web.Response(text=text, content_type="application/xml")


def _question(customer: segue.Session) -> str:
    context = customer.context()
    failed = context.last("transfer.failed")
    when = f" at {failed.astimezone(ZONE):%H:%M}" if failed else ""
    return f"Hello. Are you calling about the transfer that failed{when}? Press 1 for yes, 2 for something else."


async def voice(request: web.Request) -> web.Response:
    """A call comes in."""
    turn = await _turn(request)
    async with request.app[TOUCHPOINT].open(phone=turn.get("From", ""), wait="400ms", keep="15m") as customer:
        customer.within(turn.get("CallSid", "unknown"))
        customer.track("call.started")
        if customer.decide(greet).value == "about_transfer":
            return _answer(twiml.ask(_question(customer), "/voice/choice?about=transfer"))
    return _answer(twiml.ask("Welcome. Press 1 for payments, 2 for everything else.", "/voice/choice?about=menu"))


async def choice(request: web.Request) -> web.Response:
    """The caller pressed a key, or none."""
    turn = await _turn(request)
    pressed = turn.get("Digits", "")
    about = "transfer" if request.query.get("about") == "transfer" and pressed == "1" else "other"
    async with request.app[TOUCHPOINT].open(phone=turn.get("From", ""), wait="400ms", keep="15m") as customer:
        customer.within(turn.get("CallSid", "unknown"))
        customer.track("call.menu", choice=about if pressed else "none")
        if about != "transfer":
            return _answer(twiml.dial("One moment, please.", QUEUE))
        if customer.decide(route).value == "desk":
            return _answer(twiml.dial("An agent who knows about it takes your call.", DESK))
        return _answer(twiml.end("You can finish the transfer in the app now. We have sent you the link."))


async def ended(request: web.Request) -> web.Response:
    """The call is over, says the provider."""
    turn = await _turn(request)
    async with request.app[TOUCHPOINT].open(phone=turn.get("From", ""), wait=0) as customer:
        customer.within(turn.get("CallSid", "unknown"))
        if turn.get("CallStatus") in ("no-answer", "canceled", "failed") or turn.get("CallDuration") == "0":
            customer.track("call.abandoned")
        customer.track("interaction.ended")
    return web.Response(status=204)


def make_app(touchpoint: segue.AsyncTouchpoint, token: str) -> web.Application:
    """The application."""
    app = web.Application()
    app[TOUCHPOINT], app[TOKEN] = touchpoint, token
    app.router.add_post("/voice", voice)
    app.router.add_post("/voice/choice", choice)
    app.router.add_post("/voice/ended", ended)
    return app


def main() -> None:
    """Serves until Ctrl-C."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=8081)
    arguments = parser.parse_args()
    token = os.environ.get("VOICE_TOKEN", "")
    if not token:
        parser.error("set VOICE_TOKEN to the token that the voice provider signs its requests with")
    touchpoint = segue.AsyncTouchpoint("ivr")
    try:
        web.run_app(
            make_app(touchpoint, token), host="127.0.0.1", port=arguments.port, print=None, shutdown_timeout=1.0
        )
    finally:
        touchpoint.close()


if __name__ == "__main__":
    main()
