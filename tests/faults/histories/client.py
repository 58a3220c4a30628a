"""A client that makes a history: a thread that goes on doing what chance says until it is stopped.

Owns `Client`: its line to the hub, which is made anew when it broke or the key was changed, and its pace. What is done
is in those who inherit it.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable

from tests.calling import Caller
from tests.faults.histories.history import History, Operation

OPTIONS = (
    ("grpc.initial_reconnect_backoff_ms", 50), ("grpc.min_reconnect_backoff_ms", 50),
    ("grpc.max_reconnect_backoff_ms", 200), ("grpc.enable_retries", 0),
)  # fmt: skip
PATIENCE = 1.5
"""Seconds that a call waits."""


class Client(threading.Thread):
    """One client.

    Args:
        name: in the history.
        address: of the hub, or of what stands before it.
        key: asked before each line is made.
        history: what it tells.
        chance: its own.
        pace: seconds between two operations, about.
    """

    def __init__(
        self, name: str, address: str, key: Callable[[], str], history: History, chance: random.Random,
        pace: float = 0.03,
    ) -> None:  # fmt: skip
        super().__init__(daemon=True, name=name)
        self.address, self.key, self.history, self.chance, self.pace = address, key, history, chance, pace
        self.stopping = threading.Event()
        self.failed: BaseException | None = None
        self._line: Caller | None = None
        self._with = ""

    def line(self) -> Caller:
        """Stubs of the hub."""
        key = self.key()
        if self._line is not None and key != self._with:
            self.broken()
        if self._line is None:
            self._line, self._with = Caller(self.address, key, options=OPTIONS), key
        return self._line

    def broken(self) -> None:
        """The line is of no use any more."""
        if self._line is not None:
            self._line.close()
            self._line = None

    def run(self) -> None:
        try:
            while not self.stopping.is_set():
                self.act()
                self.stopping.wait(self.chance.uniform(0, 2 * self.pace))
            self.rest()
        except BaseException as error:  # told by `end`
            self.failed = error
            raise
        finally:
            self.broken()

    def act(self) -> None:
        """One operation."""
        raise NotImplementedError

    def rest(self) -> None:
        """What is left to do at the end."""

    def settled(self, done: Operation) -> bool:
        """Whether it is known what came of an operation; else, and where the hub asked for it, waits a little."""
        if done.outcome == "ok":
            return True
        if done.code in ("UNAVAILABLE", "DEADLINE_EXCEEDED", "KEY_INVALID", "UNAUTHENTICATED"):
            self.broken()
        self.stopping.wait(max(done.pause, 0.08))  # as told, and the pace of who tries again
        return False

    def end(self, timeout: float = 60) -> None:
        """Stops, once it has done the rest."""
        self.stopping.set()
        self.join(timeout)
        if self.is_alive():
            raise AssertionError(f"{self.name} does not come to its end")
        if self.failed is not None:
            raise AssertionError(f"{self.name} failed: {self.failed!r}")
