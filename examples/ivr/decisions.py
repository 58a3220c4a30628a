"""The voice team's own logic: what the phone menu says first, and where a call goes."""

import segue

ivr = segue.Touchpoint("ivr")


@ivr.decision("ivr.greet", default="menu")
def greet(c: segue.Context) -> str:
    """Whoever calls about something that just failed is asked about that, not led through the menu."""
    journey = c.journey("money_transfer")
    if journey.active and c.seen("transfer.failed", within="1d"):
        return "about_transfer"
    return "menu"


@ivr.decision("ivr.route", default="queue")
def route(c: segue.Context) -> str:
    """Where the call goes when the customer says yes: stuck high-value customers to the desk."""
    if c.in_audience("frequent_caller") or c.trait("value_tier") == "high":
        return "desk"
    return "self_service" if c.journey("money_transfer").active else "queue"
