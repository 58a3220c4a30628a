"""Google's own conformance cases for CEL, through Segue's pipeline: checked by Google, compiled and evaluated by us.

Holds that an expression means in Segue what it means in CEL: the same value of the same type (`1` is not `1u`), or an
error where CEL has one. Cases that need protobuf messages are left out, since no context holds one; whatever else
does not pass is listed in `cel_skips.txt`, one a line with its reason, and the list may neither grow stale nor long.
"""

from __future__ import annotations

import math
import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from cel.expr import checked_pb2, value_pb2

# Registers the messages that some cases speak of, or their files could not be read.
from cel.expr.conformance.proto2 import test_all_types_extensions_pb2, test_all_types_pb2  # noqa: F401
from cel.expr.conformance.proto3 import test_all_types_pb2 as proto3_test_all_types_pb2  # noqa: F401
from cel.expr.conformance.test import simple_pb2
from cel_expr_python import cel
from google.protobuf import any_pb2, duration_pb2, text_format, timestamp_pb2
from segue.domain.expression import NEVER, ExpressionError, Node, UInt, compile_tree
from segue.domain.expression.node import Refused
from segue.domain.expression.value import NANOS, Duration, Timestamp, TypeValue, map_key
from segue_hub.checking.expression import ExpressionFlawed, parse_unchecked, tree_of

CASES_FOLDER = Path(__file__).parents[2].parent / "shared/data/cel_conformance"
SKIPS_FILE = Path(__file__).with_name("cel_skips.txt")

if not CASES_FOLDER.is_dir():
    pytest.skip(f"the conformance cases are not beside the checkout ({CASES_FOLDER})", allow_module_level=True)

pytestmark = pytest.mark.data

MESSAGE_IN_TEXT = re.compile(r"TestAllTypes|google\.protobuf\.\w+\s*\{")
WELL_KNOWN = {"google.protobuf.Timestamp": timestamp_pb2.Timestamp, "google.protobuf.Duration": duration_pb2.Duration}


def needs_messages(case: simple_pb2.SimpleTest) -> bool:
    """Builds or receives a protobuf message other than an instant or a span, or resolves names of messages."""
    return bool(
        case.container.startswith("cel.expr.conformance")
        or MESSAGE_IN_TEXT.search(case.expr)
        or any(_holds_message(value) for value in [case.value, *(b.value for b in case.bindings.values())])
        or any(d.ident.type.message_type not in ("", *WELL_KNOWN) for d in case.type_env)
    )


def _holds_message(value: value_pb2.Value) -> bool:
    if value.WhichOneof("kind") == "object_value":
        return value.object_value.TypeName() not in WELL_KNOWN
    parts = [*value.list_value.values]
    for entry in value.map_value.entries:
        parts += [entry.key, entry.value]
    return value.WhichOneof("kind") == "enum_value" or any(_holds_message(part) for part in parts)


def _load() -> dict[str, simple_pb2.SimpleTest]:
    found: dict[str, simple_pb2.SimpleTest] = {}
    for path in sorted(CASES_FOLDER.glob("*.textproto")):
        for section in text_format.Parse(path.read_text("utf-8"), simple_pb2.SimpleTestFile()).section:
            for case in section.test:
                name = again = f"{path.stem}/{section.name}/{case.name}"
                number = 1
                while again in found:
                    number += 1
                    again = f"{name}#{number}"
                found[again] = case
    return found


def _skips() -> dict[str, str]:
    lines = [line for line in SKIPS_FILE.read_text("utf-8").splitlines() if line and not line.startswith("#")]
    return dict(line.split(": ", 1) for line in lines)


ALL = _load()
CASES = {name: case for name, case in ALL.items() if not needs_messages(case)}
SKIPS = _skips()

_PRIMITIVES = {
    "BOOL": cel.Type.BOOL, "INT64": cel.Type.INT, "UINT64": cel.Type.UINT, "DOUBLE": cel.Type.DOUBLE,
    "STRING": cel.Type.STRING, "BYTES": cel.Type.BYTES,
}  # fmt: skip
_WELL_KNOWN_TYPES = {"ANY": cel.Type.DYN, "TIMESTAMP": cel.Type.TIMESTAMP, "DURATION": cel.Type.DURATION}


def declared(type_: checked_pb2.Type) -> Any:
    """The type of a declaration, for Google's checker."""
    kind = type_.WhichOneof("type_kind")
    if kind == "primitive":
        return _PRIMITIVES[checked_pb2.Type.PrimitiveType.Name(type_.primitive)]
    if kind == "well_known":
        return _WELL_KNOWN_TYPES[checked_pb2.Type.WellKnownType.Name(type_.well_known)]
    if kind == "list_type":
        return cel.Type.List(declared(type_.list_type.elem_type))
    if kind == "map_type":
        return cel.Type.Map(declared(type_.map_type.key_type), declared(type_.map_type.value_type))
    if kind == "message_type":
        return cel.Type(type_.message_type)
    return {"dyn": cel.Type.DYN, "null": cel.Type.NULL}[kind]


def ours(value: value_pb2.Value) -> Any:
    """A value of a case as Segue's expressions hold it."""
    kind = value.WhichOneof("kind")
    if kind == "null_value":
        return None
    if kind == "uint64_value":
        return UInt(value.uint64_value)
    if kind == "type_value":
        return TypeValue(value.type_value)
    if kind == "list_value":
        return [ours(item) for item in value.list_value.values]
    if kind == "map_value":
        return {map_key(ours(entry.key)): ours(entry.value) for entry in value.map_value.entries}
    if kind == "object_value":
        name = value.object_value.TypeName()
        message = WELL_KNOWN[name]()
        value.object_value.Unpack(message)
        nanos = message.seconds * NANOS + message.nanos
        return Timestamp(nanos) if name == "google.protobuf.Timestamp" else Duration(nanos)
    return getattr(value, kind)


def identical(left: Any, right: Any) -> bool:
    """The same value of the same type; NaN is NaN, and -0.0 is not 0.0."""
    if type(left) is not type(right):
        return False
    if type(left) is float:
        return str(left) == str(right) if math.isnan(left) or left == 0 else left == right
    if type(left) is list:
        return len(left) == len(right) and all(map(identical, left, right))
    if type(left) is dict:
        # A key that is equal but of another type is another key.
        keys = {key: key for key in right}
        return left.keys() == right.keys() and all(
            type(key) is type(keys[key]) and identical(value, right[key]) for key, value in left.items()
        )
    return bool(left == right)


class Names:
    """The bindings of a case: variables by their name, dotted names too; no functions."""

    def __init__(self, values: dict[str, Any]) -> None:
        self.values = values

    def variable(self, name: str) -> Node | None:
        if name not in self.values:
            return None
        return Node(lambda env: self.values[name])

    def function(self, name: str, arguments: list[Node]) -> Node | None:
        return None


class Surroundings:
    """What evaluation reads; these cases ask for no moment."""

    def __init__(self) -> None:
        self.at = 0
        self.locals: dict[str, Any] = {}
        self.flips: dict[str, int] = {}


def checked(case: simple_pb2.SimpleTest) -> list[Any]:
    """The checked tree of a case, as the hub would make it."""
    declarations = {d.name: declared(d.ident.type) for d in case.type_env if d.HasField("ident")}
    environment = cel.NewEnv(variables=declarations, container=case.container or None)
    if case.disable_check:
        return tree_of(parse_unchecked(environment, case.expr))
    expression = checked_pb2.CheckedExpr()
    any_pb2.Any.FromString(environment.compile(case.expr).serialize()).Unpack(expression)
    return tree_of(expression.expr)


def fault(case: simple_pb2.SimpleTest) -> str:
    """What is wrong with our answer to a case; empty where it is right."""
    wants_error = case.WhichOneof("result_matcher") == "eval_error"
    try:
        values = {name: ours(binding.value) for name, binding in case.bindings.items()}
        compiled = compile_tree(checked(case), Names(values))
    except (Refused, ExpressionFlawed) as error:
        return "" if wants_error else f"refused: {error}"
    try:
        value = compiled.value(Surroundings())
    except ExpressionError as error:
        return "" if wants_error else f"error: {error}"
    if wants_error:
        return f"gave {value!r} where CEL has an error"
    expected = ours(case.value) if case.HasField("value") else True
    if not identical(value, expected):
        return f"gave {value!r}, not {expected!r}"
    again = compiled.node.flipping()(Surroundings())
    return "" if identical(again[0], expected) and again[1] == NEVER else f"gave {again!r} when asked for its flip"


@cache
def fault_of(name: str) -> str:
    return fault(CASES[name])


@pytest.mark.parametrize("name", CASES)
def test_an_expression_means_in_segue_what_it_means_in_cel(name: str) -> None:
    if name in SKIPS:
        pytest.skip(SKIPS[name])
    assert not fault_of(name), f"{CASES[name].expr}: {fault_of(name)}"


def test_nearly_every_published_case_is_run() -> None:
    assert len(ALL) > 900
    assert len(CASES) >= 0.9 * len(ALL)


def test_at_most_one_case_in_twenty_is_skipped() -> None:
    assert len(SKIPS) <= 0.05 * len(CASES)


def test_every_skip_names_a_case_and_a_reason() -> None:
    assert not [name for name, reason in SKIPS.items() if name not in CASES or not reason.strip()]


def test_no_skip_is_stale() -> None:
    assert not [name for name in SKIPS if name in CASES and not fault_of(name)]
