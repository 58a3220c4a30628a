"""Peer of P6 as a client, in its own environment: Redis GET, one by one and 32 in a pipeline.

Run by `workers.Worker("reader_peer", peer=True)`. A value is bytes as long as a context; nothing is decoded.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from typing import Any

import redis

from .workers import serve


class RedisReader:
    """One connection."""

    def __init__(self) -> None:
        self._redis: Any = None
        self._size = 0

    def connect_redis(self, where: str, keys: int, size: int) -> str:
        """Connects and fills it: so many values of so many bytes."""
        self._redis, self._size = redis.Redis(port=int(where)), size
        self._redis.config_set("appendonly", "no")
        for start in range(0, keys, 1000):
            pipeline = self._redis.pipeline(transaction=False)
            for number in range(start, min(start + 1000, keys)):
                pipeline.set(f"A-{number:07d}", os.urandom(size))
            pipeline.execute()
        assert self._redis.dbsize() == keys
        return f"Redis {self._redis.info('server')['redis_version']}, in memory, {keys:,} values of {size} bytes"

    def get(self, keys: Sequence[int]) -> dict[str, float]:
        """One GET after the other."""
        took, found = [], []
        for key in keys:
            name = f"A-{key:07d}"
            began = time.perf_counter()
            found.append(self._redis.get(name))
            took.append(time.perf_counter() - began)
        assert all(len(value) == self._size for value in found)
        return _figures(took)

    def pipelined(self, keys: Sequence[int], size: int) -> dict[str, float]:
        """So many GETs in a pipeline, one pipeline after the other."""
        took, found = [], []
        for start in range(0, len(keys), size):
            names = [f"A-{key:07d}" for key in keys[start : start + size]]
            began = time.perf_counter()
            pipeline = self._redis.pipeline(transaction=False)
            for name in names:
                pipeline.get(name)
            found += pipeline.execute()
            took.append(time.perf_counter() - began)
        assert [len(value) for value in found] == [self._size] * len(keys)
        return {**_figures(took), "per_second": len(keys) / sum(took)}


def _figures(took: list[float]) -> dict[str, float]:
    ordered = sorted(took)
    return {"p50_us": ordered[len(took) // 2] * 1e6, "p99_us": ordered[int(len(took) * 0.99)] * 1e6}


if __name__ == "__main__":
    reader = RedisReader()
    serve({"connect_redis": reader.connect_redis, "get": reader.get, "pipelined": reader.pipelined})
