"""The app team's own logic: what to say when a transfer fails."""

import segue

app = segue.Touchpoint("app")


@app.decision("app.after_failure", default="try_again")
def after_failure(c: segue.Context) -> str:
    """After the second failure within a day, help is offered instead of another try."""
    return "offer_help" if c.count("transfer.failed", within="1d") >= 2 else "try_again"


@app.decision("app.home", default="news")
def home(c: segue.Context) -> str:
    """Whoever waits too long with a new phone is offered help first."""
    return "help_to_activate" if c.journey("activation").stalled else "news"
