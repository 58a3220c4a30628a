"""The app team's own process: whoever bought a phone and has not activated it is offered help, and no longer where that
was a mistake. It hears of them at the second it becomes true, and goes on where it stopped, whatever was killed.

Run: python -m examples.app.help_offers (prints one JSON line for each offer that is put up or taken down)
"""

import json
import threading

import segue

from .decisions import app


def put_up_or_take_down(tellings: list[segue.Telling]) -> None:
    """A real one would write to the app's own store, with `telling.id` so that nothing is done twice."""
    for telling in tellings:
        line = {
            "id": telling.id, "customer": telling.customer, "at": telling.at.isoformat(), "reason": telling.reason,
            "offer": "taken down" if telling.left else "put up",
        }  # fmt: skip
        print(json.dumps(line), flush=True)


def main() -> None:
    """Until it is stopped."""
    app.watch("activation_stalled", put_up_or_take_down, cursor="help-offers")
    threading.Event().wait()


if __name__ == "__main__":
    main()
