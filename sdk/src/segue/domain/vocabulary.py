"""The vocabulary: one meaning per name, and every team's own spelling as an alias.

Owns channels, event types, traits, purposes and the nearest known name of a misspelt one. Where a plan declares
nothing of a sort, every name of that sort is known (a touchpoint works without a plan).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from .once import once
from .trait import TYPES


@dataclass(frozen=True, slots=True, kw_only=True)
class Channel:
    """A channel. `cost` is per interaction, in `currency`."""

    assisted: bool = False
    direction: str = ""
    cost: float = 0.0
    currency: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TraitName:
    """A declared trait: its type (see `trait.TYPES`), owner and label (the class that grants speak of)."""

    type: str = "string"
    owner: str = ""
    label: str = "general"
    one_of: tuple[str, ...] = ()

    @property
    def zero(self) -> Any:
        """What an unset trait reads as."""
        return TYPES[self.type]


@dataclass(frozen=True, slots=True, kw_only=True)
class EventName:
    """A declared event type: owner, typed properties, and aliases by touchpoint or channel."""

    owner: str = ""
    properties: Mapping[str, str] = field(default_factory=dict)
    aliases: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Vocabulary:
    """All names of a plan. `unknown_events` (of events and traits alike) is `accept`, `quarantine` or `reject`."""

    channels: Mapping[str, Channel] = field(default_factory=dict)
    events: Mapping[str, EventName] = field(default_factory=dict)
    traits: Mapping[str, TraitName] = field(default_factory=dict)
    purposes: tuple[str, ...] = ()
    unknown_events: str = "accept"

    def canonical(self, type_: str, touchpoint: str, channel: str) -> str:
        """The canonical event type of a team's own spelling; the name itself where it has none."""
        if type_ in self.events:
            return type_
        return self.alias_table.get((touchpoint, type_)) or self.alias_table.get((channel, type_)) or type_

    @once
    def alias_table(self) -> dict[tuple[str, str], str]:
        """Canonical event type by (touchpoint or channel, alias)."""
        return {
            (who, alias): name
            for name, event in self.events.items()
            for who, aliases in event.aliases.items()
            for alias in aliases
        }

    def knows_event(self, type_: str) -> bool:
        """Whether an event type is declared, or none is; `interaction.*` is Segue's own."""
        return not self.events or type_ in self.events or type_.startswith("interaction.")

    def knows_trait(self, name: str) -> bool:
        """Whether a trait is declared, or none is."""
        return not self.traits or name in self.traits

    def knows_activity(self, name: str) -> bool:
        """Whether `seen`, `count` and `last` can be asked about a name: a channel or an event type (TI10)."""
        return not (self.channels or self.events) or name in self.channels or self.knows_event(name)


def nearest(name: str, known: Iterable[str]) -> str:
    """The known name most like a misspelt one; empty where none is near."""
    from difflib import get_close_matches  # only who misspells a name needs it

    close = get_close_matches(name, list(known), n=1, cutoff=0.6)
    return close[0] if close else ""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A cure in words: the nearest known name, or the list of a few."""
    names = list(known)
    near = nearest(name, names)
    if near:
        return f"Did you mean {near!r}?"
    return "Known: " + ", ".join(sorted(names)[:8]) if names else ""
