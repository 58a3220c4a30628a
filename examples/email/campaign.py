"""A campaign: walks an audience's joiners and writes to each by SMTP, as far as the shared guardrails let it.

    SEGUE_HUB=... SEGUE_KEY=... python -m examples.email.campaign --audience upgrade_interested --smtp 127.0.0.1:1025

Whoever may not be written to now is told with the reason, and asked again when the guardrail said. A strict cap is kept
by `with decision.act()`: the mail goes out inside it, and only where the hub has granted a place.
"""

from __future__ import annotations

import argparse
import contextlib
import heapq
import itertools
import json
import queue
import smtplib
import time
from email.message import EmailMessage

import segue
from segue.domain.expression import NEVER
from segue.domain.identifier import Identifier

from .decisions import upsell

Joiner = list[Identifier]
SENDER = "offers@example.org"


class Campaign:
    """One audience, one mail server.

    Args:
        touchpoint: the e-mail team's.
        smtp: host and port.
    """

    def __init__(self, touchpoint: segue.Touchpoint, smtp: tuple[str, int]) -> None:
        self._touchpoint = touchpoint
        self._smtp = smtp
        self._joined: queue.SimpleQueue[Joiner] = queue.SimpleQueue()
        self._later: list[tuple[float, int, Joiner]] = []
        self._numbers = itertools.count()

    def watch(self, audience: str) -> None:
        """Begins to hear of joiners."""

        def tell(members: list[tuple[str, Joiner, bool]], reset: bool) -> None:
            for _, identifiers, left in members:
                if not left:
                    self._joined.put(identifiers)

        self._touchpoint.watch_audience(audience, tell, "marketing")

    def run(self, seconds: float) -> None:
        """Writes to whoever joins, for so long."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            with contextlib.suppress(queue.Empty):
                self._write(self._joined.get(timeout=0.1))
            while self._later and self._later[0][0] <= time.time():
                self._write(heapq.heappop(self._later)[2])

    def _write(self, joiner: Joiner) -> None:
        who = {identifier.kind: identifier.value for identifier in joiner}
        address = who.get("email")
        if address is None:
            return _say(who, "skipped", "no address")
        with self._touchpoint.session(email=address, purpose="marketing", wait="1s") as customer:
            decision = customer.decide(upsell)
            if not decision.allowed:
                return self._held(joiner, address, decision.verdict, decision.explain())
            try:
                with decision.act():
                    self._send(address)
            except segue.HeldBack as held:
                return self._held(joiner, address, held.verdict, str(held))
            except (OSError, smtplib.SMTPException) as error:
                return _say(address, "failed", f"{type(error).__name__}: {error}")
        return _say(address, "sent", "")

    def _held(self, joiner: Joiner, address: str, verdict: segue.Verdict, why: str) -> None:
        if verdict.until < NEVER:
            heapq.heappush(self._later, (verdict.until / 1e6, next(self._numbers), joiner))
        _say(address, "held", why)

    def _send(self, address: str) -> None:
        mail = EmailMessage()
        mail["From"], mail["To"], mail["Subject"] = SENDER, address, "More bandwidth for you"
        mail.set_content("You looked for a bigger plan. Here is one.")
        with smtplib.SMTP(*self._smtp, timeout=10) as server:
            server.send_message(mail)


def _say(who: object, what: str, why: str) -> None:
    print(json.dumps({"who": who, "what": what, "why": why}), flush=True)


def main() -> None:
    """Runs until the time is over."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--audience", default="upgrade_interested")
    parser.add_argument("--smtp", default="127.0.0.1:1025")
    parser.add_argument("--seconds", type=float, default=86_400.0)
    arguments = parser.parse_args()
    host, _, port = arguments.smtp.rpartition(":")
    touchpoint = segue.Touchpoint("email")
    try:
        touchpoint.wait_ready(10)
        campaign = Campaign(touchpoint, (host, int(port)))
        campaign.watch(arguments.audience)
        campaign.run(arguments.seconds)
    finally:
        touchpoint.close()


if __name__ == "__main__":
    main()
