"""The e-mail team's own logic: whom a campaign writes to. What it may do is for the shared guardrails to say."""

import segue

email = segue.Touchpoint("email")


@email.decision("mail.upsell", record="always")
def upsell(c: segue.Context) -> segue.Action | None:
    """Offers more bandwidth to good customers."""
    if c.trait("value_tier") in ("mid", "high"):
        return segue.Action("offer.upsell", topic="bandwidth", purpose="marketing")
    return None


@email.decision("mail.accessories", record="always")
def accessories(c: segue.Context) -> segue.Action | None:
    """Whoever bought a phone is offered what belongs to it."""
    if c.seen("device.bought", within="30d"):
        return segue.Action("offer.accessory", topic="accessories", purpose="marketing")
    return None
