"""The web team's own logic: what the help page shows on top."""

import segue

web = segue.Touchpoint("web")


@web.decision("web.slot", default="offer")
def slot(c: segue.Context) -> str:
    """The slot that usually sells helps instead, while a transfer is open."""
    return "help_with_transfer" if c.journey("money_transfer").active else "offer"


@web.decision("web.best")
def best(c: segue.Context) -> list[segue.Action]:
    """What to show, best first: what helps on the way comes before what sells, if there is a way to help on."""
    offer = segue.Action("offer.upsell", topic="bandwidth", purpose="marketing")
    if c.journey("money_transfer").active:
        return [offer, segue.Action("help.transfer", topic="transfer", advances="money_transfer")]
    return [offer]
