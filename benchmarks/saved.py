"""A run's JSON on disk, after each benchmark: a run that is interrupted keeps what it has.

Owns one file, replaced as a whole or not at all. Knows nothing of what is in it, and ends no run: where it cannot be
written (a full disk, a folder that is not ours) that is said once on stderr and tried again after the next benchmark.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any


class Saved:
    """Where a run is left.

    Args:
        path: the file; None keeps nothing.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._told = ""
        self.failed = ""
        """Why the newest state is not there; empty where it is."""

    def __call__(self, document: Mapping[str, Any]) -> None:
        """Writes the document as it is now."""
        if self._path is None:
            return
        beside = self._path.with_name(self._path.name + ".part")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            beside.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
            beside.replace(self._path)
        except OSError as error:
            with suppress(OSError):
                beside.unlink()
            self.failed = (
                f"{self._path}: the run is not kept ({error.strerror or error}); make room or give another --save"
            )
            if self.failed != self._told:
                print(f"warning: {self.failed}", file=sys.stderr, flush=True)
                self._told = self.failed
        else:
            self.failed = ""
