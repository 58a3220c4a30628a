"""The chat team's own logic: where a customer who opens the chat goes."""

import segue

chat = segue.Touchpoint("chat")


@chat.decision("chat.route", default="bot")
def route(c: segue.Context) -> str:
    """High-value customers who are stuck and have just tried the phone go past the bot."""
    if c.journey("money_transfer").active and c.seen("ivr", within="1h") and c.trait("value_tier") == "high":
        return "priority_agent"
    return "bot"
