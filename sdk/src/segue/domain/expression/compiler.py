"""From a checked tree to closures.

Owns the form of the tree (nested lists, so that any language reads it as JSON) and its compilation, once, before
anything is asked. What names and domain functions mean comes from `Bindings`.

The tree: `["null"] ["bool", b] ["int", n] ["uint", n] ["double", x | "NaN" | "inf" | "-inf"] ["string", s]
["bytes", base64] ["ident", name] ["select", node, field] ["has", node, field] ["call", function, [node...]]
["list", [node...]] ["map", [[key, value]...]] ["fold", item, items, accumulator, initial, condition, step, result]`.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Protocol

from .comprehension import comprehension, local
from .failure import ExpressionError
from .logic import choice, junction, not_strictly_false
from .moving import moving_call
from .node import Environment, Node, Refused, constant
from .operator import FUNCTIONS, has, select
from .value import NEVER, TYPE_NAMES, TypeValue, UInt, Value, map_key

__all__ = ["Bindings", "Compiled", "Node", "Refused", "compile_tree"]

Tree = list[Any]
_TYPES: Final = {name: TypeValue(name) for name in TYPE_NAMES.values()}
_TYPES["timestamp"], _TYPES["duration"] = _TYPES["google.protobuf.Timestamp"], _TYPES["google.protobuf.Duration"]
_DEPTH: Final = 120
_MIRRORED: Final = {"_<_": "_>_", "_<=_": "_>=_", "_>_": "_<_", "_>=_": "_<=_", "_==_": "_==_", "_!=_": "_!=_"}


_HOSTILE: Final = (RecursionError, OverflowError, ValueError, TypeError)
"""What Python raises on values that no customer has: an evaluation without a value, never the end of a fold."""
_NO_VALUE: Final = (ExpressionError, *_HOSTILE)


class Bindings(Protocol):
    """What the names of an expression mean."""

    def variable(self, name: str) -> Node | None:
        """The node of a variable, or None where it is not known."""

    def function(self, name: str, arguments: list[Node]) -> Node | None:
        """The node of a call of a domain function, or None where it is a standard one."""


@dataclass(frozen=True, slots=True)
class Compiled:
    """An expression ready to be asked.

    Attributes:
        node: the compiled root.
        moves: whether mere time can change the answer.
    """

    node: Node
    moves: bool

    def value(self, env: Environment) -> Value:
        """The value at `env.at`; raises `ExpressionError`."""
        try:
            return self.node.plain(env)
        except _HOSTILE as error:
            raise ExpressionError(f"{type(error).__name__}: {error}") from None

    def holds(self, env: Environment) -> bool:
        """Whether the expression is true at `env.at`; an error is false."""
        try:
            return self.node.plain(env) is True
        except _NO_VALUE:
            return False

    def holds_until(self, env: Environment) -> tuple[bool, int]:
        """Whether it is true at `env.at`, and the first later instant (microseconds) at which that may change."""
        try:
            value, flip = self.node.flipping()(env)
        except ExpressionError as error:
            return False, error.flip
        except _HOSTILE:
            return False, NEVER
        return value is True, flip


def compile_tree(tree: Tree, bindings: Bindings) -> Compiled:
    """Compiles a checked tree.

    Raises:
        Refused: the tree uses something that this evaluator does not have; the message names it.
    """
    node = _Compiler(bindings).node(tree, 0)
    if node.slope:
        raise Refused("the whole expression is a moment that moves with `now`; compare it with something")
    return Compiled(node, node.moving is not None)


class _Compiler:
    def __init__(self, bindings: Bindings) -> None:
        self.bindings = bindings
        self.scope: list[str] = []

    def node(self, tree: Tree, depth: int) -> Node:
        if depth > _DEPTH:
            raise Refused(f"the expression is nested deeper than {_DEPTH} levels; split it into audiences")
        try:
            build = _FORMS[tree[0]]
        except (KeyError, IndexError, TypeError):
            raise Refused(f"unknown form in a checked tree: {tree!r:.60}") from None
        return build(self, tree, depth + 1)

    def double(self, tree: Tree, depth: int) -> Node:
        return constant(float(tree[1]))

    def ident(self, tree: Tree, depth: int) -> Node:
        name: str = tree[1]
        if name in self.scope:
            return local(name)
        node = self.bindings.variable(name)
        if node is not None:
            return node
        if name in _TYPES:
            return constant(_TYPES[name])
        raise Refused(f"nothing is called {name!r} here")

    def select(self, tree: Tree, depth: int) -> Node:
        operand, field = self.node(tree[1], depth), tree[2]
        if operand.part is not None:
            return operand.part(field)
        return self.apply(lambda value: select(value, field), [operand])

    def has(self, tree: Tree, depth: int) -> Node:
        operand, field = self.node(tree[1], depth), tree[2]
        if operand.part is not None:
            raise Refused(f"has(...) of {field!r} tells nothing: it is always there. Ask for it without has()")
        return self.apply(lambda value: has(value, field), [operand])

    def call(self, tree: Tree, depth: int) -> Node:
        function: str = tree[1]
        arguments = [self.node(argument, depth) for argument in tree[2]]
        if function == "_||_" or function == "_&&_":
            return junction(arguments[0], arguments[1], decides=function == "_||_")
        if function == "_?_:_":
            return choice(arguments[0], arguments[1], arguments[2])
        if function in ("@not_strictly_false", "__not_strictly_false__"):
            return not_strictly_false(arguments[0])
        node = self.bindings.function(function, arguments)
        if node is not None:
            if any(argument[0] != "string" for argument in tree[2]):
                # What a plan reads is told from its trees: a name that is put together there would be read unseen.
                raise Refused(f"{function}(...) takes texts that are written out, so that the plan can be checked")
            return node
        if function not in FUNCTIONS:
            raise Refused(f"the function {function.strip('_')!r} is not supported")
        node = self.threshold(function, arguments)
        if node is not None:
            return node
        if any(argument.slope for argument in arguments):
            return moving_call(function, arguments)
        return self.apply(FUNCTIONS[function], arguments)

    def threshold(self, function: str, arguments: list[Node]) -> Node | None:
        if function not in _MIRRORED:
            return None
        left, right = arguments
        if left.threshold is not None and right.constant is not None and type(right.constant[0]) is int:
            return left.threshold(function, right.constant[0])
        if right.threshold is not None and left.constant is not None and type(left.constant[0]) is int:
            return right.threshold(_MIRRORED[function], left.constant[0])
        return None

    def items(self, tree: Tree, depth: int) -> Node:
        return self.apply(lambda *values: list(values), [self.node(item, depth) for item in tree[1]])

    def entries(self, tree: Tree, depth: int) -> Node:
        parts = [self.node(part, depth) for entry in tree[1] for part in entry]

        def build(*values: Value) -> Value:
            result: dict[Any, Value] = {}
            for key, value in zip(values[::2], values[1::2], strict=True):
                if type(key) not in (int, UInt, bool, str):
                    raise ExpressionError(f"{key!r} cannot be the key of a map")
                if map_key(key) in result:
                    raise ExpressionError(f"the key {key!r} stands twice in a map")
                result[map_key(key)] = value
            return result

        return self.apply(build, parts)

    def fold(self, tree: Tree, depth: int) -> Node:
        _, item, items, accumulator, initial, condition, step, result = tree
        sequence, start = self.node(items, depth), self.node(initial, depth)
        self.scope += [item, accumulator]
        try:
            parts = (start, self.node(condition, depth), self.node(step, depth), self.node(result, depth))
        finally:
            del self.scope[-2:]
        return comprehension(item, sequence, accumulator, parts)

    def apply(self, operation: Callable[..., Value], arguments: list[Node]) -> Node:
        """A strict call: all arguments, then the operation; its flip is the earliest of theirs."""
        if any(argument.slope for argument in arguments):
            raise Refused("a moment that moves with `now` cannot stand here; compare it first")
        if all(argument.constant is not None for argument in arguments):
            values = [argument.constant[0] for argument in arguments if argument.constant is not None]
            try:
                return constant(operation(*values))
            except ExpressionError as error:
                return _failing(str(error))
        plains = [argument.plain for argument in arguments]
        node = Node(_strict(operation, plains))
        if any(argument.moving is not None for argument in arguments):
            node.moving = _strict_moving(operation, [argument.flipping() for argument in arguments])
        return node


def _failing(message: str) -> Node:
    def plain(env: Environment) -> Value:
        raise ExpressionError(message)

    return Node(plain)


def _strict(operation: Callable[..., Value], plains: list[Callable[[Environment], Value]]) -> Callable[..., Value]:
    if len(plains) == 1:
        (only,) = plains
        return lambda env: operation(only(env))
    if len(plains) == 2:
        first, second = plains
        return lambda env: operation(first(env), second(env))
    return lambda env: operation(*[plain(env) for plain in plains])


def _strict_moving(
    operation: Callable[..., Value], movings: list[Callable[[Environment], tuple[Value, int]]]
) -> Callable[[Environment], tuple[Value, int]]:
    def moving(env: Environment) -> tuple[Value, int]:
        flip, values = (1 << 63) - 1, []
        for argument in movings:
            value, other = argument(env)
            values.append(value)
            flip = min(flip, other)
        try:
            return operation(*values), flip
        except ExpressionError as error:
            raise ExpressionError(str(error), flip) from None

    return moving


_FORMS: Final[dict[str, Callable[[_Compiler, Tree, int], Node]]] = {
    "null": lambda compiler, tree, depth: constant(None),
    "bool": lambda compiler, tree, depth: constant(bool(tree[1])),
    "int": lambda compiler, tree, depth: constant(int(tree[1])),
    "uint": lambda compiler, tree, depth: constant(UInt(tree[1])),
    "double": _Compiler.double,
    "string": lambda compiler, tree, depth: constant(str(tree[1])),
    "bytes": lambda compiler, tree, depth: constant(base64.b64decode(tree[1])),
    "ident": _Compiler.ident,
    "select": _Compiler.select,
    "has": _Compiler.has,
    "call": _Compiler.call,
    "list": _Compiler.items,
    "map": _Compiler.entries,
    "fold": _Compiler.fold,
}
