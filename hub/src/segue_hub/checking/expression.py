"""Checking of expressions: CEL text, by Google's own checker, to Segue's checked tree.

Owns the adapter to `cel-expr-python`: declaring a plan's names with their types, reading its errors with line and
column, and turning its checked tree into the nested lists that hub and SDK compile. Constants that the checker lets
pass and that would fail at evaluation (durations, zones, `has` of a variable) are checked here (semantics TI9).
"""

from __future__ import annotations

import base64
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

# The checker's library and its messages carry no types.
from cel.expr import checked_pb2, syntax_pb2
from cel_expr_python import cel
from google.protobuf import any_pb2
from segue.domain.binding import ACTION_FIELDS, EFFORT_FIELDS, EVENT_FIELDS, FUNCTIONS, JOURNEY_FIELDS, ContextBindings
from segue.domain.expression.calendar import CALENDAR, zone
from segue.domain.expression.compiler import compile_tree
from segue.domain.expression.conversion import parse_duration, parse_timestamp
from segue.domain.expression.failure import ExpressionError
from segue.domain.expression.node import Refused
from segue.domain.tree_reading import nodes
from segue.domain.vocabulary import Vocabulary, did_you_mean

from .compound_type import COMPOUND, pool

Tree = list[Any]
_ERROR = re.compile(r"^(?:[A-Z_]+: )?ERROR: <input>:(-?\d+):(-?\d+): (.*?)(?: \[[A-Z_]+\])?$", re.MULTILINE)
_UNDECLARED = re.compile(r"undeclared reference to '([^']*)'")
_FIELD = re.compile(r"undefined field '([^']*)' not found in struct '([^']*)'")
_OVERLOAD = re.compile(r"found no matching overload for '([^']*)' applied to '([^']*)'")
_UNSUPPORTED = {"matches": "regular expressions are not supported: use startsWith, endsWith or contains"}


@dataclass(frozen=True, slots=True)
class Flaw:
    """What is wrong with an expression. Line and column from 1 within its text."""

    line: int
    column: int
    message: str
    cure: str = ""


class ExpressionFlawed(ValueError):
    """An expression that does not check; `flaws` says why."""

    def __init__(self, flaws: list[Flaw]) -> None:
        super().__init__("; ".join(flaw.message for flaw in flaws))
        self.flaws = flaws


def _type(name: str) -> Any:
    kinds = cel.Type
    table = {
        "string": kinds.STRING, "bool": kinds.BOOL, "int": kinds.INT, "double": kinds.DOUBLE,
        "timestamp": kinds.TIMESTAMP, "map": kinds.Map(kinds.STRING, kinds.DYN),
        "journeys": kinds.List(kinds.Map(kinds.STRING, kinds.DYN)),
        **{name: kinds(message) for name, (message, _) in COMPOUND.items()},
    }  # fmt: skip
    return table[name]


def _functions(names: Iterable[str]) -> list[Any]:
    return [
        cel.FunctionDecl(
            name,
            [
                cel.Overload(f"{name}_{count}", _type(FUNCTIONS[name][1]), [cel.Type.STRING] * count)
                for count in FUNCTIONS[name][0]
            ],
        )
        for name in names
    ]


class Checker:
    """Checks the expressions of one plan.

    Args:
        vocabulary: declared traits, channels and events.
        journey_maps: names of the maps.
        audiences: names of the audiences; only guardrails may ask for them.
        calendars: names of the calendars.
        holdouts: names of the guardrails that have a holdout.
    """

    def __init__(
        self, vocabulary: Vocabulary, journey_maps: Iterable[str], audiences: Iterable[str] = (),
        calendars: Iterable[str] = (), holdouts: Iterable[str] = (),
    ) -> None:  # fmt: skip
        self._vocabulary = vocabulary
        self._maps = tuple(journey_maps)
        self._audiences = tuple(audiences)
        self._calendars = tuple(calendars)
        self._holdouts = tuple(holdouts)
        shared = {"now": "timestamp"} | {f"trait.{name}": t.type for name, t in vocabulary.traits.items()}
        shared |= {f"journey.{name}.{field}": type_ for name in self._maps for field, type_ in JOURNEY_FIELDS.items()}
        shared |= {f"effort.{field}": type_ for field, type_ in EFFORT_FIELDS.items()}
        event = {f"event.{field}": type_ for field, type_ in EVENT_FIELDS.items()}
        action = {f"action.{field}": type_ for field, type_ in ACTION_FIELDS.items()}
        words = [name for name in FUNCTIONS if name != "in_audience"]
        self._surroundings: dict[str, tuple[Mapping[str, str], list[str]]] = {
            "map": (shared | event, words),
            "audience": (shared, words),
            "guardrail": (shared, list(FUNCTIONS)),
            "action": (action, []),
        }
        self._environments = {
            place: cel.NewEnv(
                descriptor_pool=pool(),
                variables={name: _type(type_) for name, type_ in names.items()},
                functions=_functions(functions),
            )
            for place, (names, functions) in self._surroundings.items()
        }

    def check(self, source: str, place: str, result: str = "bool") -> Tree:
        """Checks an expression and gives its tree.

        Args:
            source: CEL text.
            place: `map`, `audience`, `guardrail`, or `action` (what `applies_to` may read).
            result: the type it must have: `bool`, or `any`.

        Raises:
            ExpressionFlawed: with line, column, cause and cure of each flaw.
        """
        environment = self._environments[place]
        _no_has_of_variables(environment, source, self._surroundings[place][0])
        checked = _compile(environment, source, lambda message: self._explain(message, place))
        _nothing_unsupported(checked)
        if result == "bool" and not _is_bool(checked):
            raise ExpressionFlawed([Flaw(1, 1, "the expression gives no bool", "Compare it with something")])
        tree = tree_of(checked.expr)
        _check_constants(tree, checked)
        bindings = ContextBindings(self._vocabulary, self._maps, self._audiences, self._calendars, self._holdouts)
        try:
            compile_tree(tree, bindings)
        except Refused as error:
            place_ = _place_of_refusal(checked, bindings, str(error))
            raise ExpressionFlawed([Flaw(*place_, str(error))]) from None
        return tree

    def _explain(self, message: str, place: str) -> tuple[str, str]:
        names, functions = self._surroundings[place]
        undeclared = _UNDECLARED.search(message)
        if undeclared:
            name = undeclared.group(1)
            if name in FUNCTIONS:
                if name not in functions:
                    return f"{name!r} cannot be asked here", ""
                counts = " or ".join(str(count) for count in FUNCTIONS[name][0])
                return f"{name}(...) takes {counts} texts", ""
            return f"nothing is called {name!r} here", did_you_mean(name, [*names, *functions])
        field = _FIELD.search(message)
        if field:
            word, fields = next((word, parts) for word, (name, parts) in COMPOUND.items() if name == field.group(2))
            return f"{word}(...) has no {field.group(1)!r}", did_you_mean(field.group(1), fields)
        overload = _OVERLOAD.search(message)
        if overload:
            operator, types = overload.group(1).strip("_").replace("@", ""), overload.group(2)
            return f"{operator!r} does not take {types}: no matching overload", "Compare values of one type"
        if "'<EOF>'" in message:
            return "the expression ends too early", "Close what is open"
        return message, ""


def check_row_expression(source: str, result: str) -> Tree:
    """Checks an expression over a row of a file: `row.column`, `row["other column"]`.

    Raises:
        ExpressionFlawed: as `Checker.check`.
    """
    environment = cel.NewEnv(variables={"row": cel.Type.Map(cel.Type.STRING, cel.Type.DYN)}, functions=[])
    checked = _compile(environment, source, lambda message: (message, "Columns are row.name"))
    if result == "bool" and not _is_bool(checked):
        raise ExpressionFlawed([Flaw(1, 1, "the expression gives no bool", "Compare it with something")])
    return tree_of(checked.expr)


def _compile(environment: Any, source: str, explain: Any) -> checked_pb2.CheckedExpr:
    try:
        compiled = environment.compile(source)
    except RuntimeError as error:
        flaws = [
            Flaw(max(1, int(line)), max(1, int(column)), *explain(message))
            for line, column, message in _ERROR.findall(str(error))
            if "<<nil>>" not in message
        ]
        raise ExpressionFlawed(flaws or [Flaw(1, 1, str(error).partition("\n")[0])]) from None
    wrapped, checked = any_pb2.Any.FromString(compiled.serialize()), checked_pb2.CheckedExpr()
    wrapped.Unpack(checked)
    return checked


def _is_bool(checked: checked_pb2.CheckedExpr) -> bool:
    kind = checked.type_map[checked.expr.id]
    return bool(kind.primitive == checked_pb2.Type.BOOL or kind.WhichOneof("type_kind") == "dyn")


def parse_unchecked(environment: Any, source: str) -> syntax_pb2.Expr:
    """The tree of an expression that was parsed only."""
    return _parsed(environment, source).expr


def _parsed(environment: Any, source: str) -> syntax_pb2.ParsedExpr:
    compiled = environment.compile(source, disable_check=True)
    wrapped, parsed = any_pb2.Any.FromString(compiled.serialize()), syntax_pb2.ParsedExpr()
    wrapped.Unpack(parsed)
    return parsed


def _unsupported(expression: syntax_pb2.Expr) -> str:
    """Why an expression cannot be asked here, whatever it is made of; empty where it can."""
    if expression.struct_expr.message_name:
        return f"messages ({expression.struct_expr.message_name}) are not supported"
    return _UNSUPPORTED.get(expression.call_expr.function, "")


def _nothing_unsupported(checked: checked_pb2.CheckedExpr) -> None:
    for expression in _walk(checked.expr):
        cause = _unsupported(expression)
        if cause:
            raise ExpressionFlawed([Flaw(*_place(checked, expression.id), cause)])


def _no_has_of_variables(environment: Any, source: str, names: Iterable[str]) -> None:
    """The checker turns `has(trait.x)` into the trait itself: refuse it by name, `known("x")` is meant."""
    if "has" not in source:
        return
    try:
        parsed = _parsed(environment, source)
    except RuntimeError:
        return  # The checker says what is wrong with it.
    for expression in _walk(parsed.expr):
        name = _dotted(expression) if expression.select_expr.test_only else ""
        if name in names:
            raise ExpressionFlawed([
                Flaw(*_place(parsed, expression.id), f"has({name}) is always true", 'Write known("...") for a trait')
            ])  # fmt: skip


def _dotted(expression: syntax_pb2.Expr) -> str:
    if expression.WhichOneof("expr_kind") != "select_expr":
        return str(expression.ident_expr.name).lstrip(".")
    operand = _dotted(expression.select_expr.operand)
    return f"{operand}.{expression.select_expr.field}" if operand else ""


def _walk(expression: syntax_pb2.Expr) -> Iterable[syntax_pb2.Expr]:
    yield expression
    kind = expression.WhichOneof("expr_kind")
    if kind == "select_expr":
        yield from _walk(expression.select_expr.operand)
    elif kind == "call_expr":
        call = expression.call_expr
        for child in [*([call.target] if call.HasField("target") else []), *call.args]:
            yield from _walk(child)
    elif kind == "list_expr":
        for child in expression.list_expr.elements:
            yield from _walk(child)
    elif kind == "struct_expr":
        for entry in expression.struct_expr.entries:
            if entry.HasField("map_key"):
                yield from _walk(entry.map_key)
            yield from _walk(entry.value)
    elif kind == "comprehension_expr":
        loop = expression.comprehension_expr
        for child in (loop.iter_range, loop.accu_init, loop.loop_condition, loop.loop_step, loop.result):
            yield from _walk(child)


def _place(checked: checked_pb2.CheckedExpr | syntax_pb2.ParsedExpr, id_: int) -> tuple[int, int]:
    offset = checked.source_info.positions.get(id_, 0)
    starts = [0, *list(checked.source_info.line_offsets)[:-1]]
    line = max(index for index, start in enumerate(starts) if start <= offset)
    return line + 1, offset - starts[line] + 1


def _place_of_refusal(checked: checked_pb2.CheckedExpr, bindings: ContextBindings, message: str) -> tuple[int, int]:
    """The innermost part that is refused with the same words: a tree itself knows no places."""
    for expression in reversed(list(_walk(checked.expr))):
        try:
            compile_tree(tree_of(expression), bindings)
        except Refused as error:
            if str(error) == message and expression.id in checked.source_info.positions:
                return _place(checked, expression.id)
    return 1, 1


def tree_of(expression: syntax_pb2.Expr, renamed: Mapping[str, str] = MappingProxyType({})) -> Tree:
    """Segue's nested lists of a CEL tree.

    Args:
        expression: as parsed or checked.
        renamed: variables of loops around it that go by another name, since `.name` within means the outer one.

    Raises:
        ExpressionFlawed: it builds a protobuf message, which no context holds.
    """

    def of(part: syntax_pb2.Expr) -> Tree:
        return tree_of(part, renamed)

    kind = expression.WhichOneof("expr_kind")
    if cause := _unsupported(expression):
        raise ExpressionFlawed([Flaw(1, 1, cause)])
    if kind == "const_expr":
        return _constant(expression.const_expr)
    if kind == "ident_expr":
        name = expression.ident_expr.name
        return ["ident", name[1:] if name.startswith(".") else renamed.get(name, name)]
    if kind == "select_expr":
        select = expression.select_expr
        return ["has" if select.test_only else "select", of(select.operand), select.field]
    if kind == "call_expr":
        call = expression.call_expr
        arguments = [*([call.target] if call.HasField("target") else []), *call.args]
        return ["call", call.function, [of(argument) for argument in arguments]]
    if kind == "list_expr":
        return ["list", [of(element) for element in expression.list_expr.elements]]
    if kind == "struct_expr":
        return ["map", [[of(entry.map_key), of(entry.value)] for entry in expression.struct_expr.entries]]
    if kind == "comprehension_expr":
        loop = expression.comprehension_expr
        body = (loop.loop_condition, loop.loop_step, loop.result)
        outer = any(part.ident_expr.name == f".{loop.iter_var}" for whole in body for part in _walk(whole))
        item = f"{loop.iter_var}@" if outer else loop.iter_var
        within = {**renamed, loop.iter_var: item}
        return [
            "fold", item, of(loop.iter_range), loop.accu_var, of(loop.accu_init),
            *(tree_of(part, within) for part in body),
        ]  # fmt: skip
    raise ExpressionFlawed([Flaw(1, 1, f"{kind} is not supported")])


def _constant(constant: syntax_pb2.Constant) -> Tree:
    kind = constant.WhichOneof("constant_kind")
    if kind == "null_value":
        return ["null"]
    if kind == "bytes_value":
        return ["bytes", base64.b64encode(constant.bytes_value).decode()]
    value = getattr(constant, kind)
    name = {"bool_value": "bool", "int64_value": "int", "uint64_value": "uint", "string_value": "string"}.get(kind)
    if name is not None:
        return [name, value]
    if math.isfinite(value):
        return ["double", value]
    return ["double", "NaN" if math.isnan(value) else "inf" if value > 0 else "-inf"]


def _check_constants(tree: Tree, checked: checked_pb2.CheckedExpr) -> None:
    for node in nodes(tree):
        if node[0] != "call" or not node[2]:
            continue
        last = node[2][-1]
        if last[0] != "string":
            continue
        try:
            if node[1] == "duration":
                parse_duration(last[1])
            elif node[1] == "timestamp":
                parse_timestamp(last[1])
            elif node[1] in CALENDAR and len(node[2]) == 2:
                zone(last[1])
        except ExpressionError as error:
            raise ExpressionFlawed([Flaw(*_place_of_text(checked, node[1], last[1]), str(error))]) from None


def _place_of_text(checked: checked_pb2.CheckedExpr, function: str, text: str) -> tuple[int, int]:
    for expression in _walk(checked.expr):
        arguments = expression.call_expr.args
        if expression.call_expr.function == function and arguments and arguments[-1].const_expr.string_value == text:
            return _place(checked, arguments[-1].id)
    return 1, 1
