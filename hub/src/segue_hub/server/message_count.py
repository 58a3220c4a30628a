"""The count of a stream's messages: from 1, without gaps, so that one that never came is noticed.

Owns what a hole is and how it is said. After one, what the stream holds is to be stated anew, all of it.
"""

from __future__ import annotations

from ..services.failure import Refusal


class MessageCount:
    """Counts what one side of a stream says."""

    def __init__(self) -> None:
        self._heard = 0

    def next(self, seq: int) -> Refusal | None:
        """Hears a message; a hole is a refusal, which ends the stream."""
        self._heard += 1
        if seq == self._heard:
            return None
        told = f"seq: {seq} came where {self._heard} follows. Open a new stream and state what is held"
        return Refusal("SEQUENCE_GAP", told)
