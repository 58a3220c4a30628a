"""A problem of a plan: where it is, what is wrong, what to write instead.

Owns the shape that `plan check` prints.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing wrong with a plan.

    Attributes:
        file: relative to the plan's directory.
        line, column: from 1.
        field: for example `maps.money_transfer.key`.
        message: the cause.
        cure: what to write instead.
        severity: `error`, or `warning` which does not hold a push back.
    """

    file: str
    line: int
    column: int
    field: str
    message: str
    cure: str = ""
    severity: str = "error"

    def __str__(self) -> str:
        stop = "" if self.message.endswith((".", "?", "!")) else "."
        cure = f" {self.cure}" if self.cure else ""
        return f"{self.file}:{self.line}:{self.column}: {self.severity}: {self.field}: {self.message}{stop}{cure}"

    def plain(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)
