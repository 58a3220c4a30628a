"""Hosts that do what one would not think of: `python -m tests.faults.strange_hosts KIND HUB KEY STATE COUNT`.

Owns how each of them embeds the SDK: from signal handlers, destructors and hooks, with clocks and threads that somebody
replaced, with limits of the system. Each prints what it told and what became of it, as JSON, like `host_lives`.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import multiprocessing
import os
import resource
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

_LATE: dict[str, Any] = {}


def _told_late() -> None:
    for number in range(int(sys.argv[5]) if "app" in _LATE else 0):
        once(_LATE["app"], f"late-{number}")


atexit.register(_told_late)  # before `segue` is imported, whose own handler thus runs before this one

import segue  # noqa: E402
from segue.loading import CONNECTION, WIRE, load  # noqa: E402

from tests.faults.host_lives import ended, tell, touchpoint, visit  # noqa: E402
from tests.waiting import eventually  # noqa: E402

Life = Callable[[str, str, str, int], None]


def once(app: segue.Touchpoint, name: str) -> None:
    """The least that a host does in a place where it should do nothing."""
    app.session(account=name, wait=0, keep="1s").track("transfer.started", transfer_id="T")


def signals(hub: str, key: str, state: str, count: int) -> None:
    """A handler opens sessions, waits and tells, thousands of times a second, while the same thread does so."""
    app = touchpoint(hub, key, state)
    app.wait_ready(10)
    told = [0, 0]

    def handler(number: int, frame: Any) -> None:
        told[1] += 1
        app.wait_ready(0)
        once(app, f"signal-{told[1]}")
        if told[1] < 20 * count:
            signal.setitimer(signal.ITIMER_REAL, 0.000_05)

    signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.000_05)
    while told[1] < 20 * count:
        told[0] += 1
        for _ in range(20):
            app.wait_ready(0)
        once(app, f"main-{told[0]}")
    signal.setitimer(signal.ITIMER_REAL, 0)
    tell(told=sum(told), lives=[ended(app)])


def destructors(hub: str, key: str, state: str, count: int) -> None:
    """The collector comes at any moment and on any thread, and what it finds tells a fact as it goes."""
    app = touchpoint(hub, key, state)
    told, wanted = [0], 80 * count

    class Dying:
        def __init__(self) -> None:
            self.me = self

        def __del__(self) -> None:
            told[0] += 1
            once(app, f"dying-{told[0] % 500}")

    gc.set_threshold(40, 2, 2)

    def lives() -> None:
        for number in range(wanted // 4):
            Dying()
            if number % 10 == 0:
                once(app, f"living-{number % 500}")

    threads = [threading.Thread(target=lives) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    gc.collect()
    gc.set_threshold(700, 10, 10)
    told[0] += 4 * len(range(0, wanted // 4, 10))
    tell(told=told[0], lives=[ended(app)])


def at_exit(hub: str, key: str, state: str, count: int) -> None:
    """Tells in a handler that runs after our own: what was registered first runs last."""
    app = _LATE["app"] = touchpoint(hub, key, state)
    visit(app, "before", count, 2.0)
    assert app.flush(10)
    tell(told=2 * count, lives=[])


def hooks(hub: str, key: str, state: str, count: int) -> None:
    """What nobody caught is told, in a thread and in the end of the process."""
    app = touchpoint(hub, key, state)

    def hook(*about: Any) -> None:
        for number in range(count):
            once(app, f"hook-{number}")

    threading.excepthook = hook
    sys.excepthook = hook
    thread = threading.Thread(target=lambda: [][0])
    thread.start()
    thread.join()
    tell(told=2 * count, lives=[])
    raise ValueError("nobody catches this")


def frozen(hub: str, key: str, state: str, count: int) -> None:
    """All clocks that a host can replace stand still, as test libraries do it, also within the SDK's modules."""
    app = touchpoint(hub, key, state)
    visit(app, "before", 1, 2.0)
    real = {name: getattr(time, name) for name in ("time", "time_ns", "monotonic", "monotonic_ns", "perf_counter")}
    for name, clock in real.items():
        now = clock()
        setattr(time, name, lambda now=now: now)
        for module in [m for n, m in sys.modules.items() if n.startswith("segue") and m is not None]:
            for attribute, value in list(vars(module).items()):
                if value is clock:
                    setattr(module, attribute, getattr(time, name))
    answers = visit(app, "frozen", count)
    began = real["monotonic"]()
    app.flush(1.0)
    took = real["monotonic"]() - began
    for name, clock in real.items():
        setattr(time, name, clock)
    tell(told=count + 1, flush_s=took, lives=[{**ended(app), "answers": answers}])


def at_a_year(seconds: int) -> Life:
    """A clock that was never set, or is far ahead."""

    def life(hub: str, key: str, state: str, count: int) -> None:
        off = seconds * 1_000_000_000 - time.time_ns()
        nanoseconds = time.time_ns
        time.time_ns = lambda: nanoseconds() + off  # not `time.time`: gRPC reckons its deadlines by it
        app = touchpoint(hub, key, state)
        answers = visit(app, "year", count, 2.0)
        tell(told=count, lives=[{**ended(app), "answers": answers}])

    return life


def no_thread_class(hub: str, key: str, state: str, count: int) -> None:
    """Somebody has replaced `threading.Thread` by what cannot begin."""

    class Broken(threading.Thread):
        def start(self) -> None:
            raise RuntimeError("no threads here")

    load(WIRE)
    real, threading.Thread = threading.Thread, Broken  # type: ignore[misc]
    app = touchpoint(hub, key, state)
    visit(app, "poor", count)
    trouble = app.status()["trouble"]
    threading.Thread = real  # type: ignore[misc]

    def tried_again() -> bool:
        app.session(account="rich", wait=0).close()
        return not app.status()["trouble"]

    eventually(tried_again)
    visit(app, "rich", count, 2.0)
    tell(told=2 * count, lives=[{**ended(app), "trouble": trouble}])


def forks_while_telling(hub: str, key: str, state: str, count: int) -> None:
    """A thread forks again and again while others tell; each child uses what it inherited."""
    app = touchpoint(hub, key, state)
    ends, told = threading.Event(), [0] * 4

    def work(place: int) -> None:
        while not ends.is_set() and told[place] < 20 * count:
            once(app, f"thread-{place}-{told[place] % 50}")
            told[place] += 1
            time.sleep(0.001)  # the host's own pace

    threads = [threading.Thread(target=work, args=(place,)) for place in range(4)]
    for thread in threads:
        thread.start()
    children = []
    for number in range(count):
        if (pid := os.fork()) == 0:
            with contextlib.suppress(BaseException):
                once(app, f"child-{number}")
                app.close()
                os._exit(0)
            os._exit(3)
        children.append(pid)
    codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children]
    ends.set()
    for thread in threads:
        thread.join()
    counts = {"codes": sorted(set(codes)), "aborted": codes.count(-signal.SIGABRT)}
    tell(told=sum(told) + len(codes), lives=[ended(app)], **counts)


def children(hub: str, key: str, state: str, count: int) -> None:
    """Children of multiprocessing tell a fact, let go of their touchpoint and return: they run no exit handlers."""
    app = touchpoint(hub, key, state)
    once(app, "parent")
    fork = multiprocessing.get_context("fork")

    def child(number: int) -> None:
        once(app if number % 2 else touchpoint(hub, key, state), f"child-{number}")

    for number in range(count):
        process = fork.Process(target=child, args=(number,))
        process.start()
        process.join(30)
        assert process.exitcode == 0
    tell(told=count + 1, lives=[])


def small_files(hub: str, key: str, state: str, count: int) -> None:
    """No file may grow beyond 20 KB."""
    app = touchpoint(hub, key, state)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, resource.RLIM_INFINITY))
    visit(app, "small", count, 2.0)
    tell(told=count, lives=[ended(app, 10.0)])


def another_user(hub: str, key: str, state: str, count: int) -> None:
    """A user that may have no more processes: a thread is one."""
    load(WIRE)
    load(CONNECTION)
    Path(state).mkdir()
    os.chown(state, 54_321, 54_321)
    resource.setrlimit(resource.RLIMIT_NPROC, (1, 1))
    os.setgid(54_321)
    os.setuid(54_321)
    app = touchpoint(hub, key, state)
    visit(app, "nobody", count)
    trouble = app.status()["trouble"]
    outbox = app.runtime().outbox
    app.close()
    counts = {"offered": outbox.offered, "delivered": 0, "waiting": outbox.waiting, "losses": outbox.losses}
    tell(told=count, lives=[{**counts, "trouble": trouble}])


def ordinary(hub: str, key: str, state: str, count: int) -> None:
    """As a script does it; what is strange is how the interpreter was started."""
    app = touchpoint(hub, key, state)
    answers = visit(app, "ordinary", count, 2.0)
    tell(told=count, home=str(segue.__file__), lives=[{"answers": answers, **ended(app)}])


def slow_switches(hub: str, key: str, state: str, count: int) -> None:
    """Threads take turns each two seconds at most."""
    sys.setswitchinterval(2.0)
    ordinary(hub, key, state, count)


def bare(hub: str, key: str, state: str, count: int) -> None:
    """A umask that leaves no right, and a working folder that is gone."""
    Path(state).parent.joinpath("gone").mkdir()
    os.chdir(Path(state).parent / "gone")
    Path.cwd().rmdir()
    os.umask(0o777)
    ordinary(hub, key, state, count)


def subinterpreter(hub: str, key: str, state: str, count: int) -> None:
    """Another interpreter in the same process."""
    import _xxsubinterpreters as interpreters

    found = interpreters.create()
    reading, writing = os.pipe()
    code = f"""
import os, sys
sys.path[:0] = {sys.path!r}
try:
    import segue
    app = segue.Touchpoint("app", hub={hub!r}, key={key!r}, state={state!r}, strict=False)
    for number in range({count}):
        app.session(account="sub", wait=0).track("transfer.started", transfer_id="T")
    flushed = app.flush(0.1)
    said = repr((flushed, dict(app.status())))
    app.close()
except BaseException as error:
    said = repr(error)
os.write({writing}, said.encode())
"""
    with contextlib.suppress(Exception):
        interpreters.run_string(found, code)
    os.close(writing)
    said = os.read(reading, 100_000).decode()
    with contextlib.suppress(Exception):
        interpreters.destroy(found)
    tell(told=count, said=said, lives=[])


KINDS: dict[str, Life] = {
    "ordinary": ordinary, "signals": signals, "destructors": destructors, "at_exit": at_exit, "hooks": hooks,
    "frozen": frozen, "year_1970": at_a_year(5), "year_2106": at_a_year(4_294_967_290),
    "no_thread_class": no_thread_class, "forks_while_telling": forks_while_telling, "children": children,
    "small_files": small_files, "another_user": another_user, "slow_switches": slow_switches, "bare": bare,
    "subinterpreter": subinterpreter,
}  # fmt: skip

if __name__ == "__main__":
    import faulthandler

    faulthandler.dump_traceback_later(50, exit=True)
    KINDS[sys.argv[1]](*sys.argv[2:5], int(sys.argv[5]))
