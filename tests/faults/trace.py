"""A trace: what processes did to the files of one folder, in order, as `strace` saw it.

Owns the command line of `strace` and the reading of its lines. Knows neither what the files are for nor what a power
failure leaves of them. A write counts from when it was asked for; a sync when it is done, for what was asked for
before it began.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

_CALLS = ",".join((
    "openat", "pwrite64", "write", "fsync", "fdatasync", "ftruncate", "unlink", "unlinkat", "rename", "renameat",
    "renameat2", "mkdir", "mkdirat",
))  # fmt: skip
_WHOLE = re.compile(r"^(\d+)\s+(\w+)\((.*)\)\s+= (-?\d+)")
_BEGUN = re.compile(r"^(\d+)\s+(\w+)\((.*) <unfinished \.\.\.>$")
_RESUMED = re.compile(r"^(\d+)\s+<\.\.\. (\w+) resumed>(.*)\)\s+= (-?\d+)")
_DESCRIPTOR = re.compile(r"^\d+<((?:\\x..)*)>(\(deleted\))?")
_TEXT = re.compile(r'"((?:\\x..)*)"(\.\.\.)?')
_FOLDER = re.compile(r"^(?:AT_FDCWD|\d+)<((?:\\x..)*)>")


def strace() -> str:
    """Where it is; a test that needs it skips where it is not."""
    found = shutil.which("strace")
    if found is None:
        pytest.skip("strace is not installed: apt install strace")
    return found


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that was done.

    Attributes:
        what: `write`, `cut`, `sync`, `synced`, `create`, `remove`, `rename`, `folder`.
        path: of the file or folder.
        data: what was written.
        offset: where, or to which size it was cut; -1 for the file's end.
        other: the new name.
        thread: who.
    """

    what: str
    path: str
    data: bytes = b""
    offset: int = 0
    other: str = ""
    thread: str = ""


def traced(command: Sequence[str], trace: Path) -> int:
    """Runs a command, and all that it starts, under `strace`; returns its exit code."""
    whole = [
        strace(),
        "-f",
        "--seccomp-bpf",
        "-y",
        "-xx",
        "-s",
        "16777216",
        "-e",
        f"trace={_CALLS}",
        "-e",
        "signal=none",
    ]
    return subprocess.run([*whole, "-o", str(trace), *command], check=False, timeout=100).returncode


def steps(trace: Path, folder: Path) -> Iterator[Step]:
    """What was done to files under a folder."""
    begun: dict[str, str] = {}
    root = f"{folder}/"
    reader = _Reader()
    with trace.open(encoding="ascii") as lines:
        for line in lines:
            found: list[Step] = []
            if match := _WHOLE.match(line):
                thread, call, arguments, result = match.groups()
                if int(result) >= 0:
                    found = [*reader.entered(call, arguments, thread), *reader.left(call, arguments, thread)]
            elif match := _BEGUN.match(line.rstrip("\n")):
                thread, call, arguments = match.groups()
                begun[thread] = arguments
                found = reader.entered(call, arguments, thread)
            elif match := _RESUMED.match(line):
                thread, call, more, result = match.groups()
                if int(result) >= 0:
                    found = reader.left(call, begun.pop(thread, "") + more, thread)
            yield from (step for step in found if step.path.startswith(root))


class _Reader:
    """From one system call to steps."""

    def entered(self, call: str, arguments: str, thread: str) -> list[Step]:
        """What counts from when it was asked for."""
        if call in ("pwrite64", "write", "fsync", "fdatasync", "ftruncate"):
            match = _DESCRIPTOR.match(arguments)
            if match is None or match.group(2):
                return []
            path = _decoded(match.group(1)).decode()
            if call in ("fsync", "fdatasync"):
                return [Step("sync", path, thread=thread)]
            if call == "ftruncate":
                return [Step("cut", path, offset=int(arguments.rsplit(",", 1)[1]))]
            text = _TEXT.search(arguments)
            if text is None:
                return []
            assert not text.group(2), "a write was longer than the trace shows"
            offset = int(arguments.rsplit(",", 1)[1]) if call == "pwrite64" else -1
            return [Step("write", path, _decoded(text.group(1)), offset)]
        return []

    def left(self, call: str, arguments: str, thread: str) -> list[Step]:
        """What counts when it is done."""
        if call in ("fsync", "fdatasync"):
            match = _DESCRIPTOR.match(arguments)
            return [Step("synced", _decoded(match.group(1)).decode(), thread=thread)] if match else []
        if call in ("pwrite64", "write", "ftruncate"):
            return []
        names = [_decoded(match.group(1)).decode() for match in _TEXT.finditer(arguments)]
        at = _FOLDER.match(arguments)
        names = [name if name.startswith("/") or at is None else f"{_decoded(at[1]).decode()}/{name}" for name in names]
        if call == "openat":
            made = [Step("create", names[0])] if "O_CREAT" in arguments else []
            return [*made, *([Step("cut", names[0], offset=0)] if "O_TRUNC" in arguments else [])]
        if call.startswith("unlink"):
            return [Step("remove", names[0])]
        if call.startswith("mkdir"):
            return [Step("folder", names[0])]
        return [Step("rename", names[0], other=names[1])]


def _decoded(text: str) -> bytes:
    return bytes.fromhex(text.replace("\\x", ""))
