"""Threads of our own in somebody else's process: signals are the host's, also for what its own code starts in them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
import segue
from segue.loading import CONNECTION, load
from segue.own_thread import AGAIN, OwnThreads, room, with_signals

from tests.waiting import eventually

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
ENDS = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGCHLD}


def blocked(thread: int, process: int | str = "self") -> set[int]:
    """The signals that a thread never gets."""
    lines = Path(f"/proc/{process}/task/{thread}/status").read_text().splitlines()
    mask = int(next(line.split()[1] for line in lines if line.startswith("SigBlk")), 16)
    return {number for number in range(1, 65) if mask >> (number - 1) & 1}


def blocks_all(thread: int) -> bool:
    return blocked(thread) >= ENDS


def test_no_signal_of_the_host_comes_to_our_threads(tmp_path: Path) -> None:
    """Regression (found with uWSGI): its handler, in C, ended the process in two threads at once, which never ended."""
    before = threading.enumerate()
    app = segue.Touchpoint("app", hub="127.0.0.1:1", key="k", state=tmp_path)
    app.wait_ready(0)
    try:
        ours = [t for t in threading.enumerate() if t not in before and t.name in ("segue-worker", "segue-stream")]
        assert len(ours) == 2
        for thread in ours:
            assert thread.native_id is not None
            eventually(partial(blocks_all, thread.native_id))
            assert not blocked(thread.native_id) & {signal.SIGSEGV, signal.SIGABRT}
        assert not blocked(os.getpid()) & ENDS
    finally:
        app.close()


def test_what_the_hosts_own_code_starts_in_our_thread_can_be_ended_as_ever() -> None:
    found: list[int] = []

    def listener() -> None:
        with with_signals():
            child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
        child.terminate()
        found.append(child.wait(20))

    threads = OwnThreads(time.monotonic)
    threads.begin(("listener", listener))
    eventually(lambda: found, 20)
    threads.join(5)
    assert found == [-signal.SIGTERM]


def test_threads_that_cannot_begin_are_tried_again_later_and_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    now, start, begun = [0.0], threading.Thread.start, list[str]()

    def refused(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refused)
    threads = OwnThreads(lambda: now[0])
    threads.begin(("segue-worker", lambda: begun.append("worker")), ("segue-stream", lambda: begun.append("stream")))
    assert "segue-worker cannot begin" in threads.trouble(0)
    assert not threads.begun
    assert not room(1)
    monkeypatch.setattr(threading.Thread, "start", start)
    threads.try_again()
    assert not threads.begun  # too early
    now[0] += AGAIN
    threads.try_again()
    threads.join(5)
    assert begun == ["worker", "stream"]
    assert threads.trouble(0) == ""
    assert room(4)


def test_a_worker_that_is_never_let_run_is_said_to_be_so() -> None:
    now = [0.0]
    threads = OwnThreads(lambda: now[0])
    now[0] = 60.0
    assert threads.trouble(0) == ""
    assert "done nothing for 60 s" in threads.trouble(3)
    threads.worked()
    assert threads.trouble(3) == ""


def test_where_eventlet_has_patched_threads_nothing_connects(monkeypatch: pytest.MonkeyPatch) -> None:
    """Regression (found with eventlet 0.41, which is no dependency): gRPC froze the whole process for ever."""
    for patched in (False, True):
        stand_in = SimpleNamespace(is_monkey_patched=lambda what, patched=patched: patched)
        monkeypatch.setitem(sys.modules, "eventlet.patcher", stand_in)
        if patched:
            with pytest.raises(RuntimeError, match="eventlet has patched"):
                load(CONNECTION)
        else:
            load(CONNECTION)
