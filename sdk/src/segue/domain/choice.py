"""The customer's own will: what she chose binds every touchpoint at once, above rules and scorers (S8).

Owns which choices there are and what each says to an action. A choice is a fact that any touchpoint can record.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from .verdict import ALLOW, BLOCK, Verdict

NAME: Final = "the customer's choice"
"""Stands where a guardrail's name would."""
NO: Final = "no"
LEFT: Final = "left"
PREFERRED: Final = "channel"
"""The choice whose value is the channel she wants to be reached on."""
ABOUT: Final = ("channel", "topic", "purpose", "journey")
"""What a choice can be about: `channel:email` and so on."""

Choices = Mapping[str, tuple[str, int, str]]
"""By name (`channel:email`, `topic:offers`, `journey:money_transfer`, `channel`): choice, when, told to whom."""


def is_about(name: str) -> bool:
    """Whether something can be chosen about a name: a misspelt one would bind nobody, in silence."""
    head, _, rest = name.partition(":")
    return name == PREFERRED or (head in ABOUT and bool(rest))


def says(name: str, choice: str) -> bool:
    """Whether a choice about a name says something: `no` or `left` about all but the preferred channel."""
    return name == PREFERRED or choice in ("", NO, LEFT)


def chosen(choices: Choices, about: str) -> str:
    """What she chose about something; empty where nothing, or what she chose was taken back."""
    choice = choices.get(about)
    return choice[0] if choice is not None else ""


def verdict(choices: Choices, action: Mapping[str, Any], exempt: frozenset[str]) -> Verdict | None:
    """What her choices say to an action; None where they say nothing.

    Args:
        choices: as folded.
        action: kind, channel, topic, purpose, advances.
        exempt: purposes that a choice of channel or topic does not stop, e.g. `transactional`.
    """
    if not choices:
        return None
    said = [(f"journey:{action.get('advances')}", "The customer has left this journey")]
    if action.get("purpose") not in exempt:
        said += [
            (f"channel:{action.get('channel')}", f"The customer does not want {action.get('channel')}"),
            (f"topic:{action.get('topic')}", f"The customer does not want to hear of {action.get('topic')}"),
            (f"purpose:{action.get('purpose')}", f"The customer does not want {action.get('purpose')}"),
        ]
    for name, reason in said:
        choice = choices.get(name)
        if choice is not None and choice[0] in (NO, LEFT):
            return Verdict(kind=BLOCK, guardrail=NAME, reason=reason, owner="the customer", holder=choice[2])
    return Verdict(kind=ALLOW, guardrail=NAME)
