"""Ann's story: the same moves, played against the same channels, without and with Segue.

Owns the moves and what is counted: how often she is asked again, how many interactions it takes, what she is offered
while in trouble. The figures are what the channel processes answered, added up.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from .population import ANN
from .process import ChannelProcess

Tell = Callable[[str, dict[str, Any]], None]


@dataclass(slots=True)
class Counted:
    """What Ann went through."""

    asked: int = 0
    interactions: int = 0
    offered: int = 0
    solved_by: str = ""
    answers: dict[str, dict[str, Any]] = field(default_factory=dict)

    def add(self, channel: str, answer: dict[str, Any]) -> dict[str, Any]:
        """Adds one channel's answer."""
        self.asked += answer["asked"]
        self.interactions += answer["interactions"]
        self.offered += answer["offered"]
        self.answers[channel] = answer
        return answer


def known_as(*kinds: str) -> dict[str, str]:
    """How a channel knows her: by its own identifiers, not by a common one."""
    return {kind: ANN[kind] for kind in kinds}


def play(channels: dict[str, ChannelProcess], tell: Tell, settle: Callable[[str], None]) -> Counted:
    """Plays the story.

    Args:
        channels: processes by name.
        tell: shows what a channel answered.
        settle: waits until what a channel told is known elsewhere (where there is an elsewhere).
    """
    counted = Counted()

    def move(channel: str, do: str, **details: Any) -> None:
        tell(channel, counted.add(channel, channels[channel].ask(do, **details)))
        settle(channel)

    move("app", "app", who=known_as("account"), ago=18)
    move("web", "web", who=known_as("cookie"), ago=14, query="transfer failed E42")
    move("ivr", "ivr", who=known_as("phone"), ago=8, call="call-1")
    counted.add("email", channels["email"].ask("email", list=[known_as("email")]))
    tell("email", counted.answers["email"])
    move("chat", "chat", who=known_as("account"), chat="chat-1")
    # Whoever chat hands her to picks up: the agent solves it with the brief in hand, or passes her on.
    move("desk", "desk", who=known_as("account"), call="desk-1")
    counted.solved_by = "the first agent"
    if not counted.answers["desk"]["solved"]:
        move("desk", "desk", who=known_as("account"), call="desk-2", specialist=True)
        counted.solved_by = "the specialists, one door later"
    return counted
