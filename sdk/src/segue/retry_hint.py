"""The pause that a hub asks for: `google.rpc.RetryInfo` out of a status's details.

Owns reading two messages of Google's error model, which the SDK needs no package for: only their field numbers are
known here. What cannot be read asks for nothing.
"""

from __future__ import annotations

from typing import Final

DETAILS: Final = "grpc-status-details-bin"
"""The trailer that carries a status's details."""
_DETAIL, _TYPE, _VALUE, _DELAY, _SECONDS, _NANOS = 3, 1, 2, 1, 1, 2
_VARINT, _EIGHT, _TEXT, _FOUR = 0, 1, 2, 5
_LONGEST: Final = 10


def asked_pause(status: bytes | str) -> int:
    """Milliseconds that a status asks to be left alone, 0 where it does not say."""
    try:
        for number, value in _fields(status if isinstance(status, bytes) else status.encode("latin-1")):
            if number != _DETAIL or not isinstance(value, bytes):
                continue
            detail = dict(_fields(value))
            if _bytes(detail.get(_TYPE)).endswith(b"google.rpc.RetryInfo"):
                delay = dict(_fields(_bytes(dict(_fields(_bytes(detail.get(_VALUE)))).get(_DELAY))))
                return max(0, _number(delay.get(_SECONDS)) * 1000 + _number(delay.get(_NANOS)) // 1_000_000)
    except (ValueError, IndexError, UnicodeError):
        return 0
    return 0


def _bytes(value: bytes | int | None) -> bytes:
    return value if isinstance(value, bytes) else b""


def _number(value: bytes | int | None) -> int:
    number = value if isinstance(value, int) else 0
    return number - (1 << 64) if number >= 1 << 63 else number


def _fields(message: bytes) -> list[tuple[int, bytes | int]]:
    """The fields of a message: (number, value)."""
    found: list[tuple[int, bytes | int]] = []
    place = 0
    while place < len(message):
        key, place = _varint(message, place)
        number, kind = key >> 3, key & 7
        if kind == _VARINT:
            value, place = _varint(message, place)
            found.append((number, value))
            continue
        if kind == _TEXT:
            size, place = _varint(message, place)
        elif kind in (_EIGHT, _FOUR):
            size = 8 if kind == _EIGHT else 4
        else:
            raise ValueError(f"wire type {kind}")
        if place + size > len(message):
            raise ValueError("cut short")
        found.append((number, message[place : place + size]))
        place += size
    return found


def _varint(message: bytes, place: int) -> tuple[int, int]:
    value = 0
    for count in range(_LONGEST):
        byte = message[place + count]
        value |= (byte & 0x7F) << (7 * count)
        if byte < 0x80:
            return value, place + count + 1
    raise ValueError("a number of more than ten bytes")
