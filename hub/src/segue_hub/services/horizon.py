"""The horizon: how far of what is committed is folded, and so may be shown.

Owns the position through which everything is folded, and which identifiers live heads know of. A unit is committed
before anybody is told of it, and folded batch by batch after that: meanwhile the store knows customers by identifiers
that came with facts which nobody has folded yet.
"""

from __future__ import annotations

from ..storage.ports import Known


class Horizon:
    """How far it reaches.

    Args:
        position, number: the last of each in the store, all of which is folded or will be by whoever asks.

    Attributes:
        position: everything up to here is folded, or will be by whoever asks.
        through: the last position of the unit that was told of last: heads know who is one by then.
    """

    __slots__ = ("_beside", "_coming", "_number", "position", "through")

    def __init__(self, position: int, number: int) -> None:
        self.position = self.through = position
        self._number = number
        self._coming = position, number
        self._beside: dict[int, int] = {}

    def begins(self, position: int, number: int) -> None:
        """A unit is told of, by its last position and the last number of an identifier in it; its facts come after."""
        self.through, self._coming = position, (position, number)

    def beside(self, first: int, last: int) -> None:
        """Positions in which there is nothing to fold."""
        self._beside[first] = last
        self.settled(self.position)

    def settled(self, position: int) -> None:
        """Everything up to a position is folded; what follows beside customers' facts has nothing to fold."""
        self._beside = {first: last for first, last in self._beside.items() if first > position}
        while position + 1 in self._beside:
            position = self._beside.pop(position + 1)
        self.position = position
        if position >= self._coming[0]:
            self._number = self._coming[1]

    def has(self, known: Known) -> bool:
        """Whether live heads have what came with an identifier: the facts that it moved by, or appeared with."""
        return known.moved <= self.through and known.number <= self._number
