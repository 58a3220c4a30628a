"""Frames: a context that is encoded once, on its way to each who watches it.

Owns the bytes around it: protobuf's messages are the fields that stand in them, in any order, so what was encoded is
not taken apart and put together again for every stream.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from segue.v1 import sync_pb2 as pb

_BYTES: Final = 2
"""How protobuf writes a field that says its length."""
_CONTEXT: Final = bytes([pb.ContextUpdate.CONTEXT_FIELD_NUMBER << 3 | _BYTES])
_ONE: Final = bytes([pb.SyncResponse.CONTEXT_FIELD_NUMBER << 3 | _BYTES])
_SEVERAL: Final = bytes([pb.SyncResponse.CONTEXTS_FIELD_NUMBER << 3 | _BYTES])
_EACH: Final = bytes([pb.ContextUpdates.UPDATES_FIELD_NUMBER << 3 | _BYTES])


def encoded(update: pb.ContextUpdate, context: bytes = b"") -> bytes:
    """A ContextUpdate.

    Args:
        update: all that it says beside the context.
        context: encoded; empty where it says none.
    """
    inner = update.SerializeToString()
    return b"".join((inner, _CONTEXT, _varint(len(context)), context)) if context else inner


def framed(seq: int, updates: Sequence[bytes]) -> bytes:
    """A SyncResponse.

    Args:
        seq: its number in the stream.
        updates: encoded, one at least.
    """
    head = pb.SyncResponse(seq=seq).SerializeToString()
    if len(updates) == 1:
        return b"".join((head, _ONE, _varint(len(updates[0])), updates[0]))
    inner = b"".join([part for update in updates for part in (_EACH, _varint(len(update)), update)])
    return b"".join((head, _SEVERAL, _varint(len(inner)), inner))


def _varint(number: int) -> bytes:
    found = bytearray()
    while number > 0x7F:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    found.append(number)
    return bytes(found)
