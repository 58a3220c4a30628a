"""Making facts about who is one with whom: links, and what is said about them.

Owns how a link, a retraction, an ending and a separation look as facts. What they do is `identity`'s.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from .fact import LINK, RETRACTION, STATEMENTS, Fact, properties_bytes
from .identifier import Identifier

SAID: Final = (LINK, *STATEMENTS)
"""Kinds of facts that say of identifiers whether they are one."""


def statement_fact(
    id_: bytes, kind: str, names: Sequence[Identifier], at: int, seq: int, *, target: bytes = b"", reason: str = "",
    touchpoint: str = "", channel: str = "",
) -> Fact:  # fmt: skip
    """A fact that says of identifiers that they are one, or are not; not yet checked.

    `kind` is one of `SAID`; `names` are the two that it is about (a link may name more); `at` is from when on an ending
    holds, otherwise when it is said; `target` is the one fact that a retraction takes back: all links of the two where
    empty; `reason` is for people.
    """
    told = {"reason": reason} if reason else {}
    if kind == RETRACTION and target:
        told["fact"] = target.hex()
    return Fact(id_, kind, kind, at, seq, tuple(names), channel, touchpoint, None, properties_bytes(told))
