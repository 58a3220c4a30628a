"""Expressions of the plan: a checked CEL tree, compiled to closures that also say when their value may change.

Owns CEL's values, operators and moving time. Knows nothing of contexts or plans: names and functions of those
come in through `Bindings`.
"""

from .compiler import Bindings, Compiled, Node, compile_tree
from .failure import ExpressionError
from .value import NEVER, Duration, Timestamp, UInt

__all__ = [
    "NEVER",
    "Bindings",
    "Compiled",
    "Duration",
    "ExpressionError",
    "Node",
    "Timestamp",
    "UInt",
    "compile_tree",
]
