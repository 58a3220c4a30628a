"""Comprehensions: `exists`, `all`, `exists_one`, `map`, `filter`, as the checker unfolds them.

Owns the loop. An error in a round is kept as the accumulator, so that `exists` and `all` absorb it as CEL says.
"""

from __future__ import annotations

from .failure import ExpressionError, no_overload
from .node import Environment, Node, Refused
from .value import NEVER, Value, key_value


def local(name: str) -> Node:
    """A variable of a comprehension."""

    def plain(env: Environment) -> Value:
        value = env.locals[name]
        if type(value) is ExpressionError:
            raise ExpressionError(str(value), value.flip)
        return value

    def moving(env: Environment) -> tuple[Value, int]:
        return plain(env), env.flips.get(name, NEVER)

    return Node(plain, moving)


def _rounds(value: Value, flip: int = NEVER) -> list[Value]:
    if type(value) is list:
        return value
    if type(value) is dict:
        return [key_value(key) for key in value]
    error = no_overload("comprehension", value)
    error.flip = flip
    raise error


def comprehension(item: str, items: Node, accumulator: str, parts: tuple[Node, Node, Node, Node]) -> Node:
    """The loop over `items`; `parts` are initial value, condition, step and result."""
    initial, condition, step, result = parts
    if any(part.slope for part in (items, *parts)):
        raise Refused("a list may not hold moments that move with `now`; compare them inside the macro")

    def plain(env: Environment) -> Value:
        variables = env.locals
        hidden = variables.get(item), variables.get(accumulator)
        try:
            sequence = _rounds(items.plain(env))
            variables[accumulator] = initial.plain(env)
            for value in sequence:
                variables[item] = value
                if condition.plain(env) is not True:
                    break
                try:
                    variables[accumulator] = step.plain(env)
                except ExpressionError as error:
                    variables[accumulator] = error
            return result.plain(env)
        finally:
            variables[item], variables[accumulator] = hidden

    items_moving, step_moving, result_moving = items.flipping(), step.flipping(), result.flipping()

    def moving(env: Environment) -> tuple[Value, int]:
        variables, flips = env.locals, env.flips
        hidden = variables.get(item), variables.get(accumulator), flips.get(item, NEVER), flips.get(accumulator, NEVER)
        try:
            value, items_flip = items_moving(env)
            sequence = _rounds(value, items_flip)
            variables[accumulator], flips[accumulator] = initial.plain(env), NEVER
            for value in sequence:
                variables[item], flips[item] = value, NEVER
                if condition.plain(env) is not True:
                    break
                try:
                    variables[accumulator], flips[accumulator] = step_moving(env)
                except ExpressionError as error:
                    variables[accumulator], flips[accumulator] = error, error.flip
            try:
                value, flip = result_moving(env)
            except ExpressionError as error:
                raise ExpressionError(str(error), min(items_flip, error.flip)) from None
            return value, min(items_flip, flip)
        finally:
            variables[item], variables[accumulator], flips[item], flips[accumulator] = hidden

    return Node(plain, moving)
