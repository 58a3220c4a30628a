"""Told: an event like one that was checked, whose JSON is written when somebody asks for it, off the host's time.

Owns which details may wait for that: plain ones, of which nothing that a host does afterwards changes what is written,
and of which is known beforehand that they can be. Knows no thread; whoever writes them down writes the same bytes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from functools import lru_cache
from operator import is_, itemgetter
from typing import Any, Final

from .fact import FARTHEST, MAX_PROPERTIES, Fact

_LARGEST: Final = 1 << 63
_LEAST: Final = -_LARGEST
_SURELY: Final = MAX_PROPERTIES // 8
"""Characters, with 32 for each detail, that are no more than `MAX_PROPERTIES` however they are written."""
_RAW: Final = Fact.__dict__["raw"]
"""Where a fact keeps its JSON."""


def _encode_plain() -> Callable[[dict[str, Any], int], Iterable[str]]:
    """What `properties_bytes` makes anew with each call, made once: for details that are plain, and sorted."""
    make, text = json.encoder.c_make_encoder, json.encoder.encode_basestring  # type: ignore[attr-defined]
    if make is None:  # Python without its C parts
        return lambda properties, _: json.dumps(properties, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    made: Callable[[dict[str, Any], int], Iterable[str]] = make(
        None, json.JSONEncoder().default, text, None, ":", ",", False, False, False
    )
    return made


_ENCODE: Final = _encode_plain()


Names = tuple[tuple[str, ...], tuple[str, ...], Callable[[dict[str, Any]], tuple[Any, ...]] | None, int]
"""Names of details: as they are given; sorted, with what takes details in that order, None where that is the same; and
their characters, with 32 for each.
"""


@lru_cache(maxsize=4096)
def _named(given: tuple[str, ...]) -> Names:
    """What is to be known of names that are texts; shared by all forms."""
    size = sum(len(name) + 32 for name in given) if all(map(str.isascii, given)) else _SURELY + 1
    order = tuple(sorted(given))
    return given, order, itemgetter(*order) if order != given else None, size


_NONE: Final = _named(())


class Form:
    """What events of one type have in common.

    Args:
        checked: one of them; kind, type, identifiers, channel, touchpoint and interaction are its.

    Attributes:
        names: of the details that were told last: most often they are those of the next as well.
    """

    __slots__ = ("channel", "identifiers", "interaction", "kind", "names", "touchpoint", "type")

    def __init__(self, checked: Fact) -> None:
        self.kind = checked.kind
        self.type = checked.type
        self.identifiers = checked.identifiers
        self.channel = checked.channel
        self.touchpoint = checked.touchpoint
        self.interaction = checked.interaction
        self.names = _NONE

    def learn(self, properties: dict[str, Any]) -> Names | None:
        """Looks at other names than were told last; None where not all are texts."""
        for name in properties:
            if type(name) is not str:
                return None
        self.names = found = _named(tuple(properties))
        return found


class Told(Fact):
    """An event whose details are written as JSON once somebody asks; made by `like`."""

    __slots__ = ()

    @property
    def raw(self) -> bytes:
        """The properties as JSON bytes; written once, the same whoever comes first."""
        try:
            found: bytes = _RAW.__get__(self)
        except AttributeError:
            plain = self._properties
            if plain is None:  # another thread let go of them just now: it wrote them before
                return bytes(_RAW.__get__(self))
            found = "".join(_ENCODE(plain, 0)).encode()
            _RAW.__set__(self, found)
        return found

    @raw.setter
    def raw(self, written: bytes) -> None:
        _RAW.__set__(self, written)

    def forget(self) -> None:
        """As of every fact, once they are written."""
        _RAW.__set__(self, self.raw)
        super().forget()


_NEW: Final = object.__new__
"""`like` fills what it makes: a call of `__init__` would cost as much as that."""


def like(form: Form, id_: bytes, at: int, seq: int, properties: dict[str, Any]) -> Fact | None:
    """An event like one that was checked, of details that nobody changes any more; None where they, or its instant,
    have to be looked at.

    Raises:
        ValueError: what JSON, or UTF-8, does not have.
    """
    if not 0 < at < FARTHEST:
        return None
    names = form.names
    given = names[0]
    if len(properties) != len(given) or not all(map(is_, properties, given)):
        learnt = form.learn(properties)
        if learnt is None:
            return None
        names = learnt
    _, order, pick, size = names
    for value in properties.values():
        kind = type(value)
        if kind is str:
            size += len(value) if value.isascii() else _SURELY
        elif kind is int:
            if not _LEAST <= value < _LARGEST:
                return None
        elif kind is float:
            if value - value != 0.0:
                return None
        elif kind is not bool and value is not None:
            return None
    fact = _NEW(Told)
    fact.id = id_
    fact.kind = form.kind
    fact.type = form.type
    fact.occurred_at = at
    fact.seq = seq
    fact.identifiers = form.identifiers
    fact.channel = form.channel
    fact.touchpoint = form.touchpoint
    fact.interaction = form.interaction
    fact._properties = properties if pick is None else dict(zip(order, pick(properties)))  # noqa: B905  # asking for as many of both costs more than all of it
    # What may be no UTF-8, or too much, is known once it is written.
    if size > _SURELY and len(fact.raw) > MAX_PROPERTIES:
        return None
    return fact
