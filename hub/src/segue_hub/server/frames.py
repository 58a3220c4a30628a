"""Frames: a context that is encoded once, on its way to each who watches it.

Owns the bytes around it: protobuf's messages are the fields that stand in them, in any order, so what was encoded is
not taken apart and put together again for every stream.
"""

from __future__ import annotations

from typing import Final

from segue.v1 import sync_pb2 as pb

_BYTES: Final = 2
"""How protobuf writes a field that says its length."""
_CONTEXT: Final = bytes([pb.ContextUpdate.CONTEXT_FIELD_NUMBER << 3 | _BYTES])
_UPDATE: Final = bytes([pb.SyncResponse.CONTEXT_FIELD_NUMBER << 3 | _BYTES])


def framed(seq: int, update: pb.ContextUpdate, context: bytes) -> bytes:
    """A SyncResponse.

    Args:
        seq: its number in the stream.
        update: all that it says beside the context.
        context: encoded; empty where it says none.
    """
    inner = update.SerializeToString()
    if context:
        inner = b"".join((inner, _CONTEXT, _varint(len(context)), context))
    return b"".join((pb.SyncResponse(seq=seq).SerializeToString(), _UPDATE, _varint(len(inner)), inner))


def _varint(number: int) -> bytes:
    found = bytearray()
    while number > 0x7F:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    found.append(number)
    return bytes(found)
