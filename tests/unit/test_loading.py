"""What a connection needs is loaded under the guard that forks wait for, before anything is made of it."""

from __future__ import annotations

import json
import subprocess
import sys

from tests.serving import environment

_HOST = """
import json, sys
from segue.config import Config
from segue.loading import CONNECTION, WIRE, load
from segue.transport import Transport
load(WIRE)
load(CONNECTION)
before = set(sys.modules)
transport = Transport(Config(touchpoint="app", hub="127.0.0.1:1"))
transport.open_sync().end()
transport.publish([], [], lambda *_: None)
transport.close()
print(json.dumps(sorted(name for name in set(sys.modules) - before if name.startswith("segue."))))
"""


def test_making_a_connection_imports_nothing_of_ours_any_more() -> None:
    """Regression: a module was imported outside the guard. In a child that another thread forked just then its lock was
    never let go of: its stream waited for it for ever, and with it the host that closed.
    """
    done = subprocess.run([sys.executable, "-c", _HOST], capture_output=True, text=True, env=environment(), timeout=60)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == []
