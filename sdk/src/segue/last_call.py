"""The last call: how a process ends that runs no exit handlers, as children of multiprocessing and billiard do.

Owns whom to ask for a call before `os._exit`. Imports nothing for it: a library that was not loaded starts no process.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable
from typing import Any, Final

log = logging.getLogger("segue")

LATE: Final = -100
"""Priority among the finalizers of a child: the host's own may tell something still."""
_asked: dict[str, int] = {}
"""The process in which each library was asked last: once is enough for all touchpoints of one."""


def last_call(call: Callable[[], object]) -> None:
    """Has something called at the end of this process, where `atexit` calls nobody."""
    try:
        _ask(call)
    except Exception:  # somebody's library is not as we know it: its process may end without us
        log.exception("segue: what is told in the last moment of this process may be lost")


def _ask(call: Callable[[], object]) -> None:
    for library in ("multiprocessing", "billiard"):
        process, util = sys.modules.get(f"{library}.process"), sys.modules.get(f"{library}.util")
        if process is None or util is None or not _is_child(process) or _asked.get(library) == os.getpid():
            continue
        _asked[library] = os.getpid()
        util.Finalize(None, call, exitpriority=LATE)
    # A worker of Celery's pool ends by `os._exit` without any finalizer.
    if (signals := sys.modules.get("celery.signals")) is not None:
        signals.worker_process_shutdown.connect(lambda **_: call(), weak=False, dispatch_uid="segue")


def _is_child(process: Any) -> bool:
    return getattr(process.current_process(), "_parent_pid", None) is not None
