"""The cap that a team would build on Redis: one key a customer, set where it is not set, for a time.

Runs in the peers' environment, by `workers.Worker("reserver_peer", peer=True)`. Who is refused reads who holds it and
until when in the value, in the same round trip.
"""

from __future__ import annotations

import asyncio
import os
import time
import uuid
from typing import Any, Final

import redis
import redis.asyncio

from .crowd import measured
from .workers import serve

HOLD_MS: Final = 300_000
WINDOW_MS: Final = 86_400_000


class Cap:
    """Connections as many as calls are under way."""

    def __init__(self) -> None:
        self._port = 0

    def connect(self, where: str) -> str:
        """Says where; refuses where an answer would not be durable."""
        self._port = int(where)
        with redis.Redis(port=self._port) as plain:
            told = {**plain.config_get("appendonly"), **plain.config_get("appendfsync")}
            assert told == {"appendonly": "yes", "appendfsync": "always"}, told
            return f"Redis {plain.info('server')['redis_version']}, appendfsync {told['appendfsync']}"

    def kept(self) -> int:
        """Places taken."""
        with redis.Redis(port=self._port) as plain:
            return int(plain.dbsize())

    def run(self, **size: int) -> dict[str, float]:
        """One round; see `crowd.measured`."""

        async def work() -> dict[str, float]:
            async with redis.asyncio.Redis(port=self._port) as client:
                return await measured(_Reserving(client), _Confirming(client), tag=os.urandom(6).hex(), **size)

        return asyncio.run(work())


class _Reserving:
    def __init__(self, client: Any) -> None:
        self._client = client

    async def __call__(self, account: str) -> str | None:
        value = f"bench {uuid.uuid4().hex} {time.time_ns() // 1_000_000 + WINDOW_MS}"
        holder = await self._client.set(f"once_a_day:{account}", value, nx=True, get=True, px=HOLD_MS)
        if holder is not None and len(holder.split()) != 3:
            raise RuntimeError("refused, and nobody is named")
        return value if holder is None else None


class _Confirming:
    def __init__(self, client: Any) -> None:
        self._client = client

    async def __call__(self, account: str, value: str) -> None:
        if not await self._client.set(f"once_a_day:{account}", value, xx=True, px=WINDOW_MS):
            raise RuntimeError("the place is gone")


if __name__ == "__main__":
    cap = Cap()
    serve({"connect": cap.connect, "kept": cap.kept, "run": cap.run})
