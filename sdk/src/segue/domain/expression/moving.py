"""Values that move with `now`: sums, comparisons and calendar parts of them, and when those flip.

Owns rule TI6: a moving value is `base + slope * now` with a slope of -1, 0 or 1; it may be added to, compared, or
taken apart, nothing else. Works in nanoseconds inside, gives flips in microseconds.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from .calendar import CALENDAR, changes_within
from .failure import ExpressionError, no_overload
from .node import Environment, Node, Refused
from .operator import FUNCTIONS
from .value import DURATION_MAX, NEVER, TIMESTAMP_MAX, TIMESTAMP_MIN, Duration, Timestamp, Value

_COMPARISONS: Final = frozenset({"_<_", "_<=_", "_>_", "_>=_", "_==_", "_!=_"})


def crossing(function: str, difference: int, slope: int) -> int:
    """Microseconds until a comparison of two values may differ.

    Args:
        function: the comparison, as named in a checked tree.
        difference: left minus right, in nanoseconds, now.
        slope: how the difference moves: 1 grows with `now`, -1 shrinks.

    Returns:
        At least 1, or `NEVER`.
    """
    if slope < 0:
        difference = -difference
        function = {"_<_": "_>_", "_<=_": "_>=_", "_>_": "_<_", "_>=_": "_<=_"}.get(function, function)
    reaches_zero = max(1, -(difference // 1000)) if difference < 0 else NEVER
    passes_zero = -difference // 1000 + 1 if difference <= 0 else NEVER
    if function in ("_<_", "_>=_"):
        return reaches_zero
    if function in ("_<=_", "_>_"):
        return passes_zero
    return min(reaches_zero, passes_zero)


def _nanos(value: Value) -> int:
    if type(value) in (Timestamp, Duration):
        return int(value.nanos)
    raise ExpressionError("only instants and spans move with `now`")


def moving_call(function: str, arguments: list[Node]) -> Node:
    """A call in which at least one argument moves with `now`.

    Raises:
        Refused: nothing is known of when such a call flips.
    """
    if function in ("_+_", "_-_") and len(arguments) == 2:
        return _sum(function, arguments[0], arguments[1])
    if function in _COMPARISONS:
        return _compare(function, arguments[0], arguments[1])
    if function in CALENDAR:
        return _part(function, arguments)
    raise Refused(
        f"`{function.strip('_')}` cannot be applied to a moment that moves with `now`: such moments can be compared, "
        "added to, or taken apart (getHours and the like)"
    )


def _sum(function: str, left: Node, right: Node) -> Node:
    slope = left.slope + (right.slope if function == "_+_" else -right.slope)
    if slope not in (-1, 0, 1):
        raise Refused("`now` may count once in a sum: rewrite the comparison so that it stands on one side")
    return _bounded(_apply(FUNCTIONS[function], [left, right], slope))


def _apply(operation: Callable[..., Value], arguments: list[Node], slope: int) -> Node:
    first, second = arguments
    left, right = first.plain, second.plain
    left_moving, right_moving = first.flipping(), second.flipping()

    def moving(env: Environment) -> tuple[Value, int]:
        (a, a_flip), (b, b_flip) = left_moving(env), right_moving(env)
        flip = min(a_flip, b_flip)
        try:
            return operation(a, b), flip
        except ExpressionError as error:
            # A sum that leaves the calendar may come back into it as `now` moves: ask again at once.
            raise ExpressionError(str(error), min(flip, env.at + 1)) from None

    return Node(lambda env: operation(left(env), right(env)), moving, slope)


def _bounded(node: Node) -> Node:
    """A moving sum flips also when it leaves the calendar, or what a span can be: from then on it has no value."""
    if not node.slope:
        return node
    inner, rises = node.flipping(), node.slope > 0

    def moving(env: Environment) -> tuple[Value, int]:
        value, flip = inner(env)
        least, most = (TIMESTAMP_MIN, TIMESTAMP_MAX) if type(value) is Timestamp else (-DURATION_MAX, DURATION_MAX)
        room = most - _nanos(value) if rises else _nanos(value) - least
        leaves = env.at + room // 1000 + 1
        # `now` itself ends with the calendar: what comes after it is never asked for.
        return value, flip if leaves * 1000 > TIMESTAMP_MAX else min(flip, leaves)

    return Node(node.plain, moving, node.slope)


def _compare(function: str, left: Node, right: Node) -> Node:
    slope = left.slope - right.slope
    if slope not in (-1, 0, 1):
        raise Refused("`now` may count once in a comparison: rewrite it so that it stands on one side")
    if slope == 0:
        return _apply(FUNCTIONS[function], [left, right], 0)
    operation = FUNCTIONS[function]
    a_plain, b_plain, a_moving, b_moving = left.plain, right.plain, left.flipping(), right.flipping()

    def moving(env: Environment) -> tuple[Value, int]:
        (a, a_flip), (b, b_flip) = a_moving(env), b_moving(env)
        flip = min(a_flip, b_flip)
        if type(a) is not type(b):
            error = no_overload(function, a, b)
            error.flip = flip
            raise error
        wait = crossing(function, _nanos(a) - _nanos(b), slope)
        return operation(a, b), min(flip, NEVER if wait == NEVER else env.at + wait)

    return Node(lambda env: operation(a_plain(env), b_plain(env)), moving)


def _part(function: str, arguments: list[Node]) -> Node:
    moment, zone = arguments[0], arguments[1] if len(arguments) > 1 else None
    if zone is not None and zone.slope:
        raise Refused("a zone is a text, not a moment")
    if moment.slope < 0:
        raise Refused(f"{function} of a moment that runs backwards (something minus `now`) is not supported")
    operation, inner, inner_moving = FUNCTIONS[function], moment.plain, moment.flipping()
    zone_plain, zone_moving = (zone.plain, zone.flipping()) if zone is not None else (None, None)

    def plain(env: Environment) -> Value:
        return operation(inner(env), zone_plain(env)) if zone_plain else operation(inner(env))

    def moving(env: Environment) -> tuple[Value, int]:
        value, flip = inner_moving(env)
        names: tuple[Value, ...] = ()
        if zone_moving is not None:
            name, zone_flip = zone_moving(env)
            names, flip = (name,), min(flip, zone_flip)
        try:
            result, wait = operation(value, *names), changes_within(function, value, *names)
        except ExpressionError as error:
            # No such part, zone or year: the last may come, so ask again at once.
            raise ExpressionError(str(error), min(flip, env.at + 1)) from None
        return result, min(flip, env.at + max(1, -(-wait // 1000)))

    return Node(plain, moving)
