"""Stored contents: a content as the bytes that a store keeps, and back.

Owns their form: the sections as JSON, compressed. Most of it is the newest facts, which say much the same: a third is
left, so that five customers share a page of the file where there was room for one, and half of it was lost. Bytes from
before that are read as well. What is compared, told and hashed is the JSON.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Final, NamedTuple

import orjson
from segue.domain import section
from segue.domain.content import Content
from segue.domain.plan import Plan

LEVEL: Final = 1
"""Of compression: 20 microseconds for ten facts, and 7 to read them; the next levels gain a tenth for twice as much."""
_PLAIN: Final = b"{"


class Stored(NamedTuple):
    """All that the store has of a customer, as it keeps it: read without folding or decoding.

    Attributes:
        position, moved: as of a `Head`.
        sections: in the store's plain form.
    """

    position: int
    moved: int
    sections: Mapping[str, section.Plain]


def dumps(plain: section.Plain) -> bytes:
    """As `section.dumps`, faster."""
    return orjson.dumps(plain, option=orjson.OPT_SORT_KEYS)


def stored(content: Content, plan: Plan) -> bytes:
    """A content as a store keeps it."""
    return zlib.compress(dumps(section.plain(content, plan)), LEVEL)


def unstored(data: bytes) -> Content:
    """The content of `stored`.

    Raises:
        ValueError: these bytes are none.
    """
    return section.decode(_json(data), orjson.loads)


def sections(data: bytes) -> Mapping[str, section.Plain]:
    """The sections of `stored`, in their plain form, without making a content of them.

    Raises:
        ValueError: these bytes are none.
    """
    found: Mapping[str, section.Plain] = orjson.loads(_json(data))
    return found


def _json(data: bytes) -> bytes:
    try:
        return data if data[:1] == _PLAIN else zlib.decompress(data)
    except zlib.error as error:
        raise ValueError(f"a stored content cannot be read: {error}") from None
