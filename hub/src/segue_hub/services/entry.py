"""Entries: facts on their way through the hub, in the batches they came in and the units they are written in.

Owns what is known of a fact between its admission and its fold. Does nothing with it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from segue.domain.fact import Fact
from segue.domain.identifier import Identifier
from segue.domain.tally import Tally

from .admission import ACCEPTED, Result
from .resolved import Resolved

Encode = Callable[[Fact], bytes]
Decode = Callable[[bytes], Fact]
Stamp = Callable[[Any, Fact], bytes]


class DecodeMany(Protocol):
    """Facts of one customer as a store keeps them, each when its turn comes."""

    def __call__(self, bodies: Iterable[bytes], only: Identifier | None = None) -> Iterable[Fact]:
        """`only` is the identifier that those of one identifier have, where she has no other."""


@dataclass(slots=True)
class Entry:
    """A fact on its way: admitted, then written."""

    fact: Fact
    body: bytes
    foreign: bool = False
    result: Result = ACCEPTED
    position: int = 0
    customer: int = 0
    apart: frozenset[Identifier] = frozenset()


@dataclass(slots=True)
class Batch:
    """What one call published, and the promise of an answer."""

    entries: list[Entry]
    done: asyncio.Future[None]
    size: int
    tallies: list[tuple[str, Tally]] = field(default_factory=list)
    decide: Sequence[int] = ()
    sighted: Sequence[tuple[Fact, int]] = ()


@dataclass(slots=True)
class Alone:
    """A unit that is no facts of customers, and what everybody sees otherwise from its place in the log on."""

    write: Callable[[Any, int], int]
    then: Callable[[], None]
    done: asyncio.Future[int]


@dataclass(slots=True)
class Written:
    """A unit that is durable: what the rest of the hub has to know of it."""

    batches: list[Batch]
    accepted: list[Entry] = field(default_factory=list)
    resolved: Resolved = field(default_factory=Resolved)
    position: int = 0
