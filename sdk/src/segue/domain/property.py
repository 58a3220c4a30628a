"""Properties: the types that a vocabulary can declare of a value, and whether a value is of one.

Owns what `string`, `int` and the others mean for a value out of JSON, and how a value that is of another type is
told: by its type, never by itself. Knows no plan.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from ..errors import FactError
from .expression.conversion import parse_timestamp
from .expression.failure import ExpressionError
from .vocabulary import EventName, TraitName, did_you_mean

TRAIT_INVALID: Final = "TRAIT_INVALID"
PROPERTY_INVALID: Final = "PROPERTY_INVALID"


def _is_int(value: Any) -> bool:
    return type(value) is int and -(1 << 63) <= value < 1 << 63


def _is_timestamp(value: Any) -> bool:
    try:
        return isinstance(value, str) and parse_timestamp(value) is not None
    except ExpressionError:
        return False


_IS: Final[Mapping[str, Callable[[Any], bool]]] = {
    "string": lambda value: type(value) is str,
    "bool": lambda value: type(value) is bool,
    "int": _is_int,
    "double": lambda value: type(value) is float or type(value) is int,
    "timestamp": _is_timestamp,
    "list": lambda value: type(value) is list,
    "map": lambda value: type(value) is dict,
}
_CURES: Final[Mapping[str, str]] = {
    "string": "a text", "bool": "true or false", "int": "a whole number of at most 64 bits", "double": "a number",
    "timestamp": 'an instant with a zone, e.g. "2026-05-04T10:42:00Z"', "list": "a list", "map": "an object",
}  # fmt: skip
PROPERTY_TYPES: Final = tuple(_IS)
"""What a declared property can be."""


def type_of(value: Any) -> str:
    """The type of a value out of JSON, in the vocabulary's words."""
    if value is None:
        return "null"
    names = {str: "string", bool: "bool", int: "int", float: "double", list: "list", dict: "map"}
    return names.get(type(value), type(value).__name__)


def check_trait(name: str, value: Any, declared: TraitName) -> None:
    """Holds a trait's value against what the vocabulary declares of it.

    Raises:
        FactError: TRAIT_INVALID: names field, the value's type, what is allowed and the cure.
    """
    if not _IS[declared.type](value):
        raise _misfit("properties.value", value, f"trait {name!r} is declared as", declared.type, TRAIT_INVALID)
    if declared.one_of and value not in declared.one_of:
        allowed = ", ".join(declared.one_of[:20]) + (" ..." if len(declared.one_of) > 20 else "")
        raise FactError(
            f"trait {name!r} is one of {allowed}, and this is another {declared.type}", field="properties.value",
            cure=did_you_mean(str(value), declared.one_of), code=TRAIT_INVALID,
        )  # fmt: skip


def check_properties(name: str, properties: Mapping[str, Any], declared: EventName) -> None:
    """Holds an event's properties against the declared ones; one that is absent or null says nothing.

    Raises:
        FactError: PROPERTY_INVALID: names field, the value's type, what is allowed and the cure.
    """
    for property_, type_ in declared.properties.items():
        value = properties.get(property_)
        if value is not None and not _IS[type_](value):
            raise _misfit(f"properties.{property_}", value, f"event {name!r} declares it as", type_, PROPERTY_INVALID)


def _misfit(field: str, value: Any, declares: str, type_: str, code: str) -> FactError:
    return FactError(
        f"is of type {type_of(value)}, but {declares} {type_}", field=field,
        cure=f"Send {_CURES[type_]}, or correct the type in vocabulary.yaml", code=code,
    )  # fmt: skip
