"""Peers of P3 as servers: a Redis and a PostgreSQL of our own, durable as ours is, on this machine, ended afterwards.

Owns starting them in a temporary folder and checking that they really promise what the comparison says.
"""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Final

from .workers import wait_for

PACKAGES: Final = {"redis": "redis-server", "postgres": "postgresql", "strace": "strace"}


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def binary(name: str) -> str:
    """The path of a server's program; empty where it is not installed."""
    if name != "postgres":
        return shutil.which(PACKAGES[name]) or ""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: int(path.parts[4]))
    return str(found[-1]) if found else shutil.which("postgres") or ""


def install(name: str) -> None:
    """Installs a peer from Debian, where that is possible; asked for by `--install-peers`."""
    if binary(name) or os.geteuid() != 0 or not shutil.which("apt-get"):
        return
    print(f"installing {PACKAGES[name]} for the comparison", file=sys.stderr)
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
    subprocess.run(["apt-get", "install", "-y", "-q", PACKAGES[name]], check=False, env=environment, stdout=sys.stderr)


class Server:
    """A server of our own.

    Attributes:
        name: `redis` or `postgres`.
        where: port of Redis; folder of PostgreSQL's socket.
    """

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self._folder = folder
        self._log = (folder / "log").open("w")
        self.where = str(free_port()) if name == "redis" else str(folder)
        self._process = self._redis() if name == "redis" else self._postgres()

    def _redis(self) -> subprocess.Popen[bytes]:
        options = {"port": self.where, "bind": "127.0.0.1", "dir": str(self._folder), "save": "",
                   "appendonly": "yes", "appendfsync": "always", "daemonize": "no"}  # fmt: skip
        command = [binary("redis"), *(word for name, value in options.items() for word in (f"--{name}", value))]
        process = subprocess.Popen(command, stdout=self._log, stderr=self._log)
        wait_for("redis", lambda: self._connects(int(self.where)))
        return process

    def _postgres(self) -> subprocess.Popen[bytes]:
        # PostgreSQL refuses to run as root: its own user does, in a folder that is its own.
        user = {"user": "postgres"} if os.geteuid() == 0 else {}
        if user:
            owner = pwd.getpwnam("postgres")
            os.chown(self._folder, owner.pw_uid, owner.pw_gid)
        data = str(self._folder / "data")
        initdb = str(Path(binary("postgres")).with_name("initdb"))
        subprocess.run(
            [initdb, "-D", data, "-U", "bench", "-A", "trust", "-E", "UTF8", "--locale", "C"],
            check=True, stdout=self._log, stderr=self._log, cwd=self._folder, **user,
        )  # fmt: skip
        command = [binary("postgres"), "-D", data, "-k", self.where, "-c", "listen_addresses="]
        for setting in ("fsync=on", "synchronous_commit=on", "shared_buffers=256MB", "max_wal_size=4GB"):
            command += ["-c", setting]
        process = subprocess.Popen(command, stdout=self._log, stderr=self._log, cwd=self._folder, **user)
        wait_for("postgres", lambda: (self._folder / ".s.PGSQL.5432").exists())
        return process

    @staticmethod
    def _connects(port: int) -> bool:
        with socket.socket() as trial:
            return trial.connect_ex(("127.0.0.1", port)) == 0

    def stop(self) -> None:
        """Ends it."""
        self._process.terminate()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._log.close()

    def __enter__(self) -> Server:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
