"""What only a connection needs is imported by our own threads: also where the host forks, or ends, in the middle."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from segue_hub.testing import run_hub

from tests.calling import calling, event
from tests.joining import EXAMPLE
from tests.serving import environment

_SLOW = """
import __main__
__main__.begun.set()
__main__.go.wait(20)
"""
_FORKS = """
import os, signal, sys, threading
sys.path.insert(0, sys.argv[1])
begun, go = threading.Event(), threading.Event()
from segue.loading import load
os.register_at_fork(before=go.set)
thread = threading.Thread(target=load, args=(("slow",),))
thread.start()
begun.wait(20)
pid = os.fork()
if pid == 0:
    signal.alarm(10)
    load(("slow",))
    os._exit(7)
thread.join()
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"""


def script(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], env=environment(), capture_output=True, text=True, timeout=60
    )


def test_a_child_that_is_forked_during_an_import_can_import_the_same(tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text(_SLOW, encoding="utf-8")
    done = script(_FORKS, str(tmp_path))
    assert done.returncode == 7, done.stderr


_ENDS = """
import sys, time, segue
app = segue.Touchpoint("app", hub="127.0.0.1:1", state=sys.argv[1])
with app.session(account="A-1", wait=0) as session:
    session.track("transfer.failed", transfer_id="T")
began = time.monotonic()
app.close()
print(time.monotonic() - began)
"""


def test_a_host_that_closes_while_the_connection_is_being_made_is_not_kept(tmp_path: Path) -> None:
    done = script(_ENDS, str(tmp_path))
    assert done.returncode == 0
    assert done.stderr == ""
    assert float(done.stdout) < 4.0, "a thread that is given up costs five seconds"


_SLOW_DISK = """
import importlib.abc, sys, threading, segue
class Slow(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name == "grpc":
            later = threading.Event()
            threading.Timer(1.7, later.set).start()
            later.wait()
sys.meta_path.insert(0, Slow())
chat = segue.Touchpoint("chat", hub=sys.argv[1], key=sys.argv[2], state=sys.argv[3])
assert "grpc" not in sys.modules
with chat.session(account="A-1", wait="%s") as session:
    print(session.context().freshness.state)
chat.close()
"""


def test_the_first_wait_of_a_process_begins_when_what_a_connection_needs_is_loaded(tmp_path: Path) -> None:
    """Counterexample: on a slow machine the first customer of every process was MISSING."""
    with run_hub(EXAMPLE) as hub, calling(hub.address, hub.key("app")) as app:
        app.send(event("transfer.failed", "account=A-1", transfer_id="T"))
        key = hub.key("chat")
        waited = script(_SLOW_DISK % "1500ms", hub.address, key, str(tmp_path / "1"))
        assert (waited.stdout.strip(), waited.stderr) == ("LIVE", "")
        not_at_all = script(_SLOW_DISK % "0s", hub.address, key, str(tmp_path / "2"))
        assert (not_at_all.stdout.strip(), not_at_all.stderr) == ("MISSING", "")
