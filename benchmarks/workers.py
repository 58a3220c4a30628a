"""Other processes of a benchmark: started here, asked line by line, ended here.

Owns the line protocol (a JSON object a line, both ways, over stdin and stdout) and the environments of the peers, which
are made from `requirements/bench.txt` and, for the feature server alone, `requirements/feast.txt` on first use.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import venv
from pathlib import Path
from types import TracebackType
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parent.parent


def peer_python(peers: str = "bench") -> str:
    """The interpreter of an environment of peers; made, or made anew where its lock has changed."""
    environment, lock = ROOT / f".venv-{peers}", ROOT / "requirements" / f"{peers}.txt"
    python, stamp = environment / "bin" / "python", environment / ".lock"
    if not stamp.is_file() or stamp.read_bytes() != lock.read_bytes():
        print(f"making {environment.name} for the peers (once)", file=sys.stderr)
        venv.create(environment, with_pip=True, clear=True)
        (environment / ".gitignore").write_text("*\n", encoding="utf-8")
        install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--require-hashes"]
        subprocess.run([*install, "-r", str(lock)], check=True)
        stamp.write_bytes(lock.read_bytes())
    return str(python)


class Worker:
    """A process that answers questions.

    Args:
        module: of this package, run with `-m`; it calls `serve`.
        peer: whether it runs in an environment of peers.
        peers: which one.
        path: where it finds packages before anywhere else.
    """

    def __init__(self, module: str, *, peer: bool = False, peers: str = "bench", path: Path | None = None) -> None:
        python = peer_python(peers) if peer else sys.executable
        environment = {**os.environ}
        if path is not None:
            environment["PYTHONPATH"] = os.pathsep.join([str(path), os.environ.get("PYTHONPATH", "")])
        self.name = module
        self._process = subprocess.Popen(
            [python, "-m", f"benchmarks.{module}"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT, text=True,
            env=environment,
        )  # fmt: skip

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    def send(self, command: str, **arguments: Any) -> None:
        """Asks without waiting; `receive` has the answer."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps([command, arguments]) + "\n")
        self._process.stdin.flush()

    def receive(self) -> Any:
        """The next answer.

        Raises:
            RuntimeError: the process ended, or says what went wrong.
        """
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.name} ended with {self._process.wait()}")
        status, value = json.loads(line)
        if status != "ok":
            raise RuntimeError(f"{self.name}: {value}")
        return value

    def ask(self, command: str, **arguments: Any) -> Any:
        """Asks and waits."""
        self.send(command, **arguments)
        return self.receive()

    def close(self) -> None:
        """Ends the process."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()

    def __enter__(self) -> Worker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def serve(handlers: dict[str, Any]) -> None:
    """In the worker: answers questions until stdin ends."""
    out, sys.stdout = sys.stdout, sys.stderr
    for line in sys.stdin:
        command, arguments = json.loads(line)
        try:
            answer = ["ok", handlers[command](**arguments)]
        except Exception as error:  # noqa: BLE001  # told to whoever asked
            answer = ["error", f"{type(error).__name__}: {error}"]
        out.write(json.dumps(answer) + "\n")
        out.flush()


def status_of(pid: int) -> dict[str, int]:
    """Peak and current resident megabytes and threads of a process, from the kernel's own books."""
    fields = dict(
        line.partition(":")[::2] for line in Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    )
    peak, now = int(fields["VmHWM"].split()[0]) // 1024, int(fields["VmRSS"].split()[0]) // 1024
    return {"peak_mb": peak, "rss_mb": now, "threads": int(fields["Threads"])}


def wait_for(what: str, ready: Any, seconds: float = 20.0) -> Any:
    """Polls until `ready()` is true and gives its value; a benchmark's set-up, never its timed part."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = ready()
        if found:
            return found
        time.sleep(0.02)
    raise RuntimeError(f"{what} did not come within {seconds:.0f} s")


if __name__ == "__main__":
    peer_python()  # `make bench` makes the peers' environment before anything is timed
