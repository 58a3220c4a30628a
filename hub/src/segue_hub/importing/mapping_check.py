"""Checks of a mapping file: shape, expressions, and columns that the file at hand does not have.

Owns what is told of a mapping before a row is read, with file, line, column, cause and cure.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from segue.domain.vocabulary import did_you_mean
from segue.errors import InputError

from ..checking.expression import ExpressionFlawed, check_row_expression
from ..checking.problem import Problem
from ..checking.shape import Shape
from ..checking.yaml_text import Path as Place
from ..checking.yaml_text import YamlBroken, YamlText, read_yaml
from .value import fields_of

SORTS = ("event", "trait", "consent", "subscription")
FACTS_PER_ROW = 64


class MappingInvalid(InputError):
    """A mapping that cannot be used; `problems` say why, with places."""

    code = "MAPPING_INVALID"

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems


def load_mapping(path: Path) -> Mapping[str, Any]:
    """Reads and checks a mapping file.

    Raises:
        MappingInvalid: with file, line, column, cause and cure.
    """
    text = _read(path)
    shape = Shape(path.name, text, "")
    shape.hold("mapping")
    problems = list(shape.problems)
    for expression in shape.expressions:
        try:
            tree = check_row_expression(expression.source, expression.result)
        except ExpressionFlawed as error:
            names = ".".join(str(part) for part in expression.path)
            problems += [
                Problem(file=path.name, line=expression.place.line, column=expression.place.column + flaw.column,
                        field=names, message=flaw.message, cure=flaw.cure)
                for flaw in error.flaws
            ]  # fmt: skip
            continue
        holder: Any = text.value
        for part in expression.path[:-1]:
            holder = holder[part]
        holder[expression.path[-1]] = {"source": expression.source, "tree": tree}
    if not problems:
        problems = [_problem(path, text, *found) for found in _senseless(text.value)]
    if problems:
        raise MappingInvalid(problems)
    return dict(text.value)


def check_columns(path: Path, columns: Iterable[str]) -> None:
    """Holds the columns that a mapping names against those that a file has.

    Raises:
        MappingInvalid: it names one that is not there: misspelt, it would silently be null in every row.
    """
    known, text = list(columns), _read(path)
    problems = [
        _problem(path, text, place, f"the file has no column {name!r}", did_you_mean(name, known))
        for place, name in _named(text.value, ())
        if name not in known
    ]
    if problems:
        raise MappingInvalid(problems)


def _read(path: Path) -> YamlText:
    try:
        return read_yaml(path.read_text(encoding="utf-8"))
    except YamlBroken as error:
        line, column, message = error.line, error.column, f"no YAML: {error}"
    except (OSError, UnicodeDecodeError) as error:
        line, column, message = 1, 1, str(error)
    raise MappingInvalid([Problem(file=path.name, line=line, column=column, field="mapping", message=message)])


def _problem(path: Path, text: YamlText, place: Place, message: str, cure: str) -> Problem:
    at = text.places[place]
    return Problem(
        file=path.name, line=at.line, column=at.column, field=".".join(str(part) for part in place), message=message,
        cure=cure,
    )  # fmt: skip


def _senseless(mapping: Mapping[str, Any]) -> Iterator[tuple[Place, str, str]]:
    """What has the right shape and yet says nothing that can be done."""
    for name in ("native_id", "facts"):
        if not mapping[name]:
            yield (name,), "is empty", "Name at least one"
    if len(mapping["facts"]) > FACTS_PER_ROW:
        yield ("facts",), f"{len(mapping['facts'])} facts of one row", f"At most {FACTS_PER_ROW}"
    for index, template in enumerate(mapping["facts"]):
        sorts = [sort for sort in SORTS if sort in template]
        cure = "Give one of event, trait, consent, subscription; all but event with a value"
        if len(sorts) != 1:
            yield ("facts", index), f"says {len(sorts)} sorts of fact", cure
        elif (sorts == ["event"]) == ("value" in template):
            yield ("facts", index), f"{sorts[0]} {'with' if sorts == ['event'] else 'without'} a value", cure
        yield from _no_moment(template["at"], ("facts", index, "at"))
    reads = mapping.get("reads", {})
    if len(reads.get("delimiter", ",")) != 1:
        yield ("reads", "delimiter"), f"{reads['delimiter']!r} is no delimiter", 'One character; a tab is "\\t"'
    try:
        codecs.lookup(reads.get("encoding", "utf-8"))
    except LookupError:
        yield ("reads", "encoding"), f"{reads['encoding']!r} is no encoding", "For example utf-8, latin-1, cp1252"


def _no_moment(spec: Mapping[str, Any], place: Place) -> Iterator[tuple[Place, str, str]]:
    if ("column" in spec) == ("template" in spec):
        yield place, "says no time, or two", "Give either column or template"
    if "format" in spec and "unit" in spec:
        yield place, "has a format and a unit", "A format reads texts, a unit numbers: give one"
    if "rolls_over" in spec:
        yield from _no_moment(spec["rolls_over"], (*place, "rolls_over"))


def _named(value: Any, place: Place) -> Iterator[tuple[Place, str]]:
    """The columns that a mapping names, each with its place; expressions ask for theirs when they are asked."""
    if place[:1] == ("native_id",) and isinstance(value, str):
        yield place, value
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _named(item, (*place, index))
    elif isinstance(value, dict):
        for name, item in value.items():
            if name == "column" and isinstance(item, str):
                yield (*place, name), item
            elif name == "template" and isinstance(item, str):
                yield from (((*place, name), field) for field in fields_of(item))
            else:
                yield from _named(item, (*place, name))
