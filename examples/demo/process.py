"""The demo's processes: the hub, run as anybody runs it, and one process a channel.

Owns starting, killing and asking them. Everything goes through the real commands.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


class DemoFailed(Exception):
    """A step did not truly happen."""


def eventually(what: str, holds: Callable[[], Any], timeout: float = 15.0) -> Any:
    """Waits for a condition; returns what it gave.

    Raises:
        DemoFailed: it did not hold in time.
    """
    deadline = time.monotonic() + timeout
    while True:
        found = holds()
        if found:
            return found
        if time.monotonic() > deadline:
            raise DemoFailed(f"{what}: did not happen within {timeout:.0f} s")
        time.sleep(0.02)


def free_port() -> int:
    """A port nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class HubProcess:
    """`segue-hub serve` on a file, killed and started again at will."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = folder / "segue.db"
        self.port, self.http_port = free_port(), free_port()
        self.address = f"127.0.0.1:{self.port}"
        self._log = (folder / "hub.log").open("ab")
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> float:
        """Starts it and waits until it serves; returns the seconds that took."""
        began = time.monotonic()
        command = [sys.executable, "-m", "segue_hub", "serve", "--store", str(self.store), "--insecure", "--port",
                   str(self.port), "--http-port", str(self.http_port), "--log", "json"]  # fmt: skip
        self._process = subprocess.Popen(command, stdout=self._log, stderr=self._log)
        eventually("the hub serves", self._serves, 30)
        return time.monotonic() - began

    def _serves(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            raise DemoFailed(f"the hub ended: see {self.folder / 'hub.log'}")
        if not self.store.with_name("segue.db.admin-key").is_file():
            return False
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def kill(self) -> None:
        """Kill -9: no goodbye."""
        assert self._process is not None
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()

    def stop(self) -> None:
        """SIGTERM: in good order."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            self._process.wait(20)

    @property
    def admin_key(self) -> str:
        """The key that `serve` wrote beside the store."""
        return self.store.with_name("segue.db.admin-key").read_text(encoding="utf-8").strip()

    def command(self, *arguments: str, key: str = "", check: bool = True) -> str:
        """Runs `segue-hub ...` against this hub; returns what it printed."""
        environment = os.environ | {"SEGUE_HUB": self.address, "SEGUE_ADMIN_KEY": self.admin_key, "SEGUE_KEY": key}
        done = subprocess.run(
            [sys.executable, "-m", "segue_hub", *arguments], env=environment, capture_output=True, text=True,
            cwd=self.folder, timeout=90, check=False,
        )  # fmt: skip
        if check and done.returncode != 0:
            raise DemoFailed(f"segue-hub {' '.join(arguments)}: {done.stderr.strip() or done.stdout.strip()}")
        return done.stdout

    def json(self, *arguments: str) -> Any:
        """Runs a command with --json; returns what it said."""
        return json.loads(self.command(*arguments, "--json"))


class ChannelProcess:
    """One channel: a process with its own SDK."""

    def __init__(self, name: str, folder: Path, hub: str, key: str) -> None:
        self.name = name
        self.ledger = folder / f"{name}.ledger"
        environment = os.environ | {"SEGUE_HUB": hub, "SEGUE_KEY": key, "SEGUE_STATE": str(folder / "state")}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "examples.demo.channel", name, str(self.ledger)], env=environment, cwd=ROOT,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    @property
    def pid(self) -> int:
        """Its process."""
        return self._process.pid

    def ask(self, do: str, **move: Any) -> dict[str, Any]:
        """One move of Ann's, and what the channel made of it."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"do": do, **move}) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise DemoFailed(f"the {self.name} process ended")
        return dict(json.loads(line))

    def told(self) -> set[str]:
        """The ids of all facts it told, by its own ledger."""
        return set(self.ledger.read_text(encoding="utf-8").split()) if self.ledger.exists() else set()

    def close(self) -> None:
        """Ends it in good order."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()
