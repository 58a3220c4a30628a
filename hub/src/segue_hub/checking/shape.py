"""The shape of plan files, held against the published JSON Schema, with places.

Owns the walk over a schema's small subset (type, properties, required, enum, pattern, bounds) and the cures: the
nearest known key, quotes where YAML needs them.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from importlib.resources import files
from typing import Any

from segue.domain.expression.calendar import zone
from segue.domain.expression.failure import ExpressionError
from segue.domain.instant import parse_instant, span
from segue.domain.quiet_hours import CALENDAR
from segue.domain.vocabulary import did_you_mean

from .problem import Problem
from .yaml_text import Path, Place, YamlText

_TYPES: dict[str, type | tuple[type, ...]] = {
    "object": dict,
    "array": list,
    "string": str,
    "boolean": bool,
    "integer": int,
    "number": (int, float),
}
_WORDS = {"object": "a mapping", "array": "a list", "string": "a text", "boolean": "true or false",
          "integer": "a whole number", "number": "a number"}  # fmt: skip
_NAME = re.compile(r"[a-z][a-z0-9_]*")


@lru_cache(maxsize=1)
def schema() -> dict[str, Any]:
    """The published schema."""
    text = (files(__package__) / "schema.json").read_text(encoding="utf-8")
    return dict(json.loads(text))


@dataclass(frozen=True, slots=True)
class Expression:
    """An expression found in a file: where, in which surroundings, and of which type it must be."""

    path: Path
    source: str
    place: Place
    surroundings: str
    result: str


class Shape:
    """One file held against one definition of the schema."""

    def __init__(self, file: str, text: YamlText, prefix: str) -> None:
        self._file = file
        self._text = text
        self._prefix = prefix
        self.problems: list[Problem] = []
        self.expressions: list[Expression] = []

    def hold(self, definition: str) -> None:
        """Walks the file; fills `problems` and `expressions`."""
        for path, place in self._text.twice:
            self._say(path, f"{path[-1]!r} stands twice", "Keep one of them", place)
        self._walk(self._text.value, _definition(definition), ())

    def _say(self, path: Path, message: str, cure: str = "", place: Place | None = None) -> None:
        place = place or self._text.places.get(path) or Place(1, 1, False)
        field = ".".join([self._prefix, *(str(part) for part in path)]).strip(".")
        self.problems.append(
            Problem(file=self._file, line=place.line, column=place.column, field=field, message=message, cure=cure)
        )

    def _walk(self, value: Any, rule: dict[str, Any], path: Path) -> None:
        note = rule.get("x-segue", "")
        if "$ref" in rule:
            rule = _definition(rule["$ref"].rpartition("/")[2]) | {k: v for k, v in rule.items() if k != "$ref"}
            note = note or rule.get("x-segue", "")
        if "anyOf" in rule:
            fitting = [option for option in rule["anyOf"] if _fits(value, _kind(option))]
            if not fitting:
                words = " or ".join(_WORDS[_kind(option)] for option in rule["anyOf"])
                self._say(path, f"{value!r} is not {words}")
                return
            self._walk(value, fitting[0], path)
            return
        place = self._text.places.get(path)
        if note.startswith("expression") and not (isinstance(value, str) and place is not None and place.quoted):
            self._say(
                path, "an expression without quotes",
                "Expressions are quoted, always, since YAML reads !, ?, :, [ and # its own way: write '...' around it",
            )  # fmt: skip
            return
        if note == "quoted" and (place is None or not place.quoted):
            self._say(path, f"{value!r} without quotes", 'YAML tools may read it as a number: write "21:00" in quotes')
            return
        if "enum" in rule:
            if value not in rule["enum"]:
                self._say(path, f"{value!r} is not known", did_you_mean(str(value), [str(v) for v in rule["enum"]]))
            return
        kind = rule.get("type", "object")
        if not _fits(value, kind) or (kind in ("integer", "number") and isinstance(value, bool)):
            self._say(path, f"{value!r} is not {_WORDS[kind]}", "Quote it" if kind == "string" else "")
            return
        if kind == "object":
            self._mapping(value, rule, path)
        elif kind == "array":
            for index, item in enumerate(value):
                self._walk(item, rule.get("items", {}), (*path, index))
        elif kind == "string":
            self._string(value, rule, note, path)
        else:
            self._number(value, rule, path)

    def _mapping(self, value: dict[str, Any], rule: dict[str, Any], path: Path) -> None:
        known, others = rule.get("properties", {}), rule.get("additionalProperties")
        for name, item in value.items():
            if name in known:
                self._walk(item, known[name], (*path, name))
            elif isinstance(others, dict):
                if item is None and others.get("type") == "object":
                    item = {}
                if rule.get("x-segue") != "texts" and not re.fullmatch(r"[A-Za-z][A-Za-z0-9_.\-]*", name):
                    self._say((*path, name), f"{name!r} is no name", "Letters, digits, . _ and -")
                self._walk(item, others, (*path, name))
            else:
                self._say(
                    (*path, name), f"unknown key {name!r}", did_you_mean(name, known),
                    self._text.keys.get((*path, name)),
                )  # fmt: skip
        for name in rule.get("required", ()):
            if name not in value:
                self._say(path, f"{name!r} is missing", f"Write {name}: ...")

    def _string(self, value: str, rule: dict[str, Any], note: str, path: Path) -> None:
        if note.startswith("expression"):
            _, surroundings, *result = note.split(":")
            place = self._text.places[path]
            self.expressions.append(Expression(path, value, place, surroundings, result[0] if result else "bool"))
        elif note == "instant":
            try:
                parse_instant(value)
            except ValueError:
                self._say(path, f"{value!r} is no instant", "Write a time with its zone, e.g. 2026-12-24T18:00:00Z")
        elif note == "duration" or (note == "window" and value not in CALENDAR):
            try:
                if span(value) <= 0:
                    raise ValueError("is empty")
            except ValueError as error:
                self._say(path, str(error))
        elif note == "zone" or (note == "zone or customer" and value != "customer"):
            try:
                zone(value)
            except ExpressionError as error:
                self._say(path, str(error), "Write an IANA name, e.g. Europe/Berlin")
        elif note == "name" and not _NAME.fullmatch(value):
            self._say(path, f"{value!r} is no name", "Lower case letters, digits and _")
        elif "pattern" in rule and not re.search(rule["pattern"], value):
            self._say(path, f"{value!r} is no such text", rule.get("description", ""))
        elif note == "date":
            try:
                date.fromisoformat(value)
            except ValueError:
                self._say(path, f"{value!r} is no day of the calendar", rule.get("description", ""))

    def _number(self, value: float, rule: dict[str, Any], path: Path) -> None:
        if "minimum" in rule and value < rule["minimum"]:
            self._say(path, f"{value} is too small", f"At least {rule['minimum']}")
        if "maximum" in rule and value > rule["maximum"]:
            self._say(path, f"{value} is too large", f"At most {rule['maximum']}")


def _fits(value: Any, kind: str) -> bool:
    return isinstance(value, _TYPES[kind])


def _kind(rule: dict[str, Any]) -> str:
    if "$ref" in rule:
        rule = _definition(rule["$ref"].rpartition("/")[2])
    return str(rule.get("type", "object"))


def _definition(name: str) -> dict[str, Any]:
    return dict(schema()["$defs"][name])
