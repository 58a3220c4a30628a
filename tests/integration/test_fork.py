"""A fork while others of the process's threads write: the child's own outbox works all the same (promise 6)."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from segue.domain.once import once
from segue.fork import Unforked, unforked
from segue.offered import Offered
from segue.outbox import MUST, Outbox
from segue_hub.testing import run_hub

from tests.joining import EXAMPLE
from tests.offering import offer
from tests.serving import environment

CHILDREN = 60


def child_keeps(folder: Path, number: int) -> int:
    """Forks a child with an outbox of its own, which ends with a fact in it; its exit code, or a signal, negative."""
    if (pid := os.fork()) == 0:
        with suppress(BaseException):
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(20)  # who hangs in C ends all the same
            outbox = Outbox(folder, f"child{number}", 1000, 10**8)
            outbox.open()
            offer(outbox, Offered(number.to_bytes(16, "big"), b"body", MUST))
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
                offer(outbox, Offered(written.to_bytes(16, "big"), b"body" * 20, MUST))
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


def child_ends(work: Callable[[], object]) -> int:
    """Forks a child that does something; its exit code, or a signal, negative, where it hangs."""
    if (pid := os.fork()) == 0:
        with suppress(BaseException):
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(20)
            work()
            os._exit(0)
        os._exit(3)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


class Said:
    """Works something out, after a while where it is told so."""

    def __init__(self, after: Callable[[], object] = lambda: None) -> None:
        self.after = after

    @once
    def word(self) -> list[str]:
        """Made anew where it is worked out."""
        self.after()
        return ["word"]


def test_what_is_worked_out_once_is_in_a_child_that_was_forked_while_another_thread_was_at_it() -> None:
    """Regression: the lock of `functools.cached_property` is one for all objects of a class; nobody let go of it."""
    begun, ends = threading.Event(), threading.Event()
    slow, other = Said(lambda: (begun.set(), ends.wait(60))), Said()
    thread = threading.Thread(target=lambda: slow.word)
    thread.start()
    assert begun.wait(10)
    code = child_ends(lambda: other.word)
    ends.set()
    thread.join()
    assert code == 0
    assert other.word == ["word"]
    assert other.word is other.word


_ZONE = """
import sys, segue
from segue.domain.expression.calendar import zone
before = set(sys.modules)
assert str(zone("Europe/Berlin")) == "Europe/Berlin"
print(sorted(set(sys.modules) - before))
"""


def test_a_zone_is_read_without_an_import() -> None:
    """Regression: 17 of 20 children hung that were forked while another thread imported what the first zone needed."""
    done = subprocess.run([sys.executable, "-c", _ZONE], capture_output=True, text=True, env=environment(), check=True)
    assert done.stdout.strip() == "[]"


_PHONE = """
import os, signal, sys, threading
from importlib.abc import MetaPathFinder
from segue import fork
from segue.domain.identifier import Identifier, IdentifierKind, IdentifierKinds
from segue.naming import normal

fork.PATIENCE = 60.0  # on a busy machine importing takes longer than a fork would wait
kinds = IdentifierKinds({"phone": IdentifierKind(priority=1, normalise="e164", region="DE")})
begun = threading.Event()

class Notes(MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name == "phonenumbers.phonemetadata":
            begun.set()  # in the midst of it

sys.meta_path.insert(0, Notes())
read = lambda: normal(kinds, Identifier("phone", "030 123456"))
thread = threading.Thread(target=read)
thread.start()
assert begun.wait(30)
if (pid := os.fork()) == 0:
    signal.alarm(20)
    os._exit(0 if read().value == "+4930123456" else 3)
code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
thread.join()
print(code)
"""


def test_a_child_reads_phone_numbers_that_was_forked_while_another_thread_read_the_first() -> None:
    """Regression: the library was half imported, by a thread that the child did not have, and it waited for ever."""
    done = subprocess.run([sys.executable, "-c", _PHONE], capture_output=True, text=True, env=environment(), check=True)
    assert done.stdout.strip() == "0"


def test_two_threads_that_fork_at_once_let_go_of_their_own_locks_only() -> None:
    """Regression: one that had waited in vain took the other's place, and nothing was written ever after."""
    guard, waited = Unforked(), threading.Event()
    guard._wait()

    def forks() -> None:
        guard._wait()  # in vain: another one is at it
        waited.set()
        ends.wait(60)
        guard._go_on()

    ends = threading.Event()
    thread = threading.Thread(target=forks)
    thread.start()
    assert waited.wait(10)
    guard._go_on()
    ends.set()
    thread.join()
    written = threading.Event()

    def write() -> None:
        with guard:
            written.set()

    thread = threading.Thread(target=write, daemon=True)
    thread.start()
    assert written.wait(10)
    thread.join()


_LIFE = """
import sys, segue
from segue import loading

unguarded = []

class Notes:
    def find_spec(self, name, path, target=None):
        if not loading._guard._is_owned():
            unguarded.append(name)

sys.meta_path.insert(0, Notes())
more = {"ca": sys.argv[4]} if sys.argv[4] else {}
app = segue.Touchpoint("app", hub=sys.argv[1], key=sys.argv[2], state=sys.argv[3], **more)
decided = app.decision("route", default="bot")(lambda c: "agent" if c.seen("transfer.started", within="1h") else None)
app.watch_audience("in_trouble", lambda members, reset: None)
if app.wait_ready(5) or not more:
    with app.session(account="A", wait=5) as session:
        session.track("transfer.started", transfer_id="T", durable=True)
        session.decide(decided)
        assert app.flush(10), app.status()
app.close()
print(sorted(set(unguarded) - {"tzdata"}))  # whose place is asked for, and which is not imported
"""


@pytest.mark.parametrize("tls", [False, True])
def test_nothing_is_imported_in_a_life_but_where_a_fork_waits_for_it(tls: bool, tmp_path: Path) -> None:
    """Regression: gRPC imports a part of itself when it makes a channel: children that were forked then hung."""
    ca = tmp_path / "ca.pem"
    ca.write_text("no certificate")  # the channel is made all the same
    with run_hub(EXAMPLE) as hub:
        done = subprocess.run(
            [sys.executable, "-c", _LIFE, hub.address, hub.key("app"), str(tmp_path / "state"), str(ca) if tls else ""],
            capture_output=True, text=True, env=environment(), check=True,
        )  # fmt: skip
    assert done.stdout.strip() == "[]", done.stderr
