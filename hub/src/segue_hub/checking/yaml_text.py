"""YAML with places: values, and where each of them stands and how it was quoted.

Owns the reading of one file. Knows nothing of plans.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, Final

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

Path = tuple[str | int, ...]
VALUES: Final = 100_000
"""Of one file at most, aliases written out: a few lines of them can stand for more than fits into memory."""
DEPTH: Final = 64
DIGITS: Final = 300


@dataclass(frozen=True, slots=True)
class Place:
    """Where a value begins (from 1), where its content begins behind a quote, and whether it is quoted."""

    line: int
    column: int
    quoted: bool
    block: bool = False


@dataclass(slots=True)
class YamlText:
    """A file's values and places; `keys` are the places of mapping keys."""

    value: Any = None
    places: dict[Path, Place] = field(default_factory=dict)
    keys: dict[Path, Place] = field(default_factory=dict)
    twice: list[tuple[Path, Place]] = field(default_factory=list)


class YamlBroken(ValueError):
    """Text that is no YAML."""

    def __init__(self, line: int, column: int, message: str) -> None:
        super().__init__(message)
        self.line = line
        self.column = column


def read_yaml(text: str) -> YamlText:
    """Reads one document.

    Raises:
        YamlBroken: with line and column.
    """
    yaml = YAML(typ="rt")
    yaml.composer.warn_double_anchors = False  # YAML allows it, and a reader of plans is no place for warnings
    try:
        root = yaml.compose(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        raise YamlBroken(line, column, error.problem or str(error)) from None
    except YAMLError as error:
        raise YamlBroken(1, 1, str(error).partition("\n")[0]) from None
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:  # of the library's own making
        raise YamlBroken(1, 1, f"the text cannot be read: {error}") from None
    found = YamlText()
    if root is not None:
        found.value = _value(root, (), found)
    return found


def _place(node: Node) -> Place:
    style = node.style if isinstance(node, ScalarNode) else None
    mark = node.start_mark
    return Place(mark.line + 1, mark.column + 1, style is not None, style in ("|", ">"))


def _value(node: Node, path: Path, found: YamlText) -> Any:
    place = found.places[path] = _place(node)
    if len(path) > DEPTH:
        raise YamlBroken(place.line, place.column, f"more than {DEPTH} levels deep, or an alias within itself")
    if len(found.places) > VALUES:
        raise YamlBroken(place.line, place.column, f"more than {VALUES} values, aliases written out")
    if isinstance(node, MappingNode):
        result: dict[str, Any] = {}
        for key, value in node.value:
            name = str(key.value)
            if name in result:
                found.twice.append(((*path, name), _place(key)))
            found.keys[*path, name] = _place(key)
            result[name] = _value(value, (*path, name), found)
        return result
    if isinstance(node, SequenceNode):
        return [_value(item, (*path, index), found) for index, item in enumerate(node.value)]
    assert isinstance(node, ScalarNode)
    if len(node.value) > DIGITS and re.fullmatch(r"[-+0-9.eE]+", node.value) and node.style is None:
        raise YamlBroken(place.line, place.column, f"a number of more than {DIGITS} digits: put it in quotes")
    return _scalar(node)


def _scalar(node: ScalarNode) -> Any:
    text = str(node.value)
    if node.style is not None:
        return text
    if re.fullmatch(r"true|True|TRUE", text):
        return True
    if re.fullmatch(r"false|False|FALSE", text):
        return False
    if text in ("", "~", "null", "Null", "NULL"):
        return None
    if re.fullmatch(r"[-+]?[0-9]+", text):
        return int(text)
    if re.fullmatch(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", text):
        return float(text)
    return text
