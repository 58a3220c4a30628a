"""Ordinals: a producer's own numbers of the facts it was offered, without gaps (semantics FA6).

Owns the blocks: a host's thread is given a number only from a block that is reserved on disk, so that after a kill
whoever finds the outbox knows how far it came at most. Knows no disk, clock or thread: the outbox holds the lock,
writes the reservation, and says when it is durable.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from .domain.tally import Tally

BLOCK_LEAST: Final = 16
BLOCK_MOST: Final = 4096
"""A block follows the traffic between these: what it reserves beyond need is what nobody can tell after a kill."""


class Ordinals:
    """The ordinals of one producer: one lane of one outbox, which is published in this order.

    Args:
        producer: its name, never used again by another process.

    Attributes:
        handed_out: the last number given.
        reserved: the last number of the block on disk.
    """

    __slots__ = ("_before", "_waiting", "handed_out", "producer", "reserved")

    def __init__(self, producer: str) -> None:
        self.producer = producer
        self.handed_out = 0
        self.reserved = 0
        self._waiting = False
        self._before = 0

    def take(self) -> int:
        """The next number, for a host's thread; 0 where the block is spent: the worker numbers that fact, in order."""
        ordinal = self.handed_out + 1
        if self._waiting or ordinal > self.reserved:
            self._waiting = True
            return 0
        self.handed_out = ordinal
        return ordinal

    def number(self) -> int:
        """The next number, for the worker: the commit that writes the fact reserves it too."""
        self.handed_out += 1
        return self.handed_out

    def numbered(self) -> None:
        """All that waited for a number has one: hosts may take from the next block."""
        self._waiting = False

    def needs(self, count: int) -> int:
        """What the next commit should reserve through, after `count` facts since the last one."""
        wanted = min(BLOCK_MOST, max(BLOCK_LEAST, 4 * count))
        left = self.reserved - self.handed_out
        return self.reserved if left >= wanted // 2 else self.handed_out + wanted

    def grant(self, reserved: int) -> None:
        """A reservation is durable."""
        self.reserved = max(self.reserved, reserved)

    def idle(self) -> bool:
        """Whether no number was taken since this was asked last, and some are reserved for nothing."""
        idle = self._before == self.handed_out < self.reserved
        self._before = self.handed_out
        return idle

    def give_back(self) -> None:
        """Nothing is reserved beyond what was handed out; the disk hears of it after."""
        self.reserved = self.handed_out


@dataclass(frozen=True, slots=True)
class Lost:
    """A run of one producer's ordinals that will never reach the hub."""

    producer: str
    first: int
    last: int
    reason: str


@dataclass(frozen=True, slots=True)
class Reservation:
    """How far a producer's ordinals were handed out, and are reserved."""

    producer: str
    handed_out: int
    reserved: int


@dataclass(frozen=True, slots=True)
class Statement:
    """Tallies to be told, and what is settled once they were.

    Attributes:
        lost: runs by (number in the file, last ordinal).
        producers: ended ones, by number in the file.
    """

    tallies: tuple[Tally, ...]
    lost: tuple[tuple[int, int], ...] = ()
    producers: tuple[int, ...] = ()
