"""Limits: how much a hub takes on at most, of everything that somebody else decides how much there is.

Owns their names, defaults and bounds, and reading them as `name=value`. What is refused, and how, is told where it is
refused; docs/reference/limits.md lists them all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from typing import Any

from segue.errors import ConfigError

_MIB = 1024 * 1024


def _limit(default: int, least: int, told: str) -> Any:
    return field(default=default, metadata={"least": least, "told": told})


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a hub takes on at most."""

    message_bytes: int = _limit(4 * _MIB, 64 * 1024, "bytes of one message")
    batch: int = _limit(1000, 1, "facts of one PublishEvents")
    lookups: int = _limit(256, 1, "identifiers of one GetContexts")
    queue_bytes: int = _limit(64 * _MIB, 64 * 1024, "bytes of facts that wait to be written")
    queue_ms: int = _limit(2000, 50, "milliseconds that facts wait for the writer before further ones are refused")
    calls: int = _limit(256, 1, "calls under way, of all touchpoints")
    calls_per_touchpoint: int = _limit(128, 1, "calls under way, of one touchpoint")
    admin_calls: int = _limit(32, 1, "calls under way with the admin's key, which have room of their own")
    streams: int = _limit(20_000, 1, "streams open, of all touchpoints")
    streams_per_touchpoint: int = _limit(10_000, 1, "streams open, of one touchpoint")
    streams_per_connection: int = _limit(256, 1, "streams open, of one connection")
    anonymous_streams: int = _limit(64, 1, "streams open without a key: health watches and reflection")
    subscriptions: int = _limit(50_000, 1, "subscriptions of one stream")
    pending: int = _limit(100_000, 256, "ids of own facts that one stream asks about at once")
    outgoing_bytes: int = _limit(_MIB, 1024, "bytes of answers that wait for one stream; until read, it is not heard")
    slow_reader_ms: int = _limit(8000, 100, "milliseconds that a stream may take to read one message")

    def validate(self) -> Limits:
        """Returns itself.

        Raises:
            ConfigError: names the limit and the cure.
        """
        for one in fields(self):
            if getattr(self, one.name) < one.metadata["least"]:
                raise ConfigError(f"limit {one.name}: {getattr(self, one.name)} is less than {one.metadata['least']}")
        if self.queue_bytes < self.message_bytes:
            raise ConfigError(f"limit queue_bytes: less than message_bytes ({self.message_bytes}): no batch would fit")
        return self


def limits_of(texts: Sequence[str]) -> Limits:
    """Limits from `name=value`, the defaults where not named.

    Raises:
        ConfigError: names the limit and the cure.
    """
    known = [one.name for one in fields(Limits)]
    named: dict[str, int] = {}
    for text in texts:
        name, _, value = text.partition("=")
        if name not in known:
            near = get_close_matches(name, known, 1)
            meant = f"did you mean {near[0]}?" if near else f"known are {', '.join(known)}"
            raise ConfigError(f"limit {name!r} is not known: {meant}")
        if not (value.isascii() and value.isdigit()) or len(value) > 15:
            raise ConfigError(f"limit {name}: {value!r} is no whole number. Write {name}=NUMBER")
        named[name] = int(value)
    return Limits(**named).validate()


def told() -> str:
    """All limits with their defaults, a line each, for people."""
    return "\n".join(f"{one.name}={one.default}  {one.metadata['told']}" for one in fields(Limits))
