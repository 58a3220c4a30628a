"""Facts that are offered to an outbox as they are written down, without a session or a runtime."""

from __future__ import annotations

from segue.offered import Offered
from segue.outbox import Outbox


def offer(outbox: Outbox, fact: Offered) -> bool:
    """As a host's thread does; False where it was not taken."""
    return outbox.tell(fact, fact.lane, fact.journalled)
