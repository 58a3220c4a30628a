"""Tallies: what a producer says of its ordinals, its own numbers of the facts it was offered (semantics FA6).

Owns the words that SDK and hub share about them: runs, what a request carries, what is lost, where a producer ended.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

Range = tuple[int, int]
"""A run of ordinals, both ends included."""


@dataclass(frozen=True, slots=True)
class Tally:
    """What a producer says of its ordinals. Proto: `segue.v1.Tally`.

    Attributes:
        producer: whose they are.
        carried: of the facts in the same request.
        settled: every ordinal through this one was answered or reported lost before.
        lost: runs that will never come, each with the reason.
        handed_out: every ordinal through this one was handed out for certain.
        at_most: no ordinal beyond this one was handed out; told by an ended producer.
        ended: nothing new comes of it.
    """

    producer: str
    carried: tuple[Range, ...] = ()
    settled: int = 0
    lost: tuple[tuple[int, int, str], ...] = ()
    handed_out: int = 0
    at_most: int = 0
    ended: bool = False


def runs(ordinals: Iterable[int]) -> tuple[Range, ...]:
    """Ordinals as runs, rising."""
    found: list[Range] = []
    for ordinal in sorted(ordinals):
        if found and ordinal <= found[-1][1] + 1:
            found[-1] = (found[-1][0], ordinal)
        else:
            found.append((ordinal, ordinal))
    return tuple(found)
