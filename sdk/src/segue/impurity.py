"""What a decision function reads besides its context: the clock and chance, by name and place.

Owns noticing it while a function runs, however it was imported. An answer that depends on them cannot be repeated, so
a replay names them. Files, networks and other machines are not looked at, nor are generators that other libraries bring
along in C.
"""

from __future__ import annotations

import os
import random
import sys
import sysconfig
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from types import CodeType, FrameType, TracebackType
from typing import Any, Final, NamedTuple

CLOCK: Final = "clock"
CHANCE: Final = "chance"
_CLOCKS: Final = frozenset((
    "time", "time_ns", "monotonic", "monotonic_ns", "perf_counter", "perf_counter_ns", "process_time",
    "process_time_ns", "thread_time", "thread_time_ns", "clock_gettime", "clock_gettime_ns",
))  # fmt: skip
_NOWS: Final = frozenset(("now", "utcnow", "today"))
_OPTIONAL: Final = {"localtime": 0, "gmtime": 0, "ctime": 0, "strftime": 1}
"""Functions of `time` that read the clock where they are given no more arguments than so many."""
_DRAWS: Final = frozenset(("random", "getrandbits"))
_SYSTEM: Final = frozenset(("urandom", "getrandom", "generate_time_safe", "UuidCreate"))
_ADDRESSES: Final = {"id": "id (another one in every process)", "hash": "hash (of texts, another one in every process)"}
_NAMES: Final = _CLOCKS | _NOWS | _DRAWS | _SYSTEM | _ADDRESSES.keys()
_SEEDING: Final[CodeType] = random.Random.__init__.__code__
_LIBRARIES: Final = tuple(
    str(Path(folder)) + os.sep for folder in {sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib")}
)
_OWN: Final = str(Path(__file__).parent) + os.sep
_MADE: Final = "<string>"
"""The file of methods that dataclasses and named tuples make."""
_DEEP: Final = 50
"""Frames that are looked through for the team's own."""


class Impurity(NamedTuple):
    """Something that was read besides the context.

    Attributes:
        sort: `CLOCK` or `CHANCE`.
        what: for example `time.time`.
        function: the team's function that read it.
        file: of that function.
        line: in it.
    """

    sort: str
    what: str
    function: str
    file: str
    line: int


class Impurities:
    """Watches functions while they run.

    Attributes:
        found: by what was read and where, in how many runs.
        runs: how many runs read something.
        failed_at: where the last run that failed did so, e.g. `route, app.py:12`.
    """

    def __init__(self) -> None:
        self.found: Counter[Impurity] = Counter()
        self.runs = 0
        self.failed_at = ""
        self._seen: set[Impurity] = set()
        self._seeded: set[int] = set()
        self._running: CodeType | None = None

    def watched(self, function: Callable[[Any], Any]) -> Callable[[Any], Any]:
        """The function, watched whenever it runs."""
        profile = self._profile

        def run(context: Any) -> Any:
            before = sys.getprofile()
            sys.setprofile(profile)
            try:
                return function(context)
            except Exception as error:
                sys.setprofile(before)
                self.failed_at = _place(error.__traceback__)
                raise
            finally:
                sys.setprofile(before)
                if self._seen or self._seeded:
                    self._count()

        self._running = run.__code__
        return wraps(function)(run)

    def _count(self) -> None:
        self.found.update(self._seen)
        self.runs += bool(self._seen)
        self._seen.clear()
        self._seeded.clear()

    def _profile(self, frame: FrameType, event: str, arg: Any) -> None:
        if event == "c_call":
            if arg.__name__ in _NAMES:
                self._called(frame, arg)
        elif event == "call" and frame.f_code is _SEEDING:
            if frame.f_locals.get("x") is None:
                self._note(CHANCE, "random.Random() without a seed", frame.f_back or frame)
            else:
                self._seeded.add(id(frame.f_locals["self"]))

    def _called(self, frame: FrameType, function: Any) -> None:
        name, owner = function.__name__, getattr(function, "__self__", None)
        module = getattr(function, "__module__", None)
        if name in _CLOCKS:
            if module == "time":
                self._note(CLOCK, f"time.{name}", frame)
        elif name in _NOWS:
            if isinstance(owner, type) and hasattr(owner, "fromtimestamp"):
                self._note(CLOCK, f"{owner.__name__}.{name}", frame)
        elif name in _DRAWS:
            if isinstance(owner, random.Random) and id(owner) not in self._seeded:
                self._note(CHANCE, f"random.{name}", frame)
        elif name in _ADDRESSES:
            if module == "builtins" and not _is_library(frame):
                self._note(CHANCE, _ADDRESSES[name], frame)
        else:
            self._note(CHANCE, name, frame)

    def _note(self, sort: str, what: str, frame: FrameType) -> None:
        """Names the place in the team's own code, and what was called from there."""
        inside: list[FrameType] = []
        while frame.f_code is not self._running and len(inside) < _DEEP and frame.f_back is not None:
            inside.append(frame)
            frame = frame.f_back
        # The innermost of the team's own; where all of it is installed as a library, the function itself.
        own = next((n for n, f in enumerate(inside) if not _is_library(f)), len(inside) - 1)
        place = inside[own]
        if own:
            called = inside[own - 1]
            what = f"{called.f_globals.get('__name__', '')}.{called.f_code.co_qualname}"
        code = place.f_code
        self._seen.add(Impurity(sort, what, code.co_qualname, code.co_filename, place.f_lineno))

    @contextmanager
    def watching(self) -> Iterator[None]:
        """While the block runs, functions of `time` whose arguments decide are watched too; they have to be called by
        way of the module.
        """
        before = {name: getattr(time, name) for name in _OPTIONAL}
        for name, function in before.items():
            setattr(time, name, self._noting(name, function, _OPTIONAL[name]))
        try:
            yield
        finally:
            for name, function in before.items():
                setattr(time, name, function)

    def _noting(self, name: str, function: Callable[..., Any], most: int) -> Callable[..., Any]:
        def noting(*arguments: Any) -> Any:
            if len(arguments) <= most:
                self._note(CLOCK, f"time.{name}", sys._getframe(1))
            return function(*arguments)

        return noting


def _is_library(frame: FrameType) -> bool:
    """Whether a frame is of Python's own library, of what is installed beside it, or of the SDK."""
    file = frame.f_code.co_filename
    return file.startswith((*_LIBRARIES, _OWN)) or file == _MADE


def _place(trace: TracebackType | None) -> str:
    """The innermost place in the team's own code."""
    found = ""
    while trace is not None:
        if not found or not _is_library(trace.tb_frame):
            code = trace.tb_frame.f_code
            found = f"{code.co_qualname}, {Path(code.co_filename).name}:{trace.tb_lineno}"
        trace = trace.tb_next
    return found
