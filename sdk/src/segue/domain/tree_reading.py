"""What a checked tree tells without being evaluated.

Owns static answers: which event types can make a condition true, which sections of a context and which incidents it
reads, how large the counts are that it compares with.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from .activity import MOST

if TYPE_CHECKING:
    from .vocabulary import Vocabulary

Tree = list[Any]
_COMPARISONS: Final = frozenset({"_<_", "_<=_", "_>_", "_>=_", "_==_", "_!=_"})


def nodes(tree: Tree) -> Iterator[Tree]:
    """Every node of a tree, the root first."""
    yield tree
    form = tree[0]
    if form in ("select", "has"):
        yield from nodes(tree[1])
    elif form == "call":
        for argument in tree[2]:
            yield from nodes(argument)
    elif form == "list":
        for item in tree[1]:
            yield from nodes(item)
    elif form == "map":
        for entry in tree[1]:
            for part in entry:
                yield from nodes(part)
    elif form == "fold":
        for part in (tree[2], *tree[4:]):
            yield from nodes(part)


def event_types(tree: Tree) -> frozenset[str] | None:
    """The event types for which a condition can be true; None where any can."""
    if tree[0] == "bool":
        return None if tree[1] else frozenset()
    if tree[0] != "call":
        return None
    function, arguments = tree[1], tree[2]
    if function == "_==_":
        for name, value in (arguments, arguments[::-1]):
            if name == ["ident", "event.type"] and value[0] == "string":
                return frozenset({value[1]})
    elif function == "@in" and arguments[0] == ["ident", "event.type"] and arguments[1][0] == "list":
        if all(item[0] == "string" for item in arguments[1][1]):
            return frozenset(item[1] for item in arguments[1][1])
    elif function in ("_&&_", "_||_"):
        left, right = event_types(arguments[0]), event_types(arguments[1])
        if function == "_&&_":
            return right if left is None else left if right is None else left & right
        return None if left is None or right is None else left | right
    return None


def type_decides(tree: Tree) -> bool:
    """Whether the event type alone decides a condition: then it is true for its `event_types` and for no other."""
    if tree[0] != "call":
        return bool(tree[0] == "bool")
    if tree[1] in ("_&&_", "_||_"):
        return all(type_decides(argument) for argument in tree[2])
    return tree[1] in ("_==_", "@in") and event_types(tree) is not None


def property_named(tree: Tree) -> str:
    """The name where an expression is nothing but a property of the event: `event.properties.transfer_id`."""
    plain = tree[0] == "select" and tree[1] == ["ident", "event.properties"]
    return str(tree[2]) if plain else ""


def inputs(tree: Tree, vocabulary: Vocabulary, audiences: dict[str, frozenset[str]] | None = None) -> frozenset[str]:
    """The sections, in the words of grants, that an expression reads."""
    found: set[str] = set()
    for node in nodes(tree):
        if node[0] == "ident":
            head, _, rest = node[1].partition(".")
            if head == "trait":
                found.add(trait_section(rest, vocabulary))
            elif head == "journey":
                found.add("journeys")
            elif head == "effort":
                found.add("interactions")
        elif node[0] == "call":
            function, arguments = node[1], node[2]
            if function in ("seen", "count", "last"):
                found.add("activity")
            elif function == "known":
                found.add(trait_section(arguments[0][1], vocabulary))
            elif function == "journeys":
                found.add("journeys")
            elif function == "claim":
                found.add("claims")
            elif function == "holdout":
                found.add("actions")
            elif function == "consents_to":
                found.add("consents")
            elif function == "subscribed":
                found.add("subscriptions")
            elif function == "in_audience" and audiences is not None:
                found |= audiences.get(arguments[0][1], frozenset())
    return frozenset(found)


def trait_section(name: str, vocabulary: Vocabulary) -> str:
    """The section of a trait: `traits.` and its label."""
    declared = vocabulary.traits.get(name)
    return f"traits.{declared.label if declared else 'general'}"


def incidents(tree: Tree) -> frozenset[str]:
    """The ids of the incidents that an expression reads."""
    return frozenset(
        node[2][0][1] for node in nodes(tree) if node[0] == "call" and node[1] == "incident" and len(node[2]) == 1
    )


def counted(tree: Tree) -> dict[str, int]:
    """By channel or event type, the largest number that a count of it is compared with; the most where bare."""
    found: dict[str, int] = {}
    compared: set[int] = set()
    for node in nodes(tree):
        if node[0] != "call" or len(node[2]) != 2:
            continue
        if node[1] == "count" and node[2][0][0] == "string" and id(node) not in compared:
            found[node[2][0][1]] = MOST
        for side, other in (node[2], node[2][::-1]) if node[1] in _COMPARISONS else ():
            if side[0] == "call" and side[1] == "count" and other[0] == "int" and side[2][0][0] == "string":
                name = side[2][0][1]
                found[name] = max(found.get(name, 0), int(other[1]))
                compared.add(id(side))
    return found
