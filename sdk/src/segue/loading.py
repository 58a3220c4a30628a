"""Loading: what only work needs (protobuf, gRPC, asyncio beneath it) is imported by our own threads, when they work.

Owns the guard around such imports, and what gRPC has to be told of a host before it works there. Importing `segue` and
making a touchpoint stay cheap; the host's threads never wait for one of these.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
from importlib import import_module
from typing import Final

log = logging.getLogger("segue")

WIRE: Final = ("segue.wire",)
"""What facts need to be written down."""
CONNECTION: Final = (
    "grpc", "grpc._channel", "grpc.experimental", "segue.wire_sync", "segue.retry_hint",
    "segue.v1.event_service_pb2_grpc", "segue.v1.sync_pb2_grpc", "segue.v1.reservation_service_pb2_grpc",
)  # fmt: skip
"""What a connection needs: all of it, as what is imported elsewhere is not guarded against a fork. gRPC itself would
import the second, and for TLS the third, when it makes a channel."""

# A child forked in the middle of an import would wait for ever for the thread that it does not have, so a fork waits.
_guard = threading.RLock()
os.register_at_fork(before=_guard.acquire, after_in_parent=_guard.release, after_in_child=_guard.release)


def load(modules: tuple[str, ...]) -> None:
    """Imports modules, once; never call it under a lock that a host's thread may want."""
    with _guard:
        if "grpc" in modules:
            _refuse_eventlet()
        for name in modules:
            import_module(name)
        if "grpc" in modules:
            _yield_to_gevent()


def _refuse_eventlet() -> None:
    """Where eventlet has made threads greenlets, gRPC would hold up the whole process for ever: it cannot be told."""
    patched = sys.modules.get("eventlet.patcher")
    if patched is not None and patched.is_monkey_patched("thread"):
        raise RuntimeError(
            "eventlet has patched this process, where gRPC cannot work: facts are kept on disk, see docs"
        )


def _yield_to_gevent() -> None:
    """Where gevent has made threads greenlets, gRPC's own thread would hold up the whole process, unless it is told."""
    patched = sys.modules.get("gevent.monkey")
    if patched is None or not patched.is_module_patched("threading"):
        return
    if not import_module("grpc._cython.cygrpc").g_gevent_activated:
        log.info("segue: gevent has patched this process: gRPC is told to yield to it (grpc.experimental.gevent)")
        import_module("grpc.experimental.gevent").init_gevent()
