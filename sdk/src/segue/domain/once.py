"""Once: what is worked out of an object when it is first asked for, and kept with it.

Owns that no lock is taken: `functools.cached_property` has one in Python 3.11, for all objects of a class, and a child
that is forked while another thread works one out would wait for ever in its own. Two threads may both work it out.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, Self, TypeVar, overload

T = TypeVar("T")


class once(Generic[T]):  # noqa: N801  # it is read as `@property` is
    """A property that is worked out once: `@once`."""

    def __init__(self, function: Callable[[Any], T]) -> None:
        self._function, self.__doc__ = function, function.__doc__

    @overload
    def __get__(self, instance: None, owner: type) -> Self: ...
    @overload
    def __get__(self, instance: object, owner: type) -> T: ...
    def __get__(self, instance: object | None, owner: type) -> Self | T:
        if instance is None:
            return self
        found = self._function(instance)
        instance.__dict__[self._function.__name__] = found  # found there from here on, and not asked here again
        return found
