"""Refusals of facts, as the hub tells its operators: by touchpoint, code and field.

Owns the counts and what of them is logged, how often. What a fact said goes back to its producer alone, as the reason
of its result; nothing of it is kept or logged here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Final, NamedTuple

import structlog
from segue.domain.instant import SECOND

from .admission import Result

log = structlog.get_logger("segue.hub")

PAUSE: Final = 60 * SECOND
"""Between two lines about the same touchpoint, code and field."""
_KINDS_COUNTED: Final = 1000
OTHERS: Final = "others"
"""Stands for touchpoints beyond those that are counted one by one."""


class RefusalKind(NamedTuple):
    """Which refusals are counted together."""

    touchpoint: str
    code: str
    field: str


class Refusals:
    """Counts refused facts since the hub started, and logs them without a word of what they said.

    Args:
        clock: the hub's time in microseconds.
    """

    def __init__(self, clock: Callable[[], int]) -> None:
        self._clock = clock
        self.counts: Counter[RefusalKind] = Counter()
        self._told: dict[RefusalKind, tuple[int, int]] = {}

    def note(self, touchpoint: str, result: Result) -> None:
        """One more fact was refused. The first of its kind is logged at once, later ones together, once a minute."""
        kind = RefusalKind(touchpoint, result.code, result.field)
        if kind not in self.counts and len(self.counts) >= _KINDS_COUNTED:
            kind = RefusalKind(OTHERS, result.code, "")
        self.counts[kind] += 1
        now, (told_at, told) = self._clock(), self._told.get(kind, (0, 0))
        if now - told_at >= PAUSE:
            count = self.counts[kind]
            self._told[kind] = (now, count)
            log.warning("facts refused", touchpoint=kind.touchpoint, code=kind.code, field=kind.field,
                        count=count - told)  # fmt: skip
