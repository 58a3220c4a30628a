"""Last words: what a host tells after the end of its process has begun, from exit handlers that run after our own.

Owns that it is on disk when telling returns: nobody will close this runtime, and the threads of a process that ends do
not come to it. The next process of this touchpoint delivers it.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from .clock import SYSTEM, System
from .config import Config
from .domain.fact import Fact
from .loading import WIRE, load
from .outbox import MUST
from .replica import Held
from .runtime import Runtime

log = logging.getLogger("segue")


class LastWords(Runtime):
    """A runtime without threads and without a hub."""

    def __init__(self, config: Config, system: System = SYSTEM) -> None:
        super().__init__(config, system)
        self.loaded.set()  # nothing will be loaded that anybody could wait for
        self._writing = threading.RLock()

    def start(self) -> None:
        """Begins nothing: a process that ends may begin no thread."""

    def offer(self, fact: Fact, lane: int, held: Held | None, journalled: threading.Event | None = None) -> None:
        """Takes a fact, and writes it to disk."""
        super().offer(fact, lane, held, journalled)
        self._write()

    def record(self, make: Callable[[], Fact], lane: int = MUST) -> None:
        """Takes a fact that is yet to be made, and writes it to disk."""
        super().record(make, lane)
        self._write()

    def _write(self) -> None:
        try:
            with self._writing:
                load(WIRE)
                if not self.outbox.opened:
                    self.outbox.open()
                self.outbox.journal()
                for _ in range(2):  # the first finds what is idle, the second gives it back: nothing is in doubt
                    self.outbox.rest()
        except Exception:  # the host must never notice, least of all now
            log.exception("segue: what was told at the end of this process is lost")
