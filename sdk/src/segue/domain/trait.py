"""Traits: lasting facts about a customer, with source and time.

Owns what a context keeps of a trait and the zero of each type (an unset trait is its type's zero, semantics TI7).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

TYPES: Final[dict[str, Any]] = {"string": "", "bool": False, "int": 0, "double": 0.0, "timestamp": ""}
"""Trait types of a plan and their zeros."""


@dataclass(frozen=True, slots=True)
class Trait:
    """A trait's latest value. `at` in microseconds; `source` is the touchpoint or system that said so."""

    value: Any
    source: str
    at: int
