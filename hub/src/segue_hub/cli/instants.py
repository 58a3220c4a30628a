"""Instants on the command line: RFC 3339, or how long ago.

Owns how people say when, and what of the log they mean.
"""

from __future__ import annotations

import time

from segue.domain.instant import parse_instant, span
from segue.v1 import admin_service_pb2 as pb

from .output import fail


def now() -> int:
    """This machine's clock, in microseconds."""
    return time.time_ns() // 1000


def instant(text: str, name: str) -> int:
    """Microseconds of `2026-03-03T10:00:00Z`, of `now`, or of so long ago: `90s`, `15m`, `1h`, `7d`.

    Args:
        text: as typed.
        name: of the option or argument, for the error.
    """
    if text == "now":
        return now()
    try:
        return parse_instant(text) if "T" in text.upper() else now() - span(text)
    except ValueError:
        fail(f"{name}: {text!r} is no instant. Write 2026-03-03T10:00:00Z, now, or how long ago, e.g. 1h", 2)
        raise


def known(text: str) -> pb.Known | None:
    """What of the log is looked at: up to an instant, or up to a position (digits alone)."""
    if not text:
        return None
    return pb.Known(position=int(text)) if text.isdigit() else pb.Known(at=instant(text, "--known-at"))
