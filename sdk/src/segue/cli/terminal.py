"""The terminal: colours and a bar where somebody looks, plain text where nobody does.

Owns how output is laid out; what it says is each command's.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from typing import Any, Final, TextIO

_STYLES: Final = {"bold": "1", "red": "31", "green": "32", "yellow": "33", "dim": "2"}
_EVERY: Final = 0.1
_LINES_EVERY: Final = 5.0
_WIDTH: Final = 24


class Ended(Exception):
    """The command ends here: 1 refused, 2 used wrongly, 3 the hub cannot be reached, 4 answers differ."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


def paint(text: str, style: str, stream: TextIO | None = None) -> str:
    """A text in a style, where the stream is a terminal and nobody forbade colours."""
    if not (stream or sys.stdout).isatty() or os.environ.get("NO_COLOR"):
        return text
    return f"\x1b[{_STYLES[style]}m{text}\x1b[0m"


def table(rows: Sequence[Sequence[Any]], right: frozenset[int] = frozenset()) -> list[str]:
    """Lines of a table; the last column may be as long as it likes.

    Args:
        rows: cells.
        right: columns to put at the right.
    """
    texts = [[_cell(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*texts, strict=True)]
    lines = []
    for row in texts:
        cells = [
            cell.rjust(width) if number in right else cell.ljust(width)
            for number, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return lines


def _cell(cell: Any) -> str:
    """One cell; what would move the cursor or the paper is shown as text."""
    text = f"{cell:,}" if type(cell) is int else str(cell)
    return text if text.isprintable() else repr(text)[1:-1]


class Bar:
    """How far it is, on standard error: a bar on a terminal, a line now and then elsewhere.

    Args:
        quiet: nothing at all where that is no terminal.
    """

    def __init__(self, *, quiet: bool) -> None:
        self._terminal = sys.stderr.isatty()
        self._silent = quiet and not self._terminal
        self._next = time.monotonic() + (0.0 if self._terminal else _LINES_EVERY)
        self._drawn = 0

    def tell(self, what: str, done: int, of: int, rest: str = "") -> None:
        """So many of so many are done."""
        now = time.monotonic()
        if self._silent or now < self._next:
            return
        share = min(1.0, done / of) if of else 0.0
        text = f"{what} {share:4.0%}{f'  {rest}' if rest else ''}"
        if self._terminal:
            full = round(share * _WIDTH)
            self._draw(f"{'━' * full}{' ' * (_WIDTH - full)} {text}")
            self._next = now + _EVERY
        else:
            print(text, file=sys.stderr)
            self._next = now + _LINES_EVERY

    def _draw(self, text: str) -> None:
        sys.stderr.write("\r" + text.ljust(self._drawn))
        sys.stderr.flush()
        self._drawn = len(text)

    def clear(self) -> None:
        """Leaves no trace of the bar."""
        if self._drawn:
            sys.stderr.write("\r" + " " * self._drawn + "\r")
            sys.stderr.flush()
            self._drawn = 0
