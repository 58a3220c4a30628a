"""The agent desk's own logic: what an agent can do with a customer who is handed over."""

import segue

desk = segue.Touchpoint("desk")


@desk.decision("desk.accept", default="pass_on")
def accept(c: segue.Context) -> str:
    """An agent who sees what was tried solves it; one who sees nothing sends the customer to the specialists."""
    return "solve" if c.journey("money_transfer").active else "pass_on"
