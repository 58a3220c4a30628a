"""The web team's own logic: what the help page shows on top."""

import segue

web = segue.Touchpoint("web")


@web.decision("web.slot", default="offer")
def slot(c: segue.Context) -> str:
    """The slot that usually sells helps instead, while a transfer is open."""
    return "help_with_transfer" if c.journey("money_transfer").active else "offer"
