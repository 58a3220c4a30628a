"""A hub that breaks the promise, for `durability` to refuse: `python -m benchmarks.weakened FAULT serve ...`.

`normal`: `synchronous` is NORMAL, so that a commit is not on the disk. `early`: once SIGUSR1 came, a unit is committed
with the next one, so that acknowledgements precede commits.
"""

from __future__ import annotations

import signal
import sys
from typing import Any

from segue_hub.cli import main
from segue_hub.storage.sqlite import store


class _Late:
    """A connection whose COMMIT waits for the next BEGIN."""

    on = False

    def __init__(self, connection: Any) -> None:
        self._connection, self._owed = connection, False

    def execute(self, sql: str, *arguments: Any, **more: Any) -> Any:
        """Passes on all but a COMMIT."""
        if sql == "COMMIT" and _Late.on:
            self._owed = True
            return iter(())
        if sql.startswith("BEGIN") and self._owed:
            self._owed = False
            self._connection.execute("COMMIT")
        return self._connection.execute(sql, *arguments, **more)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)


def _weaken(fault: str) -> None:
    if fault not in ("normal", "early"):
        raise SystemExit(f"{fault}: no such fault; there are normal, early")
    opened = store.SqliteStore.__init__

    def opens(self: Any, *arguments: Any, **more: Any) -> None:
        opened(self, *arguments, **more)
        if fault == "normal":
            self._writer.execute("PRAGMA synchronous = NORMAL")
        else:
            self._writer = _Late(self._writer)

    store.SqliteStore.__init__ = opens  # type: ignore[method-assign]
    signal.signal(signal.SIGUSR1, lambda *_: setattr(_Late, "on", True))


if __name__ == "__main__":
    _weaken(sys.argv.pop(1))
    main()
