"""Grants: what a touchpoint may write, and which sections it may read for which purpose.

Owns the check of names against patterns. Deny by default, except where a plan names no touchpoints at all: then
there is nobody to tell apart, and everything is granted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import Final

SERVICE: Final = "service"
"""The purpose of a session that states none."""
SECTIONS: Final = (
    "identity", "traits", "consents", "subscriptions", "timeline", "activity", "interactions", "journeys",
    "decisions", "actions", "audiences", "claims",
)  # fmt: skip
_OWN: Final = frozenset(("decision", "action", "link", "claim", "exposure", "choice"))
"""Kinds of facts that any touchpoint may write: what it did itself, and what the customer chose."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """What one touchpoint may do.

    Attributes:
        writes: patterns of event types; facts of other kinds are `trait:name`, `consent:purpose` and so on.
        reads: by purpose, section names; `traits.business` grants one class of traits, `traits` all.
        channel: what its facts carry where they do not say.
    """

    touchpoint: str
    channel: str = ""
    owner: str = ""
    writes: tuple[str, ...] = ("*",)
    reads: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    everything: bool = False

    def may_write(self, kind: str, type_: str) -> bool:
        """Whether a fact of this kind and type may come from it; its own decisions and actions always may."""
        if self.everything or kind in _OWN:
            return True
        name = type_ if kind == "event" else f"{kind}:{type_}"
        if type_.startswith("interaction.") and kind == "event":
            return True
        return _matches(name, self.writes)

    def may_read(self, section: str, purpose: str) -> bool:
        """Whether a section (`journeys`, `traits.business`) may be seen for a purpose."""
        if self.everything:
            return True
        granted = self.reads.get(purpose, ())
        return section in granted or section.partition(".")[0] in granted

    def may_read_all(self, sections: Iterable[str], purpose: str) -> bool:
        """Whether every one of the sections may be seen for a purpose."""
        return all(self.may_read(section, purpose) for section in sections)


@lru_cache(maxsize=4096)
def _matches(name: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def everything(touchpoint: str, channel: str = "") -> Grant:
    """The grant of a touchpoint where the plan names none."""
    return Grant(touchpoint=touchpoint, channel=channel or touchpoint, everything=True)
