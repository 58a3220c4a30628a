"""`&&`, `||`, `?:` and negation of errors: the operators that do not evaluate all they are given.

Owns short circuits, the absorption of errors, and the witness rule (semantics TI6): where one operand decides, the
flip of the whole is that operand's.
"""

from __future__ import annotations

from .failure import ExpressionError, no_overload
from .node import Environment, Node, Refused
from .value import Value


def junction(left: Node, right: Node, *, decides: bool) -> Node:
    """`left || right` for `decides=True`, `left && right` for `decides=False`."""
    name = "_||_" if decides else "_&&_"
    first, second = left.plain, right.plain

    def plain(env: Environment) -> Value:
        try:
            value = first(env)
        except ExpressionError:
            if second(env) is decides:
                return decides
            raise
        if value is decides:
            return decides
        other = second(env)
        if other is decides:
            return decides
        if type(value) is not bool or type(other) is not bool:
            raise no_overload(name, value, other)
        return not decides

    if left.moving is None and right.moving is None:
        return Node(plain)
    first_moving, second_moving = left.flipping(), right.flipping()

    def moving(env: Environment) -> tuple[Value, int]:
        failed: ExpressionError | None = None
        value: Value = None
        try:
            value, flip = first_moving(env)
        except ExpressionError as error:
            failed, flip = error, error.flip
        if failed is None and value is decides:
            return decides, flip
        try:
            other, other_flip = second_moving(env)
        except ExpressionError as error:
            raise ExpressionError(str(error), min(flip, error.flip)) from None
        if other is decides:
            return decides, other_flip
        flip = min(flip, other_flip)
        if failed is not None:
            raise ExpressionError(str(failed), flip)
        if type(value) is not bool or type(other) is not bool:
            raise no_overload(name, value, other, flip=flip)
        return not decides, flip

    return Node(plain, moving)


def choice(condition: Node, then: Node, otherwise: Node) -> Node:
    """`condition ? then : otherwise`."""
    if then.slope or otherwise.slope:
        raise Refused("the branches of `? :` may not be moments that move with `now`; compare inside the branches")
    test, yes, no = condition.plain, then.plain, otherwise.plain

    def plain(env: Environment) -> Value:
        value = test(env)
        if value is True:
            return yes(env)
        if value is False:
            return no(env)
        raise no_overload("_?_:_", value)

    if condition.moving is None and then.moving is None and otherwise.moving is None:
        return Node(plain)
    test_moving, yes_moving, no_moving = condition.flipping(), then.flipping(), otherwise.flipping()

    def moving(env: Environment) -> tuple[Value, int]:
        value, flip = test_moving(env)
        if type(value) is not bool:
            error = no_overload("_?_:_", value)
            error.flip = flip
            raise error
        try:
            chosen, chosen_flip = (yes_moving if value else no_moving)(env)
        except ExpressionError as error:
            raise ExpressionError(str(error), min(flip, error.flip)) from None
        return chosen, min(flip, chosen_flip)

    return Node(plain, moving)


def not_strictly_false(operand: Node) -> Node:
    """What comprehensions ask before each round: anything but `false`, errors included, goes on."""
    inner, inner_moving = operand.plain, operand.flipping()

    def plain(env: Environment) -> Value:
        try:
            return inner(env) is not False
        except ExpressionError:
            return True

    def moving(env: Environment) -> tuple[Value, int]:
        try:
            value, flip = inner_moving(env)
        except ExpressionError as error:
            return True, error.flip
        return value is not False, flip

    return Node(plain, None if operand.moving is None else moving)
