"""The decision function that a command line names: `app.py:route`, or `bank.decisions:route`.

Owns finding and importing it. Importing a team's module runs it; making touchpoints in it connects nothing.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from types import ModuleType
from typing import Any

from ..domain.decision import Question
from .terminal import Ended


@dataclass(frozen=True, slots=True)
class Named:
    """A decision function by its place.

    Attributes:
        place: as it was named.
        function: takes a context.
        question: that it was registered as; None where it is a plain function.
    """

    place: str
    function: Callable[[Any], Any]
    question: Question | None = None

    def asked_as(self, name: str, function: Callable[[Any], Any], default: Any) -> Question:
        """The question under a name, with another function in its place; with its own default where none is given."""
        question = self.question or Question(name, function)
        fallback = question.default if default is None else default
        return replace(question, name=name, function=function, default=fallback)


def find_function(place: str, option: str) -> Named:
    """Imports what a place names.

    Args:
        place: `FILE.py:NAME` or `MODULE:NAME`.
        option: that named it, for errors.

    Raises:
        Ended: there is no such thing.
    """
    where, colon, name = place.rpartition(":")
    if not colon or not where or not name:
        raise Ended(f"{option}: {place!r} names no function. Write FILE.py:NAME, e.g. app.py:route", 2)
    found: Any = _module(where, option)
    for part in name.split("."):
        if not hasattr(found, part):
            raise Ended(f"{option}: {where} has no {part!r}. {_near(part, found)}".rstrip(), 2)
        found = getattr(found, part)
    if isinstance(found, Question):
        return Named(place, found.function, found)
    if not callable(found) or isinstance(found, type):
        raise Ended(f"{option}: {place} is no function, but of type {type(found).__name__}", 2)
    return Named(place, found)


def _near(name: str, module: Any) -> str:
    functions = [n for n, value in vars(module).items() if isinstance(value, Question) or callable(value)]
    close = get_close_matches(name, functions, 1)
    return f"Did you mean {close[0]!r}?" if close else ""


def _module(where: str, option: str) -> ModuleType:
    try:
        if where.endswith(".py"):
            return _from_file(Path(where), option)
        sys.path.insert(0, str(Path.cwd()))
        return importlib.import_module(where)
    except Ended:
        raise
    except ModuleNotFoundError as error:
        if error.name and where.startswith(error.name):
            raise Ended(f"{option}: there is no module {where!r}. Write FILE.py:NAME or MODULE:NAME", 2) from None
        raise Ended(f"{option}: {where} cannot be imported: {error}", 2) from error
    except Exception as error:  # the team's own code: whatever it raises, it cannot be asked
        raise Ended(f"{option}: {where} cannot be imported: {type(error).__name__}: {error}", 2) from error


def _from_file(path: Path, option: str) -> ModuleType:
    """A module from its file; one of a package by its name there, so that its own imports work."""
    if not path.is_file():
        raise Ended(f"{option}: there is no file {path}", 2)
    path = path.resolve()
    names, folder = [path.stem], path.parent
    while (folder / "__init__.py").is_file():
        names.insert(0, folder.name)
        folder = folder.parent
    sys.path.insert(0, str(folder))
    if len(names) > 1:
        return importlib.import_module(".".join(names[:-1] if names[-1] == "__init__" else names))
    # By a name of its own: `json.py` of a team is not Python's.
    spec = importlib.util.spec_from_file_location(f"segue_replayed_{path.stem}", path)
    assert spec is not None, "a .py file can be loaded"
    assert spec.loader is not None, "and has a loader"
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module
