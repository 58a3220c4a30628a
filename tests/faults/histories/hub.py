"""The hub of a history: `segue-hub`, and, for the controls, one that is broken on purpose.

Owns `python -m tests.faults.histories.hub HOW serve ...`. HOW is `whole`, or one of the ways to break: no product has
such a setting. Every one tells bookmarks more often than the product, so that a short history has some.
"""

from __future__ import annotations

import sys
from typing import Any

from segue.domain import fold
from segue.domain.content import Content
from segue.domain.fact import Fact
from segue.domain.plan import Plan

WAYS = ("counts_twice", "grants_too_many", "tells_early")
AHEAD = 1_500_000


def counts_twice() -> None:
    """Some facts are folded twice."""
    once = fold.step

    def twice(content: Content, plan: Plan, fact: Fact) -> None:
        once(content, plan, fact)
        if fact.type == "noted" and fact.id[-1] % 8 == 0:
            once(content, plan, fact)

    fold.step = twice


def grants_too_many() -> None:
    """Of a strict cap nobody sees that it is full."""
    from segue.domain.cap import Cap

    Cap.verdict = lambda self, *_: (True, 1 << 62, "")  # type: ignore[method-assign, assignment]
    Cap.taken = lambda self, *_: []  # type: ignore[method-assign, assignment]


def tells_early() -> None:
    """Deadlines are looked at by a clock that is ahead."""
    from segue_hub.services.ledger import Ledger

    usual: Any = Ledger.__init__

    def ahead(self: Any, store: Any, contexts: Any, plans: Any, timers: Any, clock: Any, *more: Any) -> None:
        timers._clock = lambda: clock() + AHEAD
        usual(self, store, contexts, plans, timers, lambda: clock() + AHEAD, *more)

    Ledger.__init__ = ahead  # type: ignore[method-assign]


if __name__ == "__main__":
    how = sys.argv.pop(1)
    if how != "whole":
        {way.__name__: way for way in (counts_twice, grants_too_many, tells_early)}[how]()
    from segue_hub.server import sync_service

    sync_service.BOOKMARK = 1.0  # type: ignore[misc]
    from segue_hub.cli import main

    main()
