"""Interactions: one call, chat, visit or mail (semantics FA6).

Owns what a fact says of the interaction it belongs to and what a context keeps of it. The field counts
interactions, not events.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

DIRECTIONS: Final = ("inbound", "outbound")
OUTCOMES: Final = ("served", "resolved", "transferred", "abandoned")
STARTED: Final = "interaction.started"
ENDED: Final = "interaction.ended"
QUEUED: Final = "interaction.queued"
"""The end of waiting in a queue; its property `seconds` says how long that was."""


@dataclass(frozen=True, slots=True)
class InteractionRef:
    """The interaction that a fact belongs to. Proto: `segue.v1.Interaction`.

    Attributes:
        id: the channel's own id of it.
        direction: `inbound`, `outbound` or empty where not said.
        outcome: set on the fact that ends it, else empty.
    """

    id: str
    direction: str = ""
    outcome: str = ""


@dataclass(frozen=True, slots=True)
class Interaction:
    """An interaction as far as told. Instants in microseconds (`ended_at` 0 while open), `queued` in seconds."""

    id: str
    channel: str
    direction: str
    started_at: int
    last_at: int
    ended_at: int = 0
    outcome: str = ""
    queued: int = 0
