"""The question book: decision functions that teams gave to the hub, by touchpoint and name.

Owns loading them from the teams' own modules, the same files that an SDK runs: a touchpoint in them registers its
functions and nothing else. One that connects while it is loaded is refused.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from types import ModuleType
from typing import Protocol, runtime_checkable

from segue.domain.decision import Question
from segue.domain.plan import Plan
from segue.errors import ConfigError

from .failure import Refusal


@runtime_checkable
class Registry(Protocol):
    """What registers decision functions: a `segue.Touchpoint`."""

    name: str
    questions: dict[str, Question]
    started: bool

    def channel_by(self, plan: Plan | None) -> str:
        """The channel of its facts by a plan."""

    def close(self) -> None:
        """Lets go of whatever it started."""


class QuestionBook:
    """Which function answers which question of which touchpoint.

    Args:
        registries: that hold them.

    Raises:
        ConfigError: two functions of one touchpoint have one name.
    """

    def __init__(self, registries: Iterable[Registry] = ()) -> None:
        self._found: dict[str, dict[str, tuple[Question, Registry]]] = {}
        for registry in registries:
            questions = self._found.setdefault(registry.name, {})
            for name, question in registry.questions.items():
                if name in questions and questions[name][0] is not question:
                    raise ConfigError(
                        f"two functions answer {name!r} for touchpoint {registry.name!r}: name each question once"
                    )
                questions[name] = (question, registry)

    def find(self, touchpoint: str, name: str) -> tuple[Question, Callable[[Plan | None], str]]:
        """The function of a touchpoint's question, and its channel by a plan.

        Raises:
            Refusal: NAME_UNKNOWN; says what there is.
        """
        questions = self._found.get(touchpoint, {})
        if name not in questions:
            close = get_close_matches(name, questions, 1)
            there = f"Did you mean {close[0]!r}?" if close else f"There is: {', '.join(sorted(questions)) or 'nothing'}"
            cure = "" if questions else ". Start it with `segue-hub serve --decisions MODULE`"
            raise Refusal("NAME_UNKNOWN", f"decision: this hub runs no {name!r} for {touchpoint!r}. {there}{cure}")
        question, registry = questions[name]
        return question, registry.channel_by

    def plain(self) -> Mapping[str, list[str]]:
        """The names of all questions, by touchpoint."""
        return {touchpoint: sorted(questions) for touchpoint, questions in sorted(self._found.items())}


def load_book(places: Iterable[str]) -> QuestionBook:
    """Imports what is named `MODULE`, `MODULE:OBJECT`, `FILE.py` or `FILE.py:OBJECT`.

    Raises:
        ConfigError: there is no such thing, it holds no decision functions, or it cannot be imported.
    """
    found: dict[int, Registry] = {}
    for place in places:
        for registry in _registries(place):
            found[id(registry)] = registry
    return QuestionBook(found.values())


def _registries(place: str) -> list[Registry]:
    where, _, name = place.partition(":")
    module = _module(where, place)
    if name:
        if not hasattr(module, name):
            close = get_close_matches(name, vars(module), 1)
            raise _wrong(place, f"{where} has no {name!r}", f"Did you mean {close[0]!r}?" if close else "")
        registries = [getattr(module, name)]
        if not isinstance(registries[0], Registry):
            kind = type(registries[0]).__name__
            raise _wrong(place, f"{name} is of type {kind}", "Name a segue.Touchpoint, or the module alone")
    else:
        registries = [value for value in vars(module).values() if isinstance(value, Registry)]
    if not any(registry.questions for registry in registries):
        raise _wrong(place, "holds no decision functions", 'Register one: @chat.decision("chat.route")')
    for registry in registries:
        if registry.started:
            registry.close()
            raise _wrong(
                place, f"touchpoint {registry.name!r} begins to work while its module is imported",
                'Put what opens sessions under `if __name__ == "__main__":`',
            )  # fmt: skip
    return registries


def _module(where: str, place: str) -> ModuleType:
    """A module by its name, or by its file: then under its name in its package, so that its own imports work."""
    try:
        if not where.endswith(".py"):
            _on_path(Path.cwd())
            return importlib.import_module(where)
        path = Path(where)
        if not path.is_file():
            raise _wrong(place, f"there is no file {where}", "Give a file that is there")
        return _from_file(path.resolve())
    except ConfigError:
        raise
    except ModuleNotFoundError as error:
        if error.name and where.startswith(error.name):
            raise _wrong(place, f"there is no module {where!r}", "Give a module on Python's path, or FILE.py") from None
        raise _wrong(place, f"cannot be imported: {error}", "Install what it needs beside the hub") from error
    except Exception as error:  # the team's own code: whatever it raises, the hub cannot run it
        cure = "Mend it, or start the hub without it"
        raise _wrong(place, f"cannot be imported: {type(error).__name__}: {error}", cure) from error


def _from_file(path: Path) -> ModuleType:
    names, folder = [path.stem], path.parent
    while (folder / "__init__.py").is_file():
        names.insert(0, folder.name)
        folder = folder.parent
    _on_path(folder)
    if len(names) > 1:
        return importlib.import_module(".".join(names))
    # By a name of its own: a team's `json.py` is not Python's, nor another team's.
    name = f"segue_decisions_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}_{path.stem}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None, "a .py file can be loaded"
    assert spec.loader is not None, "and has a loader"
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except BaseException:  # also a SystemExit of the file: half a module may not be found by the next one
        del sys.modules[name]
        raise
    return module


def _on_path(folder: Path) -> None:
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))


def _wrong(place: str, problem: str, cure: str) -> ConfigError:
    return ConfigError(f"--decisions {place}: {problem}. {cure}".rstrip(". ") + ("" if cure.endswith("?") else "."))
