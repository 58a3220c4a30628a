"""Peers of P2, P3 and P4, in their own environment: Redis and PostgreSQL, both durable.

They store and nothing else: no validation, no deduplication by id, no identity, no fold, no context to read.
Run by `workers.Worker("stores_peer", peer=True)`.
"""

from __future__ import annotations

import os
import random
import time
from typing import Any, Final

import psycopg
import redis

from .measure import percentile
from .workers import serve

BATCH: Final = 256
_PROPERTIES: Final = b'{"article":"how-to-12","page":4}'


class Stores:
    """One connection each, and rows made beforehand."""

    def __init__(self) -> None:
        self._redis: Any = None
        self._postgres: Any = None
        self._rows: list[list[tuple[bytes, int, str, int, int, bytes]]] = []

    def connect_redis(self, where: str) -> str:
        """Connects; refuses where an acknowledgement would not be durable."""
        self._redis = redis.Redis(port=int(where))
        told = {**self._redis.config_get("appendonly"), **self._redis.config_get("appendfsync")}
        assert told == {"appendonly": "yes", "appendfsync": "always"}, told
        return f"Redis {self._redis.info('server')['redis_version']}, appendfsync {told['appendfsync']}"

    def get(self, count: int) -> float:
        """Microseconds of one GET of 1 KB."""
        value = os.urandom(1024)
        self._redis.set("context", value)
        ask, right = self._redis.get, 0
        began = time.perf_counter()
        for _ in range(count):
            right += len(ask("context"))
        took = time.perf_counter() - began
        assert right == 1024 * count
        return took / count * 1e6

    def connect_postgres(self, where: str) -> str:
        """Connects; refuses where a commit would not be durable. Same row and indexes as ours."""
        self._postgres = psycopg.connect(host=where, user="bench", dbname="postgres")
        for name in ("fsync", "synchronous_commit"):
            row = self._postgres.execute(f"SHOW {name}").fetchone()
            assert row == ("on",), (name, row)
        self._postgres.execute(
            "CREATE TABLE facts (position bigserial PRIMARY KEY, id bytea NOT NULL UNIQUE, occurred_at bigint NOT NULL,"
            " type text NOT NULL, customer bigint NOT NULL, seq bigint NOT NULL, body bytea NOT NULL)"
        )
        self._postgres.execute("CREATE INDEX ON facts (customer, occurred_at)")
        self._postgres.commit()
        return f"PostgreSQL {self._postgres.info.parameter_status('server_version')}, fsync on, synchronous_commit on"

    def prepare(self, facts: int, customers: int, seed: int) -> int:
        """Makes the rows."""
        chance, now = random.Random(seed), time.time_ns() // 1000
        rows = [
            (
                ((now + n) // 1000).to_bytes(6, "big") + os.urandom(10), now + n, "help.viewed",
                chance.randrange(1, customers + 1), n, _PROPERTIES,
            )
            for n in range(facts)
        ]  # fmt: skip
        self._rows = [rows[start : start + BATCH] for start in range(0, facts, BATCH)]
        return len(self._rows)

    def xadd(self) -> float:
        """Facts per second: a pipeline of 256 XADDs, answered, then the next."""
        before = self._redis.xlen("facts")
        began = time.perf_counter()
        for batch in self._rows:
            pipeline = self._redis.pipeline(transaction=False)
            for id_, at, type_, customer, seq, body in batch:
                fields = {"id": id_, "at": at, "type": type_, "customer": customer, "seq": seq, "body": body}
                pipeline.xadd("facts", fields)
            pipeline.execute()
        took, count = time.perf_counter() - began, sum(map(len, self._rows))
        assert self._redis.xlen("facts") - before == count
        return count / took

    def xadd_alone(self) -> dict[str, float]:
        """Milliseconds from an XADD to its answer: one, then the next."""
        before, times = self._redis.xlen("facts"), []
        for id_, at, type_, customer, seq, body in (row for batch in self._rows for row in batch):
            fields = {"id": id_, "at": at, "type": type_, "customer": customer, "seq": seq, "body": body}
            began = time.perf_counter()
            self._redis.xadd("facts", fields)
            times.append((time.perf_counter() - began) * 1000)
        assert self._redis.xlen("facts") - before == len(times)
        return {"p50_ms": percentile(times, 0.5), "p99_ms": percentile(times, 0.99)}

    def copy(self) -> float:
        """Facts per second: COPY of 256, committed, then the next."""
        began = time.perf_counter()
        for batch in self._rows:
            with self._postgres.cursor() as cursor:
                with cursor.copy("COPY facts (id, occurred_at, type, customer, seq, body) FROM STDIN") as copy:
                    for row in batch:
                        copy.write_row(row)
                self._postgres.commit()
        took, count = time.perf_counter() - began, sum(map(len, self._rows))
        (found,) = self._postgres.execute("SELECT count(*) FROM facts WHERE seq >= 0").fetchone()
        self._postgres.commit()
        assert found >= count, (found, count)
        return count / took


if __name__ == "__main__":
    stores = Stores()
    serve(
        {
            "redis": stores.connect_redis,
            "postgres": stores.connect_postgres,
            "prepare": stores.prepare,
            "get": stores.get,
            "xadd": stores.xadd,
            "copy": stores.copy,
            "xadd_alone": stores.xadd_alone,
        }
    )
