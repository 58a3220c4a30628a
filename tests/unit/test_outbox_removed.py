"""An outbox whose file is removed while it is in use, as by whoever cleans up folders of temporary files.

What waited was told to be on disk: it has to be found by the next process, or counted as lost.
"""

from __future__ import annotations

import logging
import shutil
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from segue.domain.tally import Tally
from segue.offered import Offered
from segue.outbox import MUST, Outbox
from segue.publisher import Publisher

from tests.offering import offer


class Taking:
    """A stub of the transport that takes everything."""

    def __init__(self) -> None:
        self.taken: list[bytes] = []

    def publish(self, bodies: Sequence[bytes], tallies: Sequence[Tally], done: Callable[..., None]) -> None:
        self.taken += bodies
        done([("ACCEPTED", "", "")] * len(bodies), "", 0)


def published(outbox: Outbox, transport: Any) -> None:
    """All that waits goes out, as the worker has it."""
    publishing = Publisher(outbox, lambda: transport, lambda: None)
    publishing.publish()
    while publishing.under_way:
        publishing.settle()
        publishing.publish()


def fact(number: int, journalled: threading.Event | None = None) -> Offered:
    return Offered(number.to_bytes(16, "big"), b"body %d" % number, MUST, journalled)


def waiting(folder: Path, count: int) -> Outbox:
    outbox = Outbox(folder, "app", 1000, 10**8)
    outbox.open()
    for number in range(count):
        assert offer(outbox, fact(number))
    assert outbox.journal() == count
    return outbox


def dies(outbox: Outbox) -> None:
    """Its process ends without a word."""
    assert outbox._journal is not None
    assert outbox._file.lock is not None
    outbox._journal.close()
    outbox._file.lock.close()


def found(folder: Path) -> list[bytes]:
    """What the next process finds, in order."""
    outbox = Outbox(folder, "app", 1000, 10**8)
    outbox.open()
    bodies = [row.body for row in outbox.take(1000, 10**8)]
    outbox.close()
    return bodies


def another(outbox: Outbox) -> None:
    offer(outbox, fact(9))
    assert outbox.journal() == 1


def idle(outbox: Outbox) -> None:
    outbox.rest()


REMOVALS: dict[str, Callable[[Path], object]] = {
    "the folder": shutil.rmtree,
    "the folder, moved away": lambda folder: folder.rename(folder.with_name("elsewhere")),
    "its files": lambda folder: [path.unlink() for path in folder.iterdir()],
    "the file alone": lambda folder: [path.unlink() for path in folder.glob("*.outbox")],
}


@pytest.mark.parametrize("then", [another, idle], ids=["and more is told", "and nothing more comes"])
@pytest.mark.parametrize("how", REMOVALS)
def test_what_waits_in_a_file_that_was_removed_is_there_for_the_next_process(
    tmp_path: Path, how: str, then: Callable[[Outbox], None]
) -> None:
    """Counterexample: facts that `durable=True` had called kept were in a file without a name, and went with us."""
    folder = tmp_path / "state"
    outbox = waiting(folder, 3)
    REMOVALS[how](folder)
    then(outbox)
    more = 1 if then is another else 0
    assert outbox.waiting == 3 + more
    assert not outbox.trouble
    dies(outbox)
    assert found(folder) == [b"body 0", b"body 1", b"body 2"] + [b"body 9"] * more
    assert found(folder) == [b"body 0", b"body 1", b"body 2"] + [b"body 9"] * more, "and for the one after that"


def test_a_file_that_is_removed_again_and_again_is_written_anew_each_time_and_leaves_nothing_else(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "state"
    outbox = waiting(folder, 2)
    for number in range(2, 5):
        shutil.rmtree(folder)
        offer(outbox, fact(number))
        assert outbox.journal() == 1
    outbox.close()
    assert sorted(path.suffix for path in folder.iterdir()) == [".lock", ".outbox"]
    assert found(folder) == [b"body %d" % number for number in range(5)]


def test_an_outbox_that_ends_after_its_file_was_removed_leaves_what_waits(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    outbox = waiting(folder, 3)
    shutil.rmtree(folder)
    outbox.close()
    assert outbox.waiting == 3
    assert found(folder) == [b"body 0", b"body 1", b"body 2"]


def no_folder_any_more(folder: Path) -> None:
    """Where it stood nobody can make one."""
    shutil.rmtree(folder)
    folder.write_text("a file")


def test_what_is_told_while_no_file_can_be_written_is_not_called_kept_and_goes_out_all_the_same(tmp_path: Path) -> None:
    folder, kept = tmp_path / "state", threading.Event()
    outbox, transport = waiting(folder, 3), Taking()
    no_folder_any_more(folder)
    offer(outbox, fact(7, kept))
    assert outbox.journal() == 0
    assert not kept.is_set()
    assert outbox.trouble
    published(outbox, transport)
    assert transport.taken == [b"body 0", b"body 1", b"body 2", b"body 7"]
    assert (outbox.delivered, outbox.waiting, outbox.unjournalled) == (4, 0, 0)
    outbox.close()
    assert outbox.losses == {}


def test_what_is_told_while_the_disk_is_full_goes_out_all_the_same(tmp_path: Path) -> None:
    outbox, transport = waiting(tmp_path, 1), Taking()
    assert outbox._journal is not None
    outbox._journal._run.execute("PRAGMA max_page_count = 1")
    for number in range(1, 200):
        offer(outbox, Offered(number.to_bytes(16, "big"), b"x" * 300, MUST))
    assert outbox.journal() == 0
    assert outbox.trouble
    published(outbox, transport)
    assert len(transport.taken) == outbox.delivered == 200
    outbox.close()
    assert outbox.losses == {}


def test_what_can_be_written_nowhere_any_more_is_counted_as_lost_when_the_outbox_ends(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "state"
    outbox = waiting(folder, 3)
    no_folder_any_more(folder)
    offer(outbox, fact(7))
    with caplog.at_level(logging.WARNING, logger="segue"):
        outbox.close()
    assert outbox.losses == {"disk": 4}
    assert (outbox.offered, outbox.waiting) == (4, 0)
    assert any("3 facts that waited are lost" in record.message for record in caplog.records)
