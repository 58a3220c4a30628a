"""Starting a hub on a store that is there, as an operator does, and waiting until its health says SERVING.

Owns the clock of P12. What is timed begins before the process does, so the interpreter and all imports count.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from segue.v1 import admin_service_pb2
from segue_hub.cli.client import connect

from .workers import status_of, wait_for

PATIENCE = 120.0


class Restarted:
    """A hub on a store, serving.

    Args:
        store: the file.
        key: whether a touchpoint's key is wanted too.

    Attributes:
        seconds: from the start of the process until its health said SERVING.
        listening: until it took a connection.
    """

    def __init__(self, store: Path, *, key: bool = True) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.address = f"127.0.0.1:{port}"
        command = [sys.executable, "-m", "segue_hub", "serve", "--store", str(store), "--insecure", "--log", "json"]
        command += ["--port", str(port), "--http-port", "0"]
        self.log = store.with_name("hub.log")
        with self.log.open("a") as log:
            began = time.perf_counter()
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 0.2).close()
                break
            except OSError:
                if self._process.poll() is not None or time.perf_counter() - began > PATIENCE:
                    raise RuntimeError(f"the hub did not start: {self.log.read_text()[-500:]}") from None
                time.sleep(0.002)
        self.listening = time.perf_counter() - began
        self.channel = grpc.insecure_channel(self.address)
        health = health_pb2_grpc.HealthStub(self.channel)
        request = health_pb2.HealthCheckRequest()
        while health.Check(request, timeout=60, wait_for_ready=True).status != health_pb2.HealthCheckResponse.SERVING:
            time.sleep(0.002)
        self.seconds = time.perf_counter() - began
        self.key = ""
        if key:
            file = store.with_name(f"{store.name}.admin-key")
            admin_key = wait_for("the admin key", lambda: file.is_file() and file.read_text(encoding="utf-8").strip())
            admin = connect(self.address, admin_key, "")
            self.key = admin.admin.AddTouchpoint(
                admin_service_pb2.AddTouchpointRequest(touchpoint="bench"), timeout=30
            ).key

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    def status(self) -> dict[str, int]:
        """Memory and threads."""
        return status_of(self.pid)

    def end(self, *, kill: bool = False) -> None:
        """Ends it as an operator does, or as a power failure does."""
        self.channel.close()
        if self._process.poll() is None:
            os.kill(self.pid, signal.SIGKILL if kill else signal.SIGTERM)
            self._process.wait(60)

    def __enter__(self) -> Restarted:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()
