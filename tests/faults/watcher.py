"""A watcher: a client that follows customers over a hub that is killed again and again.

Owns `Watcher`: one stream after the other, each stating what the one before left it with, each with its history; and
what the six checks (`tests.watch_checks`) say of all of them together.
"""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections.abc import Sequence

from segue.domain.fact import Fact
from segue.domain.identifier import Identifier, parse_identifier

from tests import watch_checks
from tests.calling import calling
from tests.streaming import Stream, streaming
from tests.waiting import eventually
from tests.watch_checks import History

Truth = dict[int, tuple[int, str, str]]


class Watcher(threading.Thread):
    """One client.

    Args:
        address, key: of the hub.
        names: of the customers, one subscription each.

    Attributes:
        key: of the next stream.
        histories: of its streams; the last one is of a quiet hub.
    """

    def __init__(self, address: str, key: str, names: Sequence[str]) -> None:
        super().__init__(daemon=True)
        self._address, self.key, self._names = address, key, names
        self._finishing = threading.Event()
        self._stream: Stream | None = None
        self.held: Truth = dict.fromkeys(range(1, len(names) + 1), (0, "", ""))
        self.histories: list[History] = []

    def run(self) -> None:
        while not self._finishing.is_set():
            with (
                calling(self._address, self.key) as caller,
                streaming(caller, checked=False) as stream,
            ):  # `anomalies` checks
                self._subscribe(stream)
                stream.ended.wait()
            self._note(stream.history)
            self._finishing.wait(0.02)

    def _subscribe(self, stream: Stream) -> None:
        for number, name in enumerate(self._names, 1):
            stream.subscribe(number, name, held=self.held[number])
        self._stream = stream

    def _note(self, history: History) -> None:
        if history.messages:
            self.histories.append(history)
        self.held = {number: history.last(number) for number in self.held}

    def finish(self, truth: Truth) -> None:
        """Nothing happens any more: one more stream, until it has what is true and a bookmark of it."""
        self._finishing.set()
        if self._stream is not None:
            self._stream.close()
        self.join(20)
        assert not self.is_alive()
        with (
            calling(self._address, self.key) as caller,
            streaming(caller, checked=False) as stream,
        ):  # `anomalies` checks
            self._subscribe(stream)
            eventually(lambda: not watch_checks.reliable(stream.history, truth), 20)
            eventually(lambda: len(stream.heard("bookmark")) >= 1, 20)
        self._note(stream.history)

    def abandon(self) -> None:
        """Ends without more ado."""
        self._finishing.set()
        if self._stream is not None:
            self._stream.close()

    def anomalies(self, log: Sequence[tuple[int, Fact]], truth: Truth) -> list[str]:
        """What the six checks find; those of a settled client on the last stream only."""
        positions: dict[Identifier, list[int]] = {}
        facts: dict[Identifier, list[Fact]] = {}
        for position, fact in log:
            for name in fact.identifiers:
                positions.setdefault(name, []).append(position)
                facts.setdefault(name, []).append(fact)

        def whose(name: Identifier, through: int) -> Sequence[Fact]:
            return facts.get(name, [])[: bisect_right(positions.get(name, []), through)]

        found = []
        for history in self.histories:
            found += watch_checks.ordered(history) + watch_checks.unique(history)
            found += watch_checks.atomic(history, log, whose)
        last = self.histories[-1]
        assert set(last.identifiers.values()) == {parse_identifier(name) for name in self._names}
        found += watch_checks.reliable(last, truth) + watch_checks.resumable(last, truth)
        return found + watch_checks.bookmarked(last)
