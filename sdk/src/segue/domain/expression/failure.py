"""The error value of an expression.

Owns how an evaluation fails. An error is a value in CEL: `&&` and `||` absorb it, the top of an expression
turns it into false. It carries the instant at which it may stop being an error.
"""

from __future__ import annotations

from .value import NEVER


class ExpressionError(Exception):
    """An evaluation that has no value: overflow, missing key, wrong type, division by zero.

    Attributes:
        flip: first instant (microseconds) at which evaluating again may give something else.
    """

    def __init__(self, message: str, flip: int = NEVER) -> None:
        super().__init__(message)
        self.flip = flip


def no_overload(function: str, *values: object, flip: int = NEVER) -> ExpressionError:
    """The error of calling `function` with types it does not take."""
    names = ", ".join(type(value).__name__ for value in values)
    return ExpressionError(f"no such overload: {function}({names})", flip)
