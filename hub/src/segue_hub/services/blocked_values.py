"""Blocked values: how often facts named what stands for nobody, by touchpoint and value, since the hub started.

Owns the counts. Which values are blocked is the plan's; that a fact goes on without them is admission's. The values are
words of the plan (`null`, `anonymous` ...), so they tell of nobody.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, Final, NamedTuple

from segue.domain.identifier import Identifier

BLOCKED: Final = "BLOCKED"
"""The verdict of a link that was never made, since one end stands for nobody."""
_COUNTED: Final = 1000


class Blocked(NamedTuple):
    """Which identifiers are counted together."""

    touchpoint: str
    kind: str
    value: str


_OTHERS: Final = Blocked("others", "", "")
"""Stands for those beyond the ones that are counted one by one."""


class BlockedValues:
    """Counts identifiers that facts came in without.

    Attributes:
        links: how many of their facts named somebody else too: links that were refused.
    """

    def __init__(self) -> None:
        self.counts: Counter[Blocked] = Counter()
        self.links = 0

    def note(self, touchpoint: str, identifier: Identifier, *, linking: bool) -> None:
        """One more fact named it, alone or with somebody who is not blocked."""
        name = Blocked(touchpoint, identifier.kind, identifier.value.strip().lower())
        if name not in self.counts and len(self.counts) >= _COUNTED:
            name = _OTHERS
        self.counts[name] += 1
        self.links += linking

    def of(self, identifier: Identifier) -> int:
        """How often one was named, by whomever."""
        said = identifier.kind, identifier.value.strip().lower()
        return sum(count for name, count in self.counts.items() if name[1:] == said)

    def plain(self) -> list[dict[str, Any]]:
        """By touchpoint and value, the most frequent first."""
        return [{**name._asdict(), "count": count} for name, count in self.counts.most_common(50)]
