"""The version of a decision function: a digest of what it does, the same in every process.

Owns which parts of a function count: its bytecode, constants and names, those of functions inside it, and its
defaults. Comments, docstrings, line numbers and the file's name do not; neither does what it calls elsewhere. Another
minor version of Python compiles otherwise and gives another digest.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from functools import lru_cache, partial
from types import CodeType
from typing import Any, Final

LENGTH: Final = 12
"""Characters of a digest."""
_ADDRESS: Final = re.compile(r" at 0x[0-9a-fA-F]+")
_NESTED: Final = 0x10
"""The flag of a function within another: where it is written says nothing of what it does."""
_DEEP: Final = 16
"""Wrappers around a function at most."""


def function_version(function: Callable[..., Any]) -> str:
    """The digest of a function; empty where it is none of Python's."""
    try:
        return _version(function)
    except Exception:  # noqa: BLE001  # the host's own callable: whatever it is, it can be asked without a version
        return ""


@lru_cache(maxsize=1024)
def _version(function: Callable[..., Any]) -> str:
    inner: Any = function
    bound: list[str] = []
    for _ in range(_DEEP):
        if isinstance(inner, partial):
            bound.append(f"{inner.args!r}{sorted(inner.keywords.items())!r}")
            inner = inner.func
        elif hasattr(inner, "__wrapped__"):
            inner = inner.__wrapped__
        elif hasattr(inner, "__func__"):
            inner = inner.__func__
        elif not hasattr(inner, "__code__") and hasattr(type(inner), "__call__"):  # noqa: B004  # its code is wanted
            inner = type(inner).__call__
            if not hasattr(inner, "__code__"):
                return ""
        else:
            break
    code: CodeType = inner.__code__
    parts = [_parts(code, inner.__doc__), repr(inner.__defaults__), repr(inner.__kwdefaults__), *bound]
    # Where a thing lies in memory is another place in every process.
    text = _ADDRESS.sub(" at 0x", "\0".join(parts))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:LENGTH]


def _parts(code: CodeType, said: str | None = None) -> str:
    """What a code object does, as text; sets in an order of their own."""
    constants = [_constant(constant) for constant in code.co_consts if constant is None or constant != said]
    names = (code.co_names, code.co_varnames[: code.co_argcount + code.co_kwonlyargcount], code.co_freevars)
    return f"{code.co_code.hex()}|{'|'.join(constants)}|{names!r}|{code.co_flags & ~_NESTED}"


def _constant(constant: Any) -> str:
    if isinstance(constant, CodeType):
        return _parts(constant, constant.co_consts[0] if constant.co_consts else None)
    if isinstance(constant, frozenset):
        return "{" + ",".join(sorted(map(repr, constant))) + "}"
    return repr(constant)
