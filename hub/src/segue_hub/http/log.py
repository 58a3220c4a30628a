"""What the HTTP server has to say, in the hub's own log.

Owns the bridge from its logger. A request that is no HTTP was answered, and is no fault of the hub's: a stranger would
fill the log with tracebacks, and what was sent is in them. Knows no path and no answer.
"""

from __future__ import annotations

import logging

import structlog
from aiohttp.http_exceptions import HttpProcessingError

log = structlog.get_logger("segue.hub")


class _Bridge(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        if not isinstance(error, HttpProcessingError):
            log.error("the side port failed", said=str(record.msg), exc_info=record.exc_info)


def server_log() -> logging.Logger:
    """For the server to write to."""
    found = logging.getLogger("segue.hub.http")
    found.handlers, found.propagate = [_Bridge(logging.ERROR)], False
    return found
