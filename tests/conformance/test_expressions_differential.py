"""Random expressions, asked of Google's evaluator and of ours: the same value, or an error from both.

Holds that no combination of operators, macros and values means something else in Segue than in CEL. What is drawn
stays where a value survives the way through Python: whole microseconds, and no text of an infinite double.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import Any

from cel.expr import checked_pb2
from cel_expr_python import cel
from google.protobuf import any_pb2
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from segue.domain.expression import NEVER, Duration, ExpressionError, Node, Timestamp, UInt, compile_tree
from segue.domain.expression.value import key_value
from segue_hub.checking.expression import tree_of

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
VARIABLES = {
    "i": "int", "j": "int", "u": "uint", "v": "uint", "x": "double", "y": "double", "s": "string", "t": "string",
    "p": "bool", "q": "bool", "a": "timestamp", "b": "timestamp", "d": "duration", "e": "duration",
    "li": "ints", "ls": "strings", "m": "map",
}  # fmt: skip
TYPES = {
    "int": cel.Type.INT, "uint": cel.Type.UINT, "double": cel.Type.DOUBLE, "string": cel.Type.STRING,
    "bool": cel.Type.BOOL, "timestamp": cel.Type.TIMESTAMP, "duration": cel.Type.DURATION,
    "ints": cel.Type.List(cel.Type.INT), "strings": cel.Type.List(cel.Type.STRING),
    "map": cel.Type.Map(cel.Type.STRING, cel.Type.INT),
}  # fmt: skip
ENVIRONMENT = cel.NewEnv(variables={name: TYPES[kind] for name, kind in VARIABLES.items()})

EDGES = [0, 1, -1, 2, 7, 100, 2**53 + 1, 2**63 - 1, -(2**63)]
WORDS = ["", "a", "ab", "é", "😀", "B", "12", "true", "1.5", "90s"]
ZONES = ["", "UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "+05:30", "Nowhere"]
CALENDAR_PARTS = [
    "getFullYear", "getMonth", "getDayOfYear", "getDayOfMonth", "getDate", "getDayOfWeek", "getHours", "getMinutes",
    "getSeconds", "getMilliseconds",
]  # fmt: skip

MICROS = st.integers(0, 4_000_000_000_000_000)
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "int": st.sampled_from(EDGES) | st.integers(-5, 5),
    "uint": (st.sampled_from([0, 1, 7, 2**53 + 1, 2**64 - 1]) | st.integers(0, 5)).map(UInt),
    "double": st.sampled_from([0.0, -0.0, 0.5, 1.0, -1.5, 2.0, 1e6, 1e18, 2.0**53, 2.0**63, 1e300, 1234567.25])
    | st.floats(-1e9, 1e9),
    "string": st.sampled_from(WORDS) | st.text("aé😀 b1", max_size=4),
    "bool": st.booleans(),
    "timestamp": MICROS.map(lambda micros: Timestamp(micros * 1000)),
    "duration": st.integers(-(10**13), 10**13).map(lambda micros: Duration(micros * 1000)),
    "ints": st.lists(st.integers(-3, 3), max_size=4),
    "strings": st.lists(st.sampled_from(WORDS), max_size=3),
    "map": st.dictionaries(st.sampled_from(["a", "b", "é"]), st.integers(-3, 3), max_size=3),
}


def literal(kind: str, value: Any) -> str:
    if kind == "string":
        return f"'{value}'"
    if kind == "uint":
        return f"{int(value)}u"
    if kind == "bool":
        return str(value).lower()
    if kind == "timestamp":
        return f"timestamp('{(EPOCH + timedelta(microseconds=value.nanos // 1000)).isoformat()}')"
    if kind == "duration":
        return f"duration('{value.nanos // 1000}us')"
    if kind == "double":
        return repr(float(value))
    if kind == "map":
        return "{" + ", ".join(f"'{key}': {item}" for key, item in value.items()) + "}"
    if kind == "strings":
        return "[" + ", ".join(f"'{item}'" for item in value) + "]"
    return str(value)


# What makes a value of each type: a form with the types of its parts in braces. `{n}` is the number of a loop, so
# that loops within loops have variables of their own.
FORMS: dict[str, list[str]] = {
    "int": [
        "({int} + {int})", "({int} - {int})", "({int} * {int})", "({int} / {int})", "({int} % {int})", "(-{int})",
        "({bool} ? {int} : {int})", "int({uint})", "int({double})", "int({string})", "int({timestamp})",
        "size({string})", "size({ints})", "size({map})", "{ints}[{int}]", "{map}[{string}]", "{map}.a",
        "{timestamp}.{part}()", "{timestamp}.{part}({zone})", "{duration}.getHours()", "{duration}.getMinutes()",
        "{duration}.getSeconds()", "{duration}.getMilliseconds()", "int(dyn({double}))",
    ],
    "uint": [
        "({uint} + {uint})", "({uint} - {uint})", "({uint} * {uint})", "({uint} / {uint})", "({uint} % {uint})",
        "uint({int})", "uint({double})", "uint({string})", "({bool} ? {uint} : {uint})",
    ],
    "double": [
        "({double} + {double})", "({double} - {double})", "({double} * {double})", "({double} / {double})",
        "(-{double})", "double({int})", "double({uint})", "double({string})", "({bool} ? {double} : {double})",
    ],
    "string": [
        "({string} + {string})", "string({int})", "string({uint})", "string({bool})", "string(x)", "string(y)",
        "string({timestamp})", "string({duration})", "{strings}[{int}]", "({bool} ? {string} : {string})",
    ],
    "bool": [
        "({bool} && {bool})", "({bool} || {bool})", "(!{bool})", "({bool} ? {bool} : {bool})",
        "({int} {compare} {int})", "({uint} {compare} {uint})", "({double} {compare} {double})",
        "({string} {compare} {string})", "({timestamp} {compare} {timestamp})", "({duration} {compare} {duration})",
        "({bool} {compare} {bool})", "(dyn({int}) {compare} {double})", "(dyn({uint}) {compare} {double})",
        "(dyn({int}) {compare} {uint})", "(dyn({double}) {compare} {int})", "(dyn({int}) {compare} {string})",
        "({ints} == {ints})", "({map} != {map})", "(dyn({ints}) == [{double}, {double}])",
        "({int} in {ints})", "({string} in {strings})", "({string} in {map})", "(dyn({double}) in {ints})",
        "{string}.startsWith({string})", "{string}.endsWith({string})", "{string}.contains({string})",
        "has({map}.b)", "bool({string})", "(type({int}) == type(dyn({uint})))", "(type({double}) == double)",
        "{ints}.exists(k{n}, k{n} > {int})", "{ints}.all(k{n}, {int} / k{n} < {int})",
        "{ints}.exists_one(k{n}, k{n} == {int})", "{ints}.exists(k{n}, {int} % k{n} == 0 || {bool})",
        "{strings}.all(w{n}, w{n}.contains({string}))", "{map}.exists(w{n}, w{n} == {string})",
        "{ints}.all(k{n}, {ints}.exists(o{n}, o{n} == k{n}))",
    ],
    "timestamp": [
        "({timestamp} + {duration})", "({timestamp} - {duration})", "({duration} + {timestamp})",
        "({bool} ? {timestamp} : {timestamp})", "timestamp(string({timestamp}))", "timestamp({string})",
    ],
    "duration": [
        "({duration} + {duration})", "({duration} - {duration})", "({timestamp} - {timestamp})",
        "({bool} ? {duration} : {duration})", "duration(string({duration}))", "duration({string})",
    ],
    "ints": [
        "({ints} + {ints})", "{ints}.filter(k{n}, k{n} > {int})", "{ints}.map(k{n}, k{n} + {int})",
        "{ints}.map(k{n}, k{n} > 0, {int} / k{n})", "[{int}, {int}]", "({bool} ? {ints} : {ints})",
        "{strings}.map(w{n}, size(w{n}))",
    ],
    "strings": ["({strings} + {strings})", "{strings}.filter(w{n}, w{n} != {string})", "[{string}, {string}]"],
    "map": ["{{'a': {int}, 'b': {int}}}", "({bool} ? {map} : {map})", "{{{string}: {int}}}"],
}  # fmt: skip


class _Parts(dict[str, str]):
    """Draws the parts of a form as it asks for them."""

    def __init__(self, draw: Any, depth: int, number: list[int]) -> None:
        super().__init__()
        self.draw, self.depth, self.count = draw, depth, number
        number[0] += 1
        self["n"] = str(number[0])

    def __missing__(self, kind: str) -> str:
        if kind == "compare":
            return str(self.draw(st.sampled_from(["<", "<=", ">", ">=", "==", "!="])))
        if kind == "part":
            return str(self.draw(st.sampled_from(CALENDAR_PARTS)))
        if kind == "zone":
            return literal("string", self.draw(st.sampled_from(ZONES)))
        return text_of(self.draw, kind, self.depth - 1, self.count)


def text_of(draw: Any, kind: str, depth: int, number: list[int]) -> str:
    choice = draw(st.integers(0, 9)) if depth > 0 else draw(st.integers(0, 3))
    if choice < 3:
        return str(draw(st.sampled_from([name for name, type_ in VARIABLES.items() if type_ == kind])))
    if choice == 3:
        return literal(kind, draw(VALUES[kind]))
    return draw(st.sampled_from(FORMS[kind])).format_map(_Parts(draw, depth, number))


@st.composite
def expressions(draw: Any) -> str:
    return text_of(draw, draw(st.sampled_from(["bool", "bool", *FORMS])), draw(st.integers(1, 4)), [0])


SITUATIONS = st.fixed_dictionaries({name: VALUES[kind] for name, kind in VARIABLES.items()})


def _python(value: Any) -> Any:
    if isinstance(value, Timestamp):
        return EPOCH + timedelta(microseconds=value.nanos // 1000)
    if isinstance(value, Duration):
        return timedelta(microseconds=value.nanos // 1000)
    if type(value) is UInt:
        return int(value)
    if type(value) is list:
        return [_python(item) for item in value]
    return {key_value(key): _python(item) for key, item in value.items()} if type(value) is dict else value


NAMES = {
    bool: "BOOL", int: "INT", UInt: "UINT", float: "DOUBLE", str: "STRING", Timestamp: "TIMESTAMP",
    Duration: "DURATION", list: "LIST", dict: "MAP",
}  # fmt: skip


class Names:
    """The variables of one situation; `moves` gives them as values that time may change, to take the other path."""

    def __init__(self, values: dict[str, Any], *, moves: bool = False) -> None:
        self.values, self.moves = values, moves

    def variable(self, name: str) -> Node | None:
        value = self.values.get(name)
        if value is None:
            return None
        return Node(lambda env: value, (lambda env: (value, NEVER)) if self.moves else None)

    def function(self, name: str, arguments: list[Node]) -> Node | None:
        return None


class Surroundings:
    def __init__(self) -> None:
        self.at = 0
        self.locals: dict[str, Any] = {}
        self.flips: dict[str, int] = {}


def google(compiled: Any, values: dict[str, Any]) -> tuple[str, Any]:
    result = compiled.eval(data={name: _python(value) for name, value in values.items()})
    name = result.type().name().partition("<")[0]
    return (name, None) if name == "ERROR" else (name, result.plain_value())


def ours(tree: list[Any], names: Names) -> tuple[str, Any]:
    try:
        value, flip = compile_tree(tree, names).node.flipping()(Surroundings())
    except ExpressionError:
        return "ERROR", None
    assert flip == NEVER
    return NAMES[type(value)], _python(value)


def same(left: Any, right: Any) -> bool:
    if isinstance(left, float) and isinstance(right, float):
        return left == right or (math.isnan(left) and math.isnan(right))
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(same, left, right))
    return type(left) is type(right) and bool(left == right)


PLAIN: dict[str, Any] = {
    "i": 2**53 + 1, "j": 0, "u": UInt(2**64 - 1), "v": UInt(0), "x": 2.0**53, "y": 1234567.25, "s": "a", "t": "é",
    "p": True, "q": False, "a": Timestamp(0), "b": Timestamp(1_770_000_000_123_456_000), "d": Duration(1_500_000),
    "e": Duration(-1_500_000_000), "li": [1, 0, -2], "ls": ["a", ""], "m": {"a": 1},
}  # fmt: skip


@settings(derandomize=True, max_examples=2000, deadline=None, suppress_health_check=list(HealthCheck), database=None)
@given(expressions(), SITUATIONS)
@example("dyn(i) < x || dyn(i) == x", PLAIN)
@example("dyn(u) <= 18446744073709551616.0", PLAIN)
@example("string(y) + string(d) + string(b)", PLAIN)
@example("uint(-0.5)", PLAIN)
@example("double('1_0') + double(' 1')", PLAIN)
@example("li.all(k, 1 / k > 5) || li.exists(k, 1 / k == 1)", PLAIN)
@example("e.getMilliseconds() + e.getSeconds()", PLAIN)
@example("int(dyn(d))", PLAIN)
@example("duration(dyn(i)) == d", PLAIN)
@example("dyn(li) in m", PLAIN)
@example("a.getHours('-11:30') + b.getDate('Nowhere')", PLAIN)
def test_an_expression_gives_the_same_here_and_with_google(text: str, values: dict[str, Any]) -> None:
    compiled = ENVIRONMENT.compile(text)
    checked = checked_pb2.CheckedExpr()
    any_pb2.Any.FromString(compiled.serialize()).Unpack(checked)
    tree = tree_of(checked.expr)
    expected = google(compiled, values)
    for names in (Names(values), Names(values, moves=True)):
        found = ours(tree, names)
        assert found[0] == expected[0], f"{text}: {found}, Google says {expected}"
        assert same(found[1], expected[1]), f"{text}: {found}, Google says {expected}"
