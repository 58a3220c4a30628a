"""Whether a hub acknowledges only what is on the disk, seen from outside: by what its process asks of the kernel.

Owns attaching `strace` to a running hub, reading the trace, and the judgement. One batch at a time goes to the hub,
with a pause behind it; between the moment a batch is sent and the moment its acknowledgement is heard, the hub must
have written its log and have come back from an fdatasync of it that began after the last of these writes. What the
hub says of itself counts for nothing. `weakened` is the hub that must not pass.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from .hub import HubProcess
from .load import BATCH
from .workers import Worker, wait_for

BATCHES: Final = 8
PAUSE: Final = 0.1
"""Seconds behind each batch: an fdatasync that comes too late must not be taken for the next one's."""
FAULTS: Final = ("normal", "early")
"""Of `weakened`: what the check must refuse."""
_CALLS: Final = "fdatasync,fsync,pwrite64,pwritev,write,writev"
_LINE: Final = re.compile(r"^(\d+) +(\d+\.\d+) (?:<\.\.\. )?(\w+)(?:\((\d+)(?:<([^>]*)>)?)?(.*)$")
_TOOK: Final = re.compile(r"= (-?\d+).*<(\d+\.\d+)>$")


class NotDurable(RuntimeError):
    """The hub acknowledged what was not on the disk: no figure of it counts."""


@dataclass(frozen=True, slots=True)
class Call:
    """One call of the kernel that ended well: what, on which file, and from when until when (seconds of the clock)."""

    name: str
    path: str
    began: float
    ended: float


def unavailable() -> str:
    """Why no trace can be taken here; empty where it can."""
    if not shutil.which("strace"):
        return "strace is not installed (apt-get install strace, or --install-peers)"
    tried = subprocess.run(["strace", "-o", "/dev/null", "true"], capture_output=True, text=True, check=False)
    return (
        "" if tried.returncode == 0 else f"strace may not trace here: {(tried.stderr.strip().splitlines() or [''])[-1]}"
    )


def require(pid: int, journal: Path, load: Worker) -> tuple[int, str]:
    """Watches the hub while `load` sends what it has prepared, batch by batch.

    Args:
        pid: of the hub.
        journal: the log that SQLite writes before the file itself.
        load: connected and prepared.

    Returns:
        How many facts were acknowledged meanwhile, and what was seen.

    Raises:
        NotDurable: an acknowledgement came before its fdatasync, or without one.
    """
    with tempfile.TemporaryDirectory(prefix="segue-trace-") as folder:
        trace = Path(folder) / "trace"
        command = ["strace", "-f", "-y", "-ttt", "-T", "-s", "0", "-e", f"trace={_CALLS}", "-e", "signal=none"]
        with (Path(folder) / "log").open("w") as log:
            process = subprocess.Popen([*command, "-o", str(trace), "-p", str(pid)], stdout=log, stderr=log)
        try:
            wait_for("strace", lambda: "attached" in (Path(folder) / "log").read_text() or process.poll() is not None)
            windows = load.ask("one_by_one", pause=PAUSE)
        finally:
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(10)
            process.kill()
        judge(calls(trace.read_text(errors="replace")), [(sent, heard) for sent, heard, _ in windows], str(journal))
    seen = (
        f"{len(windows)} batches under strace: each acknowledged after the log's writes and an fdatasync behind them,"
        " as the kernel saw it"
    )
    return sum(accepted for *_, accepted in windows), seen


def calls(trace: str) -> list[Call]:
    """The calls of a trace by `strace -f -y -ttt -T`; one that another thread interrupted is put together again."""
    found, open_calls = [], {}
    for line in trace.splitlines():
        read = _LINE.match(line)
        if read is None:
            continue
        thread, at, name, _, path, rest = read.groups()
        took = _TOOK.search(rest)
        if "<unfinished" in rest:
            open_calls[thread, name] = (path or "", float(at))
        elif "resumed>" in rest and (thread, name) in open_calls and took:
            path, began = open_calls.pop((thread, name))
            if int(took[1]) >= 0:
                found.append(Call(name, path, began, float(at)))
        elif took and int(took[1]) >= 0:
            found.append(Call(name, path or "", float(at), float(at) + float(took[2])))
    return sorted(found, key=lambda call: call.began)


def judge(seen: Sequence[Call], windows: Sequence[tuple[float, float]], journal: str) -> None:
    """Holds what was seen against when batches were sent and acknowledged.

    Raises:
        NotDurable: see `require`.
    """
    if not windows:
        raise NotDurable("no batch was acknowledged while the hub was watched")
    for number, (sent, heard) in enumerate(windows, start=1):
        inside = [call for call in seen if call.path == journal and sent <= call.began and call.ended <= heard]
        writes = [call for call in inside if "write" in call.name]
        syncs = [call for call in inside if call.name in ("fdatasync", "fsync")]
        if not writes:
            raise NotDurable(f"batch {number} was acknowledged, and nothing had been written to {Path(journal).name}")
        if not any(sync.began >= max(write.ended for write in writes) for sync in syncs):
            raise NotDurable(
                f"batch {number} was acknowledged {heard - sent:.3f} s after it was sent, and no fdatasync of"
                f" {Path(journal).name} had come back by then"
            )


def refuses(fault: str, folder: Path) -> str:
    """Shows that the judgement can fail: the same watching of a hub that is `weakened` must end in NotDurable.

    Args:
        fault: of `FAULTS`.
        folder: an empty one for the hub.

    Returns:
        What was refused, for the report.

    Raises:
        RuntimeError: the weakened hub passed, so that the check shows nothing.
    """
    with HubProcess(folder, program=("benchmarks.weakened", fault)) as hub, Worker("load") as load:
        load.ask("connect", address=hub.address, key=hub.key)
        if fault == "early":
            os.kill(hub.pid, signal.SIGUSR1)
        load.ask("prepare", facts=BATCHES * BATCH, customers=100, first=0, seed=1)
        try:
            require(hub.pid, journal_of(hub), load)
        except NotDurable as error:
            return f"control: a hub weakened by {fault!r} is refused ({error})"
    raise RuntimeError(f"a hub weakened by {fault!r} passed as durable: the check shows nothing")


def journal_of(hub: HubProcess) -> Path:
    """The log of a hub's file, by the name that the kernel knows it by."""
    return hub.store.resolve().with_name(f"{hub.store.name}-wal")
