"""Thrift: how little is folded and written before somebody asks.

Owns the proportions. Decides what things cost, and never what is read.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Thrift:
    """The proportions.

    Attributes:
        cold: of so many facts of customers who are not live, one has its customer caught up with; 1 at once.
        few: facts since her checkpoint, or since the first, for which nobody who is let go of is written.
        many: facts after which she is written though she stays.
    """

    cold: int = 32
    few: int = 4
    many: int = 64


USUAL: Final = Thrift()
EAGER: Final = Thrift(cold=1, few=1, many=1)
"""Everything is folded and written at once."""
