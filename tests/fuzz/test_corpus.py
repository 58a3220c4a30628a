"""F19, the part of every run: what is kept of the corpus is replayed, and each input's neighbours by a fixed seed.

No crash, and no input that takes more than 64 MB; how long an input takes is measured by `make fuzz`.
"""

from __future__ import annotations

import random
import tracemalloc
from pathlib import Path

import pytest

from tests.fuzz.__main__ import NAMES
from tests.fuzz.targets import TARGETS

CORPUS = Path(__file__).with_name("corpus")
MEMORY = 64 * 1024 * 1024
NEIGHBOURS = 15


def neighbours(data: bytes, chance: random.Random) -> list[bytes]:
    """Inputs near one: bits turned, parts cut out, doubled or put elsewhere."""
    found = [data[: chance.randrange(len(data) + 1)] for _ in range(4)]
    while len(found) < NEIGHBOURS and data:
        changed = bytearray(data)
        for _ in range(chance.randrange(1, 6)):
            place = chance.randrange(len(changed) or 1)
            what = chance.randrange(4)
            if what == 0 and changed:
                changed[place] = chance.randrange(256)
            elif what == 1:
                changed[place:place] = changed[place : place + chance.randrange(64)]
            elif what == 2:
                del changed[place : place + chance.randrange(16)]
            else:
                changed[place:place] = chance.choice(
                    [b"\x00", b"\xff", b"\x80" * 9, b"-1", b"1e999", b"[" * 40, b"\xed"]
                )
        found.append(bytes(changed))
    return found


def test_the_runner_and_the_replay_know_the_same_targets() -> None:
    assert tuple(TARGETS) == NAMES
    assert sorted(folder.name for folder in CORPUS.iterdir()) == sorted(TARGETS)


@pytest.mark.parametrize("name", NAMES)
def test_the_corpus_and_what_is_near_it_is_read_or_refused(name: str) -> None:
    target, chance = TARGETS[name], random.Random(7)
    kept = sorted((CORPUS / name).iterdir())
    assert kept, "a target without a corpus"
    for path in kept:
        data = path.read_bytes()
        target(data)
        tracemalloc.start()
        try:
            target(data)
            assert tracemalloc.get_traced_memory()[1] < MEMORY, path.name
        finally:
            tracemalloc.stop()
        for near in neighbours(data, chance):
            target(near)


def test_control_a_door_that_lets_an_exception_out_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def careless(data: bytes) -> None:
        data.decode("utf-8")

    monkeypatch.setitem(TARGETS, "hints", careless)
    with pytest.raises(UnicodeDecodeError):
        test_the_corpus_and_what_is_near_it_is_read_or_refused("hints")
