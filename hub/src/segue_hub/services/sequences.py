"""Sequences: the books of all producers' ordinals, so that no fact is lost in silence (promise 6).

Owns which books there are, their bound, and what is said of them. A book is written in the unit that holds the facts
it counts: what was acknowledged is in both or in neither, so a restart neither invents a gap nor forgets one. What the
bound makes it forget is counted, and said.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import orjson
from segue.domain.instant import instant_text
from segue.domain.tally import Tally

from ..storage.ports import Store, StoredBook, Unit
from .failure import Refusal
from .ordinal_book import Book, book_of

PRODUCERS: Final = 1000
"""Producers of one touchpoint that books are kept of."""
TALLIES: Final = 1000
"""Tallies that a request may hold."""
TOLD: Final = 2000
"""Runs of ordinals that a request may hold."""
SHOWN: Final = 50
"""Producers that are shown one by one, and gaps of each."""
_LAST: Final = 1 << 53
_NAME: Final = 128
_REASON: Final = 64
_FORGOTTEN: Final = ""
"""In place of a producer: what a touchpoint's forgotten books amounted to."""

Key = tuple[str, str]
"""(touchpoint, producer)."""


@dataclass(slots=True)
class Staged:
    """Books as they are once a unit is durable."""

    kept: dict[Key, Book] = field(default_factory=dict)
    dropped: set[Key] = field(default_factory=set)
    forgotten: dict[str, dict[str, int]] = field(default_factory=dict)


def checked(tallies: Sequence[Tally]) -> Sequence[Tally]:
    """What a request says of ordinals, if it can be booked.

    Raises:
        Refusal: TALLY_INVALID, with field and cure.
    """
    if len(tallies) > TALLIES:
        raise _invalid("", f"{len(tallies)} in one request", f"Send at most {TALLIES}")
    told = sum(len(tally.carried) + len(tally.lost) for tally in tallies)
    if told > TOLD:
        raise _invalid(".carried, .lost", f"{told} runs in one request", f"Send at most {TOLD}")
    for tally in tallies:
        _check(tally)
    return tallies


def _check(tally: Tally) -> None:
    if not 0 < len(tally.producer) <= _NAME:
        raise _invalid(".producer", f"{len(tally.producer)} characters", f"Name it, with at most {_NAME}")
    for name, runs in (("carried", tally.carried), ("lost", [(first, last) for first, last, _ in tally.lost])):
        for first, last in runs:
            if not 0 < first <= last < _LAST:
                raise _invalid(f".{name}", f"{first} to {last} is no run of ordinals", "They count from 1, and rise")
    for reason in (reason for _, _, reason in tally.lost):
        if not 0 < len(reason) <= _REASON:
            raise _invalid(".lost.reason", f"{len(reason)} characters", f"Say why, with at most {_REASON}")
    for name, number in (
        ("settled", tally.settled), ("handed_out", tally.handed_out), ("at_most", tally.at_most),
    ):  # fmt: skip
        if not 0 <= number < _LAST:
            raise _invalid(f".{name}", f"{number} is no ordinal", "They count from 1; 0 for none")


def _invalid(field: str, what: str, cure: str) -> Refusal:
    return Refusal("TALLY_INVALID", f"tallies{field}: {what}. {cure}")


class Sequences:
    """The books.

    Args:
        store: where they are.
    """

    def __init__(self, store: Store) -> None:
        self._books: dict[str, dict[str, Book]] = {}
        self._forgotten: dict[str, dict[str, int]] = {}
        for stored in store.books():
            plain = orjson.loads(stored.data)
            if stored.producer == _FORGOTTEN:
                self._forgotten[stored.touchpoint] = plain
            else:
                self._books.setdefault(stored.touchpoint, {})[stored.producer] = book_of(plain)

    def stage(self, tallies: Iterable[tuple[str, Tally]], unit: Unit, at: int) -> Staged:
        """Writes what (touchpoint, tally) change into a unit; nothing is seen of it until `keep`."""
        staged = Staged()
        for touchpoint, tally in tallies:
            key = (touchpoint, tally.producer)
            book = staged.kept.get(key) or self._books.get(touchpoint, {}).get(tally.producer)
            # Of one that it does not know the hub begins where the producer still waits for an answer.
            staged.kept[key] = (book or Book(begins=tally.settled + 1)).after(tally, at)
        for touchpoint in {touchpoint for touchpoint, _ in staged.kept}:
            self._forget(touchpoint, staged)
        for (touchpoint, producer), book in staged.kept.items():
            unit.keep_book(StoredBook(touchpoint, producer, orjson.dumps(book.plain())))
        for touchpoint, producer in staged.dropped:
            unit.drop_book(touchpoint, producer)
        for touchpoint, counts in staged.forgotten.items():
            unit.keep_book(StoredBook(touchpoint, _FORGOTTEN, orjson.dumps(counts)))
        return staged

    def _forget(self, touchpoint: str, staged: Staged) -> None:
        """Beyond the bound the longest silent go: first those that nothing is missing of."""
        mine = self._books.get(touchpoint, {})
        fresh = {producer: book for (whose, producer), book in staged.kept.items() if whose == touchpoint}
        over = len(mine.keys() | fresh.keys()) - PRODUCERS
        if over <= 0:
            return
        books = mine | fresh
        silent = sorted(books, key=lambda name: (name in fresh, bool(books[name].gaps), books[name].heard_at, name))
        counts = dict(self._forgotten.get(touchpoint, {}))
        for producer in silent[:over]:
            book = books[producer]
            told = {"producers": 1, "arrived": book.arrived, "missing": book.missing, "lost": sum(book.lost.values()),
                    "doubtful": book.doubtful, "untracked": book.untracked}  # fmt: skip
            for name, count in told.items():
                counts[name] = counts.get(name, 0) + count
            staged.kept.pop((touchpoint, producer), None)
            staged.dropped.add((touchpoint, producer))
        staged.forgotten[touchpoint] = counts

    def keep(self, staged: Staged) -> None:
        """The unit is durable."""
        for (touchpoint, producer), book in staged.kept.items():
            self._books.setdefault(touchpoint, {})[producer] = book
        for touchpoint, producer in staged.dropped:
            self._books.get(touchpoint, {}).pop(producer, None)
        self._forgotten |= staged.forgotten

    def plain(self) -> dict[str, Any]:
        """All of it, as JSON: sums by touchpoint, and the producers that something is missing of."""
        touchpoints: dict[str, Any] = {}
        worst: list[tuple[int, str, str, Book]] = []
        for touchpoint in sorted({*self._books, *self._forgotten}):
            sums: dict[str, Any] = {"producers": 0, "arrived": 0, "missing": 0, "lost": {}, "doubtful": 0,
                                    "untracked": 0, "forgotten": dict(self._forgotten.get(touchpoint, {}))}  # fmt: skip
            for producer, book in list(self._books.get(touchpoint, {}).items()):
                sums["producers"] += 1
                for name, count in (("arrived", book.arrived), ("missing", book.missing),
                                    ("doubtful", book.doubtful), ("untracked", book.untracked)):  # fmt: skip
                    sums[name] += count
                for reason, count in book.lost.items():
                    sums["lost"][reason] = sums["lost"].get(reason, 0) + count
                gone = book.missing + sum(book.lost.values()) + book.doubtful + book.untracked
                if gone:
                    worst.append((-gone, touchpoint, producer, book))
            touchpoints[touchpoint] = sums
        worst.sort(key=lambda entry: entry[:3])
        return {"touchpoints": touchpoints, "producers": [_shown(*entry[1:]) for entry in worst[:SHOWN]]}


def _shown(touchpoint: str, producer: str, book: Book) -> dict[str, Any]:
    return {
        "touchpoint": touchpoint,
        "producer": producer,
        "arrived": book.arrived,
        "missing": book.missing,
        "lost": book.lost,
        "doubtful": book.doubtful,
        "untracked": book.untracked,
        "gaps": [list(run) for run in book.gaps[:SHOWN]],
        "begins": book.begins,
        "through": book.top,
        "ended": book.ended,
        "heard_at": instant_text(book.heard_at),
    }
