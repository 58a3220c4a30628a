"""A hub in a process of its own, as it is run for real: `segue-hub serve`, one SQLite file, loopback.

Owns starting, keys, the benchmarks' plan, and what can be read of the process and its file from outside.
"""

from __future__ import annotations

import json
import re
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final

import grpc
from segue.v1 import admin_service_pb2, context_pb2, context_pb2_grpc, fact_pb2, plan_service_pb2
from segue_hub.cli.client import connect

from .workers import ROOT, status_of, wait_for

PLAN: Final = Path(__file__).parent / "plan"


class HubProcess:
    """A running hub with the benchmarks' plan.

    Args:
        folder: for its store and log.
        heads: live contexts kept in memory; the hub's default where not given.
        more: files of the plan beside the benchmarks' own.
        program: what is run in place of the hub as it is, for the controls that must fail.
    """

    def __init__(
        self,
        folder: Path,
        heads: int | None = None,
        more: Mapping[str, str] | None = None,
        program: Sequence[str] = ("segue_hub",),
    ) -> None:
        self.store, log = folder / "segue.db", folder / "hub.log"
        command = [sys.executable, "-m", *program, "serve", "--store", str(self.store), "--insecure"]
        command += ["--port", "0", "--http-port", "0", "--log", "json"]
        command += ["--heads", str(heads)] if heads else []
        with log.open("w") as file:
            self._process = subprocess.Popen(command, stdout=file, stderr=file, cwd=ROOT)
        try:
            self._begin(log, more or {})
        except BaseException:
            self._process.kill()
            self._process.wait()
            raise

    def _begin(self, log: Path, more: Mapping[str, str]) -> None:
        try:
            found = wait_for("the hub", lambda: re.search(r'"grpc": ?"([^"]+)"', log.read_text(encoding="utf-8")), 40)
        except RuntimeError as error:
            raise RuntimeError(f"{error}; it said: {log.read_text(encoding='utf-8')[-500:]}") from None
        self.address: str = found[1]
        key_file = self.store.with_name("segue.db.admin-key")
        admin_key = wait_for("the admin key", lambda: key_file.is_file() and key_file.read_text().strip())
        self._admin = connect(self.address, admin_key, "")
        files = _plan_files()
        files += [plan_service_pb2.PlanFile(path=path, content=text.encode()) for path, text in more.items()]
        pushed = self._admin.plans.PushPlan(plan_service_pb2.PushPlanRequest(files=files), timeout=30)
        if not pushed.version.digest:
            raise RuntimeError(f"the benchmarks' plan was refused: {pushed.problems}")
        self.key = self.key_of("bench")
        self._channel = grpc.insecure_channel(self.address)
        self._contexts = context_pb2_grpc.ContextServiceStub(self._channel)

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    def key_of(self, touchpoint: str) -> str:
        """A new key."""
        request = admin_service_pb2.AddTouchpointRequest(touchpoint=touchpoint)
        return str(self._admin.admin.AddTouchpoint(request, timeout=30).key)

    def read(self, account: str) -> context_pb2.Context:
        """A cold read through gRPC, as a touchpoint does it."""
        identifier = fact_pb2.Identifier(kind="account", value=account)
        request = context_pb2.GetContextRequest(identifier=identifier)
        metadata = (("authorization", f"Bearer {self.key}"),)
        return self._contexts.GetContext(request, timeout=30, metadata=metadata).context

    def overview(self) -> dict[str, Any]:
        """What the hub says of itself, as `segue-hub status --json`."""
        told = self._admin.admin.GetStatus(admin_service_pb2.GetStatusRequest(), timeout=30)
        found: dict[str, Any] = json.loads(told.document)
        return found

    def status(self) -> dict[str, int]:
        """Memory and threads."""
        return status_of(self.pid)

    def stop(self) -> None:
        """Ends it as an operator does."""
        self._channel.close()
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(30)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()

    def __enter__(self) -> HubProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def _plan_files() -> list[plan_service_pb2.PlanFile]:
    return [
        plan_service_pb2.PlanFile(path=str(path.relative_to(PLAN)), content=path.read_bytes())
        for path in sorted(PLAN.rglob("*.yaml"))
    ]


def file_facts(store: Path) -> dict[str, Any]:
    """What a store's file says of itself, opened beside the hub: read only."""
    connection = sqlite3.connect(f"file:{store}?mode=ro", uri=True)
    try:
        (facts,) = connection.execute("SELECT count(*) FROM facts").fetchone()
        (journal,) = connection.execute("PRAGMA journal_mode").fetchone()
    finally:
        connection.close()
    size = sum(path.stat().st_size for path in store.parent.glob(f"{store.name}*") if not path.name.endswith("key"))
    return {"facts": facts, "journal": journal, "bytes": size}
