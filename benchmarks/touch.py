"""One SDK process of P5, and one end of the bare relay: says when it sent what, and when it saw what.

Run by `workers.Worker("touch")`. Times are CLOCK_MONOTONIC, which all processes of a machine share.
"""

from __future__ import annotations

import queue
import threading
import time
from typing import Any

import grpc
import segue

from .workers import serve


class Touch:
    """A touchpoint that tracks, or one that watches its replica; or the same on the relay."""

    def __init__(self) -> None:
        self._touchpoint: Any = None
        self._sessions: list[Any] = []
        self._seen: dict[str, float] = {}
        self._expected = 0
        self._done = threading.Event()
        self._out: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._channel: Any = None

    def open(self, name: str, hub: str, key: str, state: str, customers: int) -> str:
        """Holds customers."""
        self._touchpoint = segue.Touchpoint(name, hub=hub, key=key, state=state)
        assert self._touchpoint.wait_ready(20)
        self._sessions = [self._touchpoint.session(account=f"V-{n}", wait="5s") for n in range(customers)]
        return str(self._touchpoint.status()["connection"])

    def track(self, count: int, rate: float, round: int) -> dict[str, float]:
        """Tracks at a rate; returns when each was told."""
        sent = {}
        for number, name in _paced(count, rate, round):
            session = self._sessions[number % len(self._sessions)]
            sent[name] = time.monotonic()
            session.track("help.viewed", article=name)
        return sent

    def flush(self) -> dict[str, Any]:
        """Waits until everything is acknowledged."""
        return {"flushed": self._touchpoint.flush(30), "losses": self._touchpoint.status()["losses"]}

    def watch(self, count: int) -> str:
        """From now on notes when facts are first seen in the replica's contexts."""
        self._seen, self._expected = {}, count
        self._done.clear()
        held = [session._held for session in self._sessions]
        threading.Thread(target=self._look, args=(held,), daemon=True).start()
        return "watching"

    def _look(self, held: list[Any]) -> None:
        # Wrapped around the replica's own entry: the moment at which a new context is shown to decisions.
        seen = self._seen
        known: dict[Any, int] = {each: each.shown.content.facts for each in held}
        by_number = {id(each): each for each in held}
        arrived: queue.SimpleQueue[tuple[float, Any]] = queue.SimpleQueue()
        for each in held:
            _tell_of_changes(each, arrived)
        while len(seen) < self._expected:
            at, each = arrived.get()
            each = by_number[id(each)]
            content = each.shown.content
            new = content.facts - known[each]
            known[each] = content.facts
            for fact in content.timeline[-new:] if new > 0 else ():
                seen.setdefault(str(fact.properties.get("article")), at)
        self._done.set()

    def seen(self, timeout: float) -> dict[str, float]:
        """When each fact was seen first; waits for all of them."""
        self._done.wait(timeout)
        return dict(self._seen)

    def relay(self, port: int) -> str:
        """Opens a stream to the bare relay."""
        self._channel = grpc.insecure_channel(f"127.0.0.1:{port}")
        call = self._channel.stream_stream("/bare/Relay")(iter(self._out.get, None))
        threading.Thread(target=self._listen, args=(call,), daemon=True).start()
        return "open"

    def _listen(self, call: Any) -> None:
        try:
            for message in call:
                self._seen[message.decode().partition(" ")[0]] = time.monotonic()
                if len(self._seen) >= self._expected:
                    self._done.set()
        except grpc.RpcError:
            return

    def expect(self, count: int) -> str:
        """From now on notes when messages arrive over the relay."""
        self._seen, self._expected = {}, count
        self._done.clear()
        return "listening"

    def say(self, count: int, rate: float, round: int) -> dict[str, float]:
        """Sends messages of an event's size over the relay, at a rate; returns when."""
        sent = {}
        for _, name in _paced(count, rate, round):
            sent[name] = time.monotonic()
            self._out.put(f"{name} ".encode().ljust(160, b"x"))
        return sent

    def close(self) -> str:
        """Ends it."""
        if self._touchpoint is not None:
            self._touchpoint.close()
        self._out.put(None)
        if self._channel is not None:
            self._channel.close()
        return "closed"


def _tell_of_changes(held: Any, arrived: queue.SimpleQueue[tuple[float, Any]]) -> None:
    """`Held.changed` is set whenever what is held changes: the setting thread's own moment is what counts."""
    event = held.changed = threading.Event()
    real = event.set

    def told() -> None:
        arrived.put((time.monotonic(), held))
        real()

    event.set = told


def _paced(count: int, rate: float, round: int) -> Any:
    """(number, name), each no earlier than its turn."""
    began = time.monotonic()
    for number in range(count):
        due = began + number / rate
        while (left := due - time.monotonic()) > 0:
            time.sleep(left)
        yield number, f"r{round}-{number}"


if __name__ == "__main__":
    touch = Touch()
    names = ("open", "track", "flush", "watch", "seen", "relay", "expect", "say", "close")
    serve({name: getattr(touch, name) for name in names})
