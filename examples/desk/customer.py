"""One customer as an agent has her open: offered, the agent's own, lost, or with somebody else."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import segue

OFFERED, MINE, LOST, ELSEWHERE = "offered", "mine", "lost", "elsewhere"


class Customer:
    """Args:
    name: for example `account=A-1009`.
    session: the desk's session with her.
    """

    def __init__(self, name: str, session: segue.Session) -> None:
        self.name = name
        self.session = session
        self.asked = False
        """Whether somebody asked for her by name: then she is shown whoever has her."""
        self._was = ""
        self._had = False

    def told(self) -> dict[str, Any]:
        """What the page shows; its `state` is empty where it shows nothing."""
        claim, context = self.session.claimed(), self.session.context()
        holder = claim.holder if claim else ""
        offered = claim is not None and claim.offer_stands(context.at, "desk")
        state = MINE if holder == "desk" else OFFERED if offered else self._not_here()
        self._was, self._had = state, self._had or state == MINE
        return {
            "customer": self.name, "state": state, "had": self._had, "holder": holder, "offered": offered,
            "until": claim.offered_until / 1e6 if claim is not None and offered else 0,
            "note": claim.note if claim else "", "brief": replace(context.brief(), note="").sentences(),
            "freshness": str(context.freshness),
        }  # fmt: skip

    def _not_here(self) -> str:
        """She is not the desk's: she was, or was offered, and is lost until the agent has seen that; or never was."""
        if self._was in (OFFERED, MINE, LOST):
            return LOST
        return ELSEWHERE if self.asked else ""

    def decline(self) -> None:
        """The agent does not take her; nothing is lost by that."""
        self.session.decline(note="no agent is free")
        self._was = ""
