"""What every test shares: that `tests` is importable from wherever pytest is started, and that a hub under test logs
to standard error, as one that is served does."""

from __future__ import annotations

import sys
from pathlib import Path

import structlog

_ROOT = str(Path(__file__).resolve().parent.parent)
if _ROOT not in sys.path:
    sys.path.insert(0, _ROOT)
structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
