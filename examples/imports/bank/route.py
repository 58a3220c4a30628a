"""Where a call goes when the bank's menu answers it: the voice team's own logic, a plain function of the context.

Owns `route`. It reads what every touchpoint can read: what was seen, and the journeys of the plan beside it.
"""

import segue

CALLBACK = "callback"
AGENT = "agent"
MENU = "menu"


def route(c: segue.Context) -> str:
    """Asked when a call has just started.

    Who hung up within the last day and calls again has waited in vain once: a call back is offered, nobody waits twice.
    Who was here within the last day already goes past the menu to an agent. All others hear the menu.
    """
    if c.seen("call.abandoned", within="24h"):
        return CALLBACK
    if c.journey("repeat_call").active:
        return AGENT
    return MENU
