"""Bytes as no client of ours would send them: what a stranger may say to an open port.

Owns making them, from a chance that is given: noise, HTTP/2 frames by hand, prefaces and requests that were damaged,
floods, other protocols. Sends nothing and knows no hub.
"""

from __future__ import annotations

import gzip
import random
import ssl
from collections.abc import Callable
from contextlib import suppress
from typing import Final

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = 0, 1, 2, 3, 4, 6, 7, 8, 9
END_STREAM, END_HEADERS, ACKNOWLEDGED = 1, 4, 1
_READ = "/segue.v1.ContextService/GetContext"


def frame(kind: int, flags: int, stream: int, body: bytes, length: int | None = None) -> bytes:
    """One HTTP/2 frame; `length` where it lies about its size."""
    size = len(body) if length is None else length
    return size.to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + body


def _number(value: int, bits: int) -> bytes:
    most = (1 << bits) - 1
    if value < most:
        return bytes((value,))
    value, found = value - most, bytearray((most,))
    while value >= 128:
        found.append(value % 128 + 128)
        value //= 128
    return bytes((*found, value))


def headers(*fields: tuple[str, str]) -> bytes:
    """A header block (HPACK), every field literal and kept in no table."""
    texts = [(name.encode(), value.encode()) for name, value in fields]
    return b"".join(b"\0" + _number(len(n), 7) + n + _number(len(v), 7) + v for n, v in texts)


def opening(stream: int, path: str = _READ, *more: tuple[str, str]) -> bytes:
    """The beginning of a call."""
    block = headers(
        (":method", "POST"), (":scheme", "http"), (":path", path), (":authority", "hub"), ("te", "trailers"),
        ("content-type", "application/grpc"), ("grpc-timeout", "1S"), *more,
    )  # fmt: skip
    return frame(HEADERS, END_HEADERS, stream, block)


def begun() -> bytes:
    """The beginning of a connection."""
    return PREFACE + frame(SETTINGS, 0, 0, b"")


def noise(chance: random.Random) -> bytes:
    return chance.randbytes(chance.randrange(1, 4096))


def noise_after_preface(chance: random.Random) -> bytes:
    return PREFACE[: chance.choice((len(PREFACE), chance.randrange(1, len(PREFACE))))] + noise(chance)


def frames_at_random(chance: random.Random) -> bytes:
    parts = [begun()]
    for _ in range(chance.randrange(1, 60)):
        body = chance.randbytes(chance.choice((0, 4, 5, 6, 8, chance.randrange(300))))
        length = chance.choice((None, None, None, 0, 0xFFFFFF, chance.randrange(1 << 14)))
        stream = chance.choice((0, 1, 2, 3, 0x7FFFFFFF, 0xFFFFFFFF, chance.randrange(99)))
        parts.append(frame(chance.randrange(12), chance.randrange(256), stream, body, length))
    return b"".join(parts)


def hpack_at_random(chance: random.Random) -> bytes:
    return begun() + b"".join(
        frame(HEADERS, END_HEADERS | chance.randrange(2), 2 * number + 1, chance.randbytes(chance.randrange(200)))
        for number in range(30)
    )


def damaged_call(chance: random.Random) -> bytes:
    key = ("authorization", "Bearer segue_app_" + chance.randbytes(24).hex())
    body = chance.randbytes(chance.randrange(40))
    whole = bytearray(begun() + opening(1, _READ, key))
    whole += frame(DATA, END_STREAM, 1, b"\0" + len(body).to_bytes(4, "big") + body)
    for _ in range(chance.randrange(1, 12)):
        place = chance.randrange(len(whole))
        how = chance.randrange(4)
        if how == 0:
            whole[place] = chance.randrange(256)
        elif how == 1:
            del whole[place : place + chance.randrange(1, 9)]
        elif how == 2:
            whole[place:place] = chance.randbytes(chance.randrange(1, 9))
        else:
            whole[place:place] = whole[place : place + chance.randrange(1, 99)]
    return bytes(whole[: chance.choice((len(whole), chance.randrange(1, len(whole) + 1)))])


def message_that_lies(chance: random.Random) -> bytes:
    """Says that four gigabytes follow, or that nothing does."""
    size = chance.choice((0xFFFFFFFF, 1 << 31, 5 * 1024 * 1024, 0))
    return begun() + opening(1) + frame(DATA, END_STREAM, 1, bytes((chance.randrange(3),)) + size.to_bytes(4, "big"))


def compressed_bomb(chance: random.Random) -> bytes:
    """A hundred megabytes of nothing in a hundred kilobytes; more than the window at once is sent all the same."""
    body = b"\1" + len(_BOMB).to_bytes(4, "big") + _BOMB
    parts = [body[place : place + 16_384] for place in range(0, len(body), 16_384)]
    last = len(parts) - 1
    call = opening(1, "/segue.v1.EventService/PublishEvents", ("grpc-encoding", "gzip"))
    return begun() + call + b"".join(frame(DATA, END_STREAM * (n == last), 1, part) for n, part in enumerate(parts))


def upgrade(chance: random.Random) -> bytes:
    settings = chance.choice(("AAMAAABkAAQAAP__", "", "!" * 5000))
    return f"GET / HTTP/1.1\r\nHost: hub\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: " \
           f"{settings}\r\n\r\n".encode() + begun()  # fmt: skip


def tls_hello(chance: random.Random) -> bytes:
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    wrapped = ssl.create_default_context().wrap_bio(incoming, outgoing, server_hostname="hub")
    with suppress(ssl.SSLWantReadError):
        wrapped.do_handshake()
    return outgoing.read()


def headers_without_end(chance: random.Random) -> bytes:
    block = headers(*((f"x-{number}", "v" * 1000) for number in range(14)))
    return begun() + frame(HEADERS, 0, 1, block) + frame(CONTINUATION, 0, 1, block) * 600


def one_giant_header(chance: random.Random) -> bytes:
    return begun() + opening(1, _READ, ("x-giant", "v" * 15_000)) + opening(3, "/" + "p" * 15_000)


def http_1_giant(chance: random.Random) -> bytes:
    return b"GET /healthz HTTP/1.1\r\nHost: hub\r\nX-Giant: " + b"v" * 4_000_000 + b"\r\n\r\n"


def http_1_damaged(chance: random.Random) -> bytes:
    length = chance.choice(("-1", "99999999999999999999", "5, 6", "0x10", "5"))
    way = chance.choice(("POST /v1/events", "POST /v1/decide", "GET /metrics", "\0\0 \0", "POST //..//v1/events"))
    more = chance.choice(
        ("Transfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFF\r\n", "Expect: 100-continue\r\n\r\n", "\r\n")
    )
    authorization = "Authorization: Bearer " + chance.randbytes(20).decode("latin-1").replace("\n", "")
    text = f"{way} HTTP/1.{chance.randrange(3)}\r\nHost: hub\r\n{authorization}\r\nContent-Length: {length}\r\n{more}"
    return text.encode("latin-1") + noise(chance)


def pings(chance: random.Random) -> bytes:
    return begun() + frame(PING, 0, 0, chance.randbytes(8)) * 10_000


def settings(chance: random.Random) -> bytes:
    one = (4).to_bytes(2, "big") + chance.choice((0, 65_535, 1 << 20)).to_bytes(4, "big")
    return begun() + frame(SETTINGS, 0, 0, one * 10) * 5_000


def rapid_resets(chance: random.Random) -> bytes:
    return begun() + b"".join(
        opening(2 * number + 1) + frame(RST_STREAM, 0, 2 * number + 1, b"\0\0\0\x08") for number in range(3_000)
    )


def many_calls(chance: random.Random) -> bytes:
    """More at once than one connection may have, none of which ends."""
    return begun() + b"".join(opening(2 * number + 1) for number in range(1_500))


def windows(chance: random.Random) -> bytes:
    most = frame(WINDOW_UPDATE, 0, 0, (0x7FFFFFFF).to_bytes(4, "big"))
    return begun() + most * 10 + frame(WINDOW_UPDATE, 0, 0, b"\0\0\0\0") * 1000


def windows_of_nothing(chance: random.Random) -> bytes:
    """Calls whose answers may never be sent: the stranger lets nothing through, and says so first."""
    closed = frame(SETTINGS, 0, 0, (4).to_bytes(2, "big") + (0).to_bytes(4, "big"))
    body = b"\0\0\0\0\0"
    calls = (opening(2 * n + 1, "/grpc.health.v1.Health/Check") + frame(DATA, END_STREAM, 2 * n + 1, body)
             for n in range(100))  # fmt: skip
    return PREFACE + closed + b"".join(calls)


def heads_without_bodies(chance: random.Random) -> bytes:
    """Calls that end with their beginning, and trailers where none belong."""
    path = chance.choice((_READ, "/segue.v1.SyncService/Sync", "/segue.v1.EventService/PublishEvents", "/", ""))
    ends = (frame(HEADERS, END_HEADERS | END_STREAM, 2 * n + 1, _call(path)) for n in range(50))
    trailers = frame(HEADERS, END_HEADERS | END_STREAM, 101, headers(("grpc-status", "0"), (":path", path)))
    return begun() + b"".join(ends) + opening(101, path) + trailers + trailers


def odd_calls(chance: random.Random) -> bytes:
    """Well-formed HTTP/2 that is no gRPC, or says nonsense of itself."""
    timeouts = ("", "1", "S", "-1S", "99999999999S", "1S1S", "1\u00b5", "0n", "999999999H", "1 S")
    kinds = ("", "text/html", "application/json", "application/grpc+json", "application/grpc-web", "a" * 5000)
    encodings = ("identity", "gzip", "brotli", "", "gzip,gzip", "\0")
    calls = []
    for number in range(60):
        more = [
            ("grpc-timeout", chance.choice(timeouts)), ("grpc-encoding", chance.choice(encodings)),
            ("grpc-accept-encoding", chance.choice(encodings)), (":status", "200"),
        ]  # fmt: skip
        path, kind = chance.choice((_READ, "/../../etc/passwd", "*", "//")), chance.choice(kinds)
        block = _call(path, kind, *more[: chance.randrange(5)])
        body = chance.randbytes(chance.randrange(12))
        calls.append(frame(HEADERS, END_HEADERS, 2 * number + 1, block) + frame(DATA, END_STREAM, 2 * number + 1, body))
    return begun() + b"".join(calls)


def _call(path: str, kind: str = "application/grpc", *more: tuple[str, str]) -> bytes:
    method = (":method", "POST"), (":scheme", "http"), (":path", path), (":authority", "hub")
    return headers(*method, ("te", "trailers"), ("content-type", kind), *more)


def http_1_one_upon_the_other(chance: random.Random) -> bytes:
    """Requests that do not wait for answers, for files that are not there to be had."""
    paths = (
        "/../../../../etc/passwd",
        "/%2e%2e/%2e%2e/segue.db",
        "/healthz/../metrics",
        "//etc/passwd",
        "/\0",
        "/metrics",
    )
    ways = ("GET", "HEAD", "PUT", "TRACE", "CONNECT")
    asked = (f"{chance.choice(ways)} {chance.choice(paths)} HTTP/1.1\r\nHost: h\r\n\r\n" for _ in range(300))
    return "".join(asked).encode()


KINDS: Final[tuple[Callable[[random.Random], bytes], ...]] = (
    noise, noise_after_preface, frames_at_random, hpack_at_random, damaged_call, message_that_lies, compressed_bomb,
    upgrade, tls_hello, headers_without_end, one_giant_header, http_1_giant, http_1_damaged, pings, settings,
    rapid_resets, many_calls, windows, windows_of_nothing, heads_without_bodies, odd_calls, http_1_one_upon_the_other,
)  # fmt: skip
"""All of them."""

_BOMB: Final = gzip.compress(bytes(100_000_000), 9)
