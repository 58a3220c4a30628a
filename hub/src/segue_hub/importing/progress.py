"""What an import remembers beside its input: how far it came, and what it rejected up to there.

Owns the progress file and the rejects file between two runs. Neither is trusted where it is broken.
"""

from __future__ import annotations

import json
from pathlib import Path


class Progress:
    """How many rows of one file are done.

    Args:
        path: the progress file.
        key: names mapping, file and the store that the rows went to; what another import remembered is ignored.
    """

    def __init__(self, path: Path, key: str) -> None:
        self._path = path
        self._key = key

    def rows(self) -> int:
        """Rows that an earlier run finished."""
        try:
            found = json.loads(self._path.read_text(encoding="utf-8"))
            return max(0, int(found["rows"])) if found["key"] == self._key else 0
        except (OSError, ValueError, KeyError, TypeError):
            return 0

    def remember(self, rows: int) -> None:
        """All up to a row is acknowledged by the hub, or rejected and written down."""
        fresh = self._path.with_name(self._path.name + ".new")
        fresh.write_text(json.dumps({"key": self._key, "rows": rows}), encoding="utf-8")
        fresh.replace(self._path)

    def forget(self) -> None:
        """The import is complete."""
        self._path.unlink(missing_ok=True)


def keep_rejects(path: Path, rows: int) -> None:
    """Leaves of an earlier run's rejects those of its first `rows` rows: the others are judged again."""
    if not path.exists():
        return
    kept = [line for line in path.read_text(encoding="utf-8").splitlines() if rows and _row(line) <= rows]
    path.write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")


def _row(line: str) -> float:
    try:
        return int(json.loads(line)["row"])
    except (ValueError, KeyError, TypeError):
        return float("inf")  # cut off in the middle
