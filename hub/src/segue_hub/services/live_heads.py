"""Live heads: the contents that are kept in memory, and who is let go of.

Owns their order and their weight. What becomes of a head that is let go of is decided in `contexts`.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from .head import Head

WEIGHT: Final = 80_000
"""What live heads may take in memory together, in facts of about 450 bytes: fewer are kept of those that hold many."""
EACH: Final = 8
"""Facts for each head that may be kept: where more may be than `WEIGHT` has room for, they may take more together."""
LOOKED_AT: Final = 16
"""Heads looked at for one to let go of; where all are in use, the oldest goes."""


class LiveHeads(OrderedDict[int, Head]):
    """Heads by customer, who came longest ago first.

    Attributes:
        weight: of all of them together.
    """

    weight = 0

    def clear(self) -> None:
        """Lets go of all."""
        super().clear()
        self.weight = 0

    def keep(self, customer: int, head: Head) -> None:
        """Takes a head in, as the newest."""
        self.forget(customer)
        self.weight = self.weight if self else 0
        self[customer] = head
        self.weigh(head)

    def forget(self, customer: int) -> None:
        """Lets go of one, if she is live."""
        head = self.pop(customer, None)
        if head is not None:
            self.weight -= head.weight
            head.weight = 0

    def weigh(self, head: Head) -> None:
        """A head holds more than it did, or less."""
        before, head.weight = head.weight, head.heft
        self.weight += head.weight - before

    def exceed(self, most: int) -> bool:
        """Whether there are more than so many, or they are too heavy."""
        return len(self) > most or (self.weight > WEIGHT and self.weight > EACH * most and len(self) > 1)

    def let_go(self) -> tuple[int, Head]:
        """The oldest that nobody asked for of late; a list in the order of use would cost more at every fact."""
        for _ in range(LOOKED_AT):
            customer, head = self.popitem(last=False)
            if not head.used:
                break
            head.used = False
            self[customer] = head
        else:
            customer, head = self.popitem(last=False)
        self.weight -= head.weight
        head.weight = 0
        return customer, head
