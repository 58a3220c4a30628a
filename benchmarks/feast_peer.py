"""Peer of P6 as a server and its client: `feast serve` with its SQLite online store, asked over HTTP.

Run by `workers.Worker("feast_peer", peer=True, peers="feast")`. Ten features of a customer, as columns; one connection
that stays open. It looks values up by key: no facts, no fold, no grants.
"""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from .workers import serve, wait_for

FEATURES: Final = 10
_CONFIG: Final = """project: bench
registry: registry.db
provider: local
online_store: {type: sqlite, path: online.db}
entity_key_serialization_version: 3
"""


class FeastReader:
    """A feature server of our own, and one connection to it."""

    def __init__(self) -> None:
        self._server: subprocess.Popen[bytes] | None = None
        self._connection: Any = None
        self._keys = 0

    def start(self, folder: str, port: int, keys: int) -> str:
        """Fills the store and serves it."""
        import pandas
        from feast import Entity, FeatureStore, FeatureView, Field, FileSource, ValueType
        from feast import __version__ as version
        from feast.types import Int64, String

        os.environ["FEAST_USAGE"] = "False"
        root = Path(folder)
        (root / "feature_store.yaml").write_text(_CONFIG, encoding="utf-8")
        now = datetime.now(UTC)
        frame = pandas.DataFrame({"account": [_name(n) for n in range(1, keys + 1)], "event_timestamp": now})
        for number in range(FEATURES):
            text = number % 2
            frame[f"f{number}"] = [f"text-{n}-{'x' * 80}" if text else n + number for n in range(1, keys + 1)]
        frame.iloc[:10].to_parquet(root / "source.parquet")
        source = FileSource(path=str(root / "source.parquet"), timestamp_field="event_timestamp")
        account = Entity(name="account", join_keys=["account"], value_type=ValueType.STRING)
        schema = [Field(name=f"f{n}", dtype=String if n % 2 else Int64) for n in range(FEATURES)]
        view = FeatureView(
            name="customer", entities=[account], schema=schema, source=source, online=True, ttl=timedelta(days=30)
        )
        store = FeatureStore(repo_path=folder)
        store.apply([account, view])
        for start in range(0, keys, 5000):
            store.write_to_online_store("customer", frame.iloc[start : start + 5000])
        command = [str(Path(sys.executable).with_name("feast")), "-c", folder, "serve", "-p", str(port)]
        with (root / "log").open("w") as log:
            self._server = subprocess.Popen([*command, "--no-access-log"], stdout=log, stderr=log)
        self._keys = keys
        wait_for("feast serve", lambda: self._answers(port), 60)
        return f"feast serve {version}, SQLite online store, {keys:,} customers of {FEATURES} features"

    def _answers(self, port: int) -> bool:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        try:
            return self._ask([1])[1] == 200
        except OSError:
            return False

    def _ask(self, keys: Sequence[int]) -> tuple[bytes, int]:
        body = {
            "features": [f"customer:f{number}" for number in range(FEATURES)],
            "entities": {"account": [_name(key) for key in keys]},
        }
        headers = {"Content-Type": "application/json"}
        self._connection.request("POST", "/get-online-features", json.dumps(body), headers)
        answer = self._connection.getresponse()
        return answer.read(), answer.status

    def read(self, keys: Sequence[int], size: int) -> dict[str, float]:
        """So many in one request, one request after the other."""
        took, found = [], []
        for start in range(0, len(keys), size):
            asked = keys[start : start + size]
            began = time.perf_counter()
            answer = self._ask(asked)
            took.append(time.perf_counter() - began)
            found.append((asked, answer))
        for asked, (body, status) in found:
            assert status == 200, body
            told = json.loads(body)
            names = told["metadata"]["feature_names"]
            assert told["results"][names.index("f0")]["values"] == list(asked), told
        return {"p50_us": sorted(took)[len(took) // 2] * 1e6}

    def stop(self) -> str:
        """Ends the server."""
        if self._server is not None:
            self._server.terminate()
            try:
                self._server.wait(15)
            except subprocess.TimeoutExpired:
                self._server.kill()
                self._server.wait()
        return "stopped"


def _name(key: int) -> str:
    return f"A-{key:07d}"


if __name__ == "__main__":
    reader = FeastReader()
    try:
        serve({"start": reader.start, "read": reader.read, "stop": reader.stop})
    finally:
        reader.stop()
