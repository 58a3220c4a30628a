"""A hub for tests: in a thread of this process, on a free port, with a key for everybody.

Owns `run_hub`. It is a real hub with real gRPC; only the process is shared.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from .app import Hub
from .checking.plan_check import check_plan, read_directory
from .limits import Limits
from .settings import Settings


class RunningHub:
    """A hub that serves until its block ends.

    Attributes:
        address: for `SEGUE_HUB`.
        admin_key: for the admin's services.
        hub: the hub itself, to look inside.
    """

    def __init__(self, hub: Hub, loop: asyncio.AbstractEventLoop) -> None:
        self.hub = hub
        self._loop = loop
        self.address = f"127.0.0.1:{hub.port}"
        self.http = f"http://127.0.0.1:{hub.http_port}"
        self.admin_key = self.call(hub.touchpoints.issue_admin())

    def call(self, coroutine: Any) -> Any:
        """Runs a coroutine on the hub's loop and waits for it."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(30)

    def key(self, touchpoint: str) -> str:
        """A new key of a touchpoint."""
        return str(self.call(self.hub.touchpoints.issue(touchpoint)))

    def push(self, plan: Path | Mapping[str, str]) -> str:
        """Puts a plan in force; returns its digest.

        Raises:
            ValueError: the plan has errors; the message lists them.
        """
        files = read_directory(plan) if isinstance(plan, Path) else dict(plan)
        checked = check_plan(files)
        if checked.document is None:
            raise ValueError("\n".join(str(problem) for problem in checked.problems))
        stored, _ = self.call(self.hub.plans.push(checked.document, files, "test", ""))
        return str(stored.digest)


@contextmanager
def run_hub(
    plan: Path | Mapping[str, str] | None = None,
    *,
    store: Path | None = None,
    port: int = 0,
    clock: Callable[[], int] | None = None,
    decisions: Sequence[str] = (),
    limits: Limits | None = None,
) -> Iterator[RunningHub]:
    """Serves a hub while the block runs.

    Args:
        plan: a directory, or files by path.
        store: a SQLite file; memory where not given.
        port: 0 takes a free one.
        clock: time in microseconds; the machine's where not given.
        decisions: modules whose decision functions the hub runs, as of `segue-hub serve --decisions`.
        limits: how much it takes on at most.
    """
    ready, failed = threading.Event(), []
    made: list[tuple[Hub, asyncio.AbstractEventLoop]] = []

    async def serve() -> None:
        settings = Settings(
            store=store, port=port, http_port=0, insecure=True, decisions=tuple(decisions), limits=limits or Limits()
        )
        hub = Hub(settings, clock)
        await hub.start()
        made.append((hub, asyncio.get_running_loop()))
        ready.set()
        await hub.wait()
        await hub.stop(grace=1.0)

    def run() -> None:
        try:
            asyncio.run(serve())
        except BaseException as error:  # noqa: BLE001  # carried to the caller's thread
            failed.append(error)
            ready.set()

    thread = threading.Thread(target=run, name="segue-hub", daemon=True)
    thread.start()
    if not ready.wait(30) or failed:
        raise RuntimeError(f"the hub did not start: {failed}")
    hub, loop = made[0]
    running = RunningHub(hub, loop)
    try:
        if plan is not None:
            running.push(plan)
        yield running
    finally:
        with suppress(RuntimeError):  # its loop is closed: a hub that broke has ended by itself
            loop.call_soon_threadsafe(hub.ask_to_stop)
        thread.join(30)
        if failed:
            raise failed[0]
