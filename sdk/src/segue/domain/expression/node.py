"""A compiled node: how a part of an expression is evaluated, plainly and with its flip.

Owns the shape that the compiler and the bindings build. `plain` gives the value at `env.at`. `moving` gives the
value and the first later instant at which it may differ if no further fact arrives; it is absent where mere time
changes nothing. `slope` is the coefficient of `now` in a value that moves (-1, 0, 1; semantics TI6).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from .value import NEVER, Value

Plain = Callable[["Environment"], Value]
Moving = Callable[["Environment"], tuple[Value, int]]


class Refused(ValueError):
    """A tree that cannot be compiled, with the cause in words a plan's author understands."""


class Environment(Protocol):
    """What evaluation reads: the moment asked about and the variables of comprehensions."""

    at: int
    locals: dict[str, Any]
    flips: dict[str, int]


@dataclass(slots=True)
class Node:
    """One compiled part of an expression.

    Attributes:
        plain: the value at `env.at`; raises `ExpressionError`.
        moving: the value and its flip; None where time alone changes nothing.
        slope: coefficient of `now` in the value.
        constant: the value in a one-element tuple, where it never depends on anything.
        threshold: builds the node for a comparison of this one with a constant, where it knows a later flip.
        part: builds the node of one of its fields, where it has fields of its own kind.
    """

    plain: Plain
    moving: Moving | None = None
    slope: int = 0
    constant: tuple[Value] | None = None
    threshold: Callable[[str, int], Node | None] | None = field(default=None, repr=False)
    part: Callable[[str], Node] | None = field(default=None, repr=False)

    def flipping(self) -> Moving:
        """The moving form, also of a node that does not move."""
        if self.moving is not None:
            return self.moving
        plain = self.plain
        return lambda env: (plain(env), NEVER)


def constant(value: Value) -> Node:
    """The node of a value that is always the same."""
    return Node(lambda env: value, constant=(value,))
