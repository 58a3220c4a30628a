"""A hub in a process of its own, as people run it: `segue-hub serve`. It can be killed and started again.

Owns `Serving`: the process, its address and its admin's key. A killed one starts again on the same port and store.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from segue.v1 import admin_service_pb2, plan_service_pb2
from segue_hub.checking.plan_check import read_directory

from tests.calling import Caller, calling
from tests.joining import EXAMPLE
from tests.waiting import eventually


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


class Serving:
    """One hub's process, and the next ones on the same store.

    Attributes:
        store: its file.
        port: of gRPC.
        http: the side port's address, where one was named.
        variables: more of its environment.
        command: what runs `segue-hub`; another one may stand before it, as `strace` does.
    """

    def __init__(self, folder: Path, decisions: Sequence[str] = (), http_port: int = 0) -> None:
        self.folder = folder
        self.more = ["--http-port", str(http_port), *(part for place in decisions for part in ("--decisions", place))]
        self.http = f"http://127.0.0.1:{http_port}"
        self.store = folder / "segue.db"
        self.port = free_port()
        self.address = f"127.0.0.1:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None
        self.starts = 0
        self.variables: dict[str, str] = {}
        self.command = [sys.executable, "-m", "segue_hub"]

    def start(self) -> None:
        """Starts, and returns once it serves and has written its admin's key."""
        self.starts += 1
        log = self.folder / f"hub.{self.starts}.log"
        with log.open("wb") as stderr:
            self.process = subprocess.Popen(
                [*self.command, "serve", "--store", str(self.store), "--insecure", "--log", "json",
                 "--port", str(self.port), *self.more],
                stdout=subprocess.DEVNULL, stderr=stderr, env=environment(**self.variables),
            )  # fmt: skip

        def serving() -> bool:
            assert self.process is not None
            assert self.process.poll() is None, log.read_text()
            lines = [line for line in log.read_text().splitlines()[:20] if line.startswith("{") and line.endswith("}")]
            return any(json.loads(line)["event"] == "serving" for line in lines)

        try:
            eventually(serving, 20)
            eventually(lambda: self.admin_key_path.is_file() and self.admin_key_path.read_text().strip(), 5)
        except BaseException:
            self.kill()
            raise

    @property
    def pid(self) -> int:
        """Of the process that runs now."""
        assert self.process is not None
        return self.process.pid

    @property
    def admin_key_path(self) -> Path:
        return self.store.with_name(f"{self.store.name}.admin-key")

    @property
    def admin_key(self) -> str:
        """As written beside the store."""
        return self.admin_key_path.read_text().strip()

    def kill(self) -> None:
        """SIGKILL: no goodbye, nothing flushed."""
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(10)

    def stop(self) -> int:
        """SIGTERM; returns the exit code."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.terminate()
        return self.process.wait(15)

    def push(self, plan: Path = EXAMPLE) -> None:
        """Puts a plan in force."""
        files = [plan_service_pb2.PlanFile(path=p, content=t.encode()) for p, t in read_directory(plan).items()]
        with self.admin() as admin:
            request = plan_service_pb2.PushPlanRequest(files=files, author="test")
            assert admin.plans.PushPlan(request, metadata=admin.metadata).HasField("version")

    def key(self, touchpoint: str) -> str:
        """A new key."""
        with self.admin() as admin:
            request = admin_service_pb2.AddTouchpointRequest(touchpoint=touchpoint)
            return str(admin.admin.AddTouchpoint(request, metadata=admin.metadata).key)

    def status(self) -> dict[str, Any]:
        """How it says it is."""
        with self.admin() as admin:
            answer = admin.admin.GetStatus(admin_service_pb2.GetStatusRequest(), metadata=admin.metadata)
            found: dict[str, Any] = json.loads(answer.document)
            return found

    @contextmanager
    def admin(self) -> Iterator[Caller]:
        with calling(self.address, self.admin_key) as caller:
            yield caller


def environment(**more: str) -> dict[str, str]:
    """Of child processes: this one's, without any SEGUE_ variable."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SEGUE_")}
    return kept | {"PYTHONWARNINGS": "ignore"} | more


@contextmanager
def serving(folder: Path) -> Iterator[Serving]:
    """A hub's process with the example plan, stopped when the block ends."""
    hub = Serving(folder)
    hub.start()
    try:
        hub.push()
        yield hub
    finally:
        hub.stop()
