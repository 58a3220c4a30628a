"""Told: an event like one that was checked, whose JSON is written when somebody asks for it, off the host's time.

Owns which details may wait for that: plain ones, of which nothing that a host does afterwards changes what is written,
and of which is known beforehand that they can be. Knows no thread; whoever writes them down writes the same bytes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any, Final

from .fact import FARTHEST, MAX_PROPERTIES, Fact

_LARGEST: Final = 1 << 63
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


class Told(Fact):
    """An event whose details are written as JSON once somebody asks.

    Args:
        form: one that was checked: kind, type, identifiers, channel, touchpoint and interaction are its.
        properties: that `like` has looked at; nobody changes them any more.
    """

    __slots__ = ()

    def __init__(self, form: Fact, id_: bytes, at: int, seq: int, properties: dict[str, Any]) -> None:
        self.id = id_
        self.kind = form.kind
        self.type = form.type
        self.occurred_at = at
        self.seq = seq
        self.identifiers = form.identifiers
        self.channel = form.channel
        self.touchpoint = form.touchpoint
        self.interaction = form.interaction
        self._properties = properties

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


def like(form: Fact, id_: bytes, at: int, seq: int, properties: dict[str, Any]) -> Fact | None:
    """An event like one that was checked, of details that nobody changes any more; None where they, or its instant,
    have to be looked at.

    Raises:
        ValueError: what JSON, or UTF-8, does not have.
    """
    if not 0 < at < FARTHEST:
        return None
    size, surely = 0, True
    for name, value in properties.items():
        if type(name) is not str:
            return None
        kind = type(value)
        if kind is str:
            size += len(value)
            surely = surely and value.isascii()
        elif kind is int:
            if not -_LARGEST <= value < _LARGEST:
                return None
        elif kind is float:
            if value - value != 0.0:
                return None
        elif kind is not bool and value is not None:
            return None
        size += len(name) + 32
        surely = surely and name.isascii()
    plain = dict(sorted(properties.items())) if len(properties) > 1 else properties
    fact = Told(form, id_, at, seq, plain)
    # What may be no UTF-8, or too much, is known once it is written.
    if (not surely or size > _SURELY) and len(fact.raw) > MAX_PROPERTIES:
        return None
    return fact
