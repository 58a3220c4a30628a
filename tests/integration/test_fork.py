"""A fork while others of the process's threads write: the child's own outbox works all the same (promise 6)."""

from __future__ import annotations

import os
import signal
import threading
from contextlib import suppress
from pathlib import Path

from segue.fork import unforked
from segue.journal import Offered
from segue.outbox import MUST, Outbox

CHILDREN = 60


def child_keeps(folder: Path, number: int) -> int:
    """Forks a child with an outbox of its own, which ends with a fact in it; its exit code, or a signal, negative."""
    if (pid := os.fork()) == 0:
        with suppress(BaseException):
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(20)  # who hangs in C ends all the same
            outbox = Outbox(folder, f"child{number}", 1000, 10**8)
            outbox.open()
            outbox.offer(Offered(number.to_bytes(16, "big"), b"body", MUST))
            outbox.close()
            os._exit(0 if outbox.waiting == 1 and not outbox.losses else 2)
        os._exit(3)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_a_child_keeps_what_it_is_told_although_its_parent_was_writing_when_it_was_forked(tmp_path: Path) -> None:
    """Regression: SQLite's lock around memory was a thread's that the child did not have, and its facts were gone."""
    ended = threading.Event()

    def write(place: int) -> None:
        outbox = Outbox(tmp_path / "parent", f"parent{place}", 2000, 10**8)
        outbox.open()
        written = 0
        while not ended.is_set():
            for _ in range(200):
                written += 1
                outbox.offer(Offered(written.to_bytes(16, "big"), b"body" * 20, MUST))
            outbox.journal()
            outbox.settle(outbox.take(200, 10**6), [])
        outbox.close()

    writers = [threading.Thread(target=write, args=(place,)) for place in range(2)]
    for writer in writers:
        writer.start()
    try:
        codes = []
        while len(codes) < CHILDREN and not any(codes):
            codes.append(child_keeps(tmp_path / "child", len(codes)))
    finally:
        ended.set()
        for writer in writers:
            writer.join()
    assert codes == [0] * CHILDREN


def test_a_fork_waits_a_moment_at_most_and_not_for_itself() -> None:
    """What takes longer (a disk that hangs) does not hold the host up; a destructor may fork in the midst of ours."""
    begun, ends = threading.Event(), threading.Event()

    def hangs() -> None:
        with unforked:
            begun.set()
            ends.wait(60)

    thread = threading.Thread(target=hangs)
    thread.start()
    assert begun.wait(10)
    codes = []
    with unforked, unforked:
        for _ in range(2):
            if (pid := os.fork()) == 0:
                with suppress(BaseException), unforked:
                    os._exit(0)
                os._exit(3)
            codes.append(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
    assert thread.is_alive()  # both were over before it
    ends.set()
    thread.join()
    assert codes == [0, 0]
