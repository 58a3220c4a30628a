"""Audiences: named expressions over contexts.

Owns the compiled audience. Who is in it at a moment is derived, never stored as truth.
"""

from __future__ import annotations

from dataclasses import dataclass

from .expression import Compiled


@dataclass(frozen=True, slots=True, kw_only=True)
class Audience:
    """One audience of the plan.

    Attributes:
        when: true of its members.
        inputs: the sections that it reads, in the words of grants.
    """

    name: str
    when: Compiled
    source: str
    owner: str = ""
    title: str = ""
    inputs: frozenset[str] = frozenset()
