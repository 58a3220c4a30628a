"""The publisher and its outbox when things go wrong: nothing stops for ever, and kept + delivered + lost = offered."""

from __future__ import annotations

import fcntl
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from segue import adoption, backoff
from segue import outbox as outbox_module
from segue.config import Config
from segue.domain.tally import Tally
from segue.file_lock import FileLock
from segue.ordinals import BLOCK_LEAST
from segue.outbox import ANALYTICS, MUST, Offered, Outbox
from segue.publisher import Publisher
from segue.transport import UNDELIVERABLE, Transport, Verdict
from segue.wire import fact_to_bytes
from segue_hub.testing import RunningHub, run_hub

from tests.calling import event
from tests.offering import offer

Done = Callable[[list[Verdict] | None, str, int], None]


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tried again without waiting."""
    monkeypatch.setattr(backoff, "jitter", lambda failures: 0.0)


class Taking:
    """A stub of the transport: takes everything, but cannot read a batch with one of these bodies in it."""

    def __init__(self, *unreadable: bytes) -> None:
        self.unreadable = set(unreadable)
        self.taken: list[bytes] = []
        self.batches: list[int] = []

    def publish(self, bodies: Sequence[bytes], tallies: Sequence[Tally], done: Done) -> None:
        self.batches.append(len(bodies))
        if self.unreadable.intersection(bodies):
            done(None, "RESOURCE_EXHAUSTED", UNDELIVERABLE)
            return
        self.taken += bodies
        done([("ACCEPTED", "", "")] * len(bodies), "", 0)


class Silent:
    """A stub of the transport that answers when it is told to."""

    def __init__(self) -> None:
        self.under_way: list[tuple[int, Done]] = []

    def publish(self, bodies: Sequence[bytes], tallies: Sequence[Tally], done: Done) -> None:
        self.under_way.append((len(bodies), done))

    def fail(self) -> None:
        _, done = self.under_way.pop()
        done(None, "UNAVAILABLE: no answer", 0)

    def answer(self, status: str = "ACCEPTED") -> None:
        count, done = self.under_way.pop()
        done([(status, "CODE" if status == "REJECTED" else "", "")] * count, "", 0)


def offered(number: int, lane: int = MUST) -> Offered:
    return Offered(number.to_bytes(16, "big"), b"body %d" % number, lane)


def open_outbox(folder: Path, count: int = 0, rows: int = 1_000_000) -> Outbox:
    outbox = Outbox(folder, "app", rows, 10**9)
    outbox.open()
    for number in range(count):
        offer(outbox, offered(number))
    outbox.journal()
    return outbox


def publisher(outbox: Outbox, transport: Any) -> Publisher:
    return Publisher(outbox, lambda: transport, lambda: None)


def told(publisher: Publisher, times: int = 200) -> list[bytes]:
    """Publishes and settles, as the worker does, until nothing is under way any more."""
    gone = []
    for _ in range(times):
        publisher.publish()
        if not publisher.under_way:
            return gone
        gone += publisher.settle()
    raise AssertionError("it never ends")


def balance(outbox: Outbox) -> int:
    """Kept + delivered + lost; must be what was offered. Refused ones are in the dead table and counted as lost."""
    return outbox.waiting + outbox.unjournalled + outbox.delivered + sum(outbox.losses.values())


# Connecting.


def test_an_exception_on_connecting_does_not_stop_publishing_for_ever(tmp_path: Path) -> None:
    outbox, transport, tries = open_outbox(tmp_path, 3), Taking(), []

    def connected() -> Any:
        tries.append(1)
        if len(tries) < 3:
            raise OSError("the CA's file is not there yet")
        return transport

    publishing = Publisher(outbox, connected, lambda: None)
    publishing.publish()
    assert publishing.settle() == []
    assert publishing.last_error == "OSError: the CA's file is not there yet"
    assert not publishing.under_way
    told(publishing)
    assert (len(tries), outbox.delivered, outbox.waiting, publishing.last_error) == (3, 3, 0, "")
    outbox.close()


def test_what_could_not_reach_the_hub_goes_as_soon_as_a_stream_says_that_it_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Regression: after repeated deaths of the hub facts waited up to 30 s, though the stream was up again."""
    monkeypatch.setattr(backoff, "jitter", lambda failures: 30.0)
    hub = Silent()
    outbox = open_outbox(tmp_path, 3)
    facts = publisher(outbox, hub)
    facts.publish()
    hub.fail()
    facts.settle()
    facts.publish()
    assert hub.under_way == []
    facts.welcomed()
    facts.publish()
    assert [count for count, _ in hub.under_way] == [3]
    hub.under_way.pop()[1](None, "RESOURCE_EXHAUSTED: no room", 20_000)
    facts.settle()
    facts.welcomed()
    facts.publish()
    assert hub.under_way == [], "a pause that the hub asked for holds"
    outbox.close()


def test_a_row_that_the_transport_cannot_even_send_does_not_stop_publishing_for_ever(tmp_path: Path) -> None:
    class Raising(Taking):
        def publish(self, bodies: Sequence[bytes], tallies: Sequence[Tally], done: Done) -> None:
            if not self.batches:
                self.batches.append(0)
                raise ValueError("no message")
            super().publish(bodies, tallies, done)

    outbox = open_outbox(tmp_path, 2)
    told(publisher(outbox, Raising()))
    assert (outbox.delivered, outbox.waiting) == (2, 0)
    outbox.close()


# Batches that the hub cannot read.


@pytest.mark.parametrize("culprits", [[0], [99], [37], [10, 11, 60]])
def test_a_batch_that_cannot_be_read_is_halved_until_the_culprit_is_alone_and_the_rest_is_delivered(
    tmp_path: Path, culprits: list[int]
) -> None:
    outbox = open_outbox(tmp_path, 100)
    transport = Taking(*(offered(number).body for number in culprits))
    gone = told(publisher(outbox, transport))
    ids = [offered(number).id for number in culprits]
    assert gone == ids
    assert [(id_, code) for id_, code, _ in outbox.dead()] == [(id_, "UNDELIVERABLE") for id_ in ids]
    assert sorted(transport.taken) == sorted(offered(n).body for n in range(100) if n not in culprits)
    assert outbox.losses == {"rejected:UNDELIVERABLE": len(culprits)}
    assert (outbox.waiting, balance(outbox)) == (0, outbox.offered)
    assert transport.batches[0] == 100
    assert len(transport.batches) < 60
    outbox.close()


@pytest.fixture(scope="module")
def hub() -> Iterator[RunningHub]:
    with run_hub() as running:
        yield running


def answer_of(hub: RunningHub, bodies: Sequence[bytes]) -> tuple[list[Verdict] | None, str, int]:
    """What a real hub makes of a batch."""
    answers: list[tuple[list[Verdict] | None, str, int]] = []
    answered = threading.Event()

    def done(verdicts: list[Verdict] | None, error: str, backoff_ms: int) -> None:
        answers.append((verdicts, error, backoff_ms))
        answered.set()

    transport = Transport(Config(touchpoint="app", hub=hub.address, key=hub.key("app")))
    try:
        transport.publish(bodies, [], done)
        assert answered.wait(10)
    finally:
        transport.close()
    return answers[0]


def test_a_message_too_large_for_the_hub_is_undeliverable(hub: RunningHub) -> None:
    large = [fact_to_bytes(event("a", "account=P-1", text="x" * 60_000)) for _ in range(80)]
    verdicts, error, backoff_ms = answer_of(hub, large)
    assert verdicts is None
    assert backoff_ms == UNDELIVERABLE
    assert error.startswith("RESOURCE_EXHAUSTED")


def test_a_hub_that_has_no_room_now_is_asked_again_later(hub: RunningHub, monkeypatch: pytest.MonkeyPatch) -> None:
    body = fact_to_bytes(event("a", "account=P-2"))
    with monkeypatch.context() as full:
        full.setattr(hub.hub.ingest.queue, "limit", -1)
        verdicts, error, backoff_ms = answer_of(hub, [body])
    assert verdicts is None
    assert backoff_ms != UNDELIVERABLE
    assert error
    assert answer_of(hub, [body])[0] == [("ACCEPTED", "", "")]


# An outbox that cannot be written.


def unwritable(folder: Path) -> Path:
    folder.write_text("a file where the folder should be")
    return folder


def test_an_outbox_that_cannot_be_written_publishes_from_memory_and_reopens(tmp_path: Path) -> None:
    folder = unwritable(tmp_path / "state")
    outbox, transport = open_outbox(folder, 3), Taking()
    assert outbox.trouble
    publishing = publisher(outbox, transport)
    told(publishing)
    assert (outbox.delivered, outbox.unjournalled, balance(outbox)) == (3, 0, 3)
    offer(outbox, offered(3))
    outbox.journal()
    folder.unlink()
    outbox.reopen()
    outbox.journal()
    assert outbox.trouble == ""
    assert (outbox.waiting, outbox.unjournalled) == (1, 0)
    told(publishing)
    assert transport.taken == [offered(number).body for number in range(4)]
    assert (outbox.delivered, outbox.waiting, balance(outbox)) == (4, 0, outbox.offered)
    outbox.close()


def test_an_outbox_that_reopens_while_a_batch_from_memory_is_under_way_counts_each_fact_once(tmp_path: Path) -> None:
    folder = unwritable(tmp_path / "state")
    outbox, transport = open_outbox(folder, 3), Silent()
    publishing = publisher(outbox, transport)
    publishing.publish()
    folder.unlink()
    outbox.reopen()
    outbox.journal()
    assert outbox.waiting == 3
    transport.answer()
    publishing.settle()
    assert (outbox.delivered, outbox.waiting, balance(outbox)) == (3, 0, 3)
    assert outbox.take(10, 10**6) == []
    outbox.close()


def test_what_an_outbox_without_a_disk_drops_when_it_closes_is_counted(tmp_path: Path) -> None:
    outbox = open_outbox(unwritable(tmp_path / "state"), 5)
    outbox.close()
    assert outbox.losses == {"disk": 5}
    assert (outbox.unjournalled, balance(outbox)) == (0, 5)
    outbox.reopen()
    assert outbox._journal is None


# A full outbox.


@pytest.mark.parametrize("status", ["ACCEPTED", "DUPLICATE", "REJECTED"])
def test_a_full_outbox_with_a_batch_under_way_loses_no_count(tmp_path: Path, status: str) -> None:
    outbox, transport = Outbox(tmp_path, "app", 10, 10**9), Silent()
    outbox.open()
    for number in range(10):
        offer(outbox, offered(number, ANALYTICS))
    outbox.journal()
    publishing = publisher(outbox, transport)
    publishing.publish()
    for number in range(10, 28):
        offer(outbox, offered(number, ANALYTICS))
        outbox.journal()
        assert balance(outbox) == outbox.offered
    transport.answer(status)
    publishing.settle()
    assert balance(outbox) == outbox.offered == 28
    assert outbox.waiting == len(outbox.take(100, 10**6))
    outbox.close()


def test_a_full_memory_with_a_batch_under_way_loses_no_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox_module, "MEMORY_ROWS", 10)
    outbox, transport = open_outbox(unwritable(tmp_path / "state"), 10), Silent()
    publishing = publisher(outbox, transport)
    publishing.publish()
    for number in range(10, 16):
        offer(outbox, offered(number))
    outbox.journal()
    transport.answer()
    publishing.settle()
    assert balance(outbox) == outbox.offered == 16
    outbox.close()


def test_everything_under_way_does_not_make_newer_facts_the_oldest_and_the_limit_holds_again_after(
    tmp_path: Path,
) -> None:
    """Regression: with the whole outbox in a batch, each new fact was dropped as if it were the oldest."""
    outbox, transport = Outbox(tmp_path, "app", 5, 10**9), Silent()
    outbox.open()
    for number in range(5):
        offer(outbox, offered(number, ANALYTICS))
    outbox.journal()
    publishing = publisher(outbox, transport)
    publishing.publish()
    for number in range(5, 8):
        offer(outbox, offered(number, MUST))
        outbox.journal()
    assert (outbox.waiting, outbox.losses) == (8, {})
    transport.fail()
    publishing.settle()
    offer(outbox, offered(8, MUST))
    outbox.journal()
    assert (outbox.waiting, outbox.losses) == (5, {"outbox_full": 4})
    assert [row.id[-1] for row in outbox.take(10, 10**6)] == [5, 6, 7, 8, 4]
    assert balance(outbox) == outbox.offered == 9
    outbox.close()


def test_an_outbox_of_few_large_facts_keeps_to_its_bytes(tmp_path: Path) -> None:
    """Regression: a tenth of fewer than ten facts is none, so nothing ever went."""
    outbox = Outbox(tmp_path, "app", 1_000_000, 1000)
    outbox.open()
    for number in range(8):
        offer(outbox, Offered(number.to_bytes(16, "big"), b"x" * 300, ANALYTICS))
        outbox.journal()
    assert (outbox.waiting, outbox.losses) == (3, {"outbox_full": 5})
    assert balance(outbox) == outbox.offered == 8
    outbox.close()


def test_what_is_kept_after_it_was_delivered_costs_no_fact_that_waits(tmp_path: Path) -> None:
    """Regression: bytes of delivered facts counted against the limit, and facts that waited paid for them."""
    outbox = Outbox(tmp_path, "app", 1_000_000, 3000)
    outbox.open()
    publishing = publisher(outbox, Taking())
    for number in range(100):
        offer(outbox, Offered(number.to_bytes(16, "big"), b"x" * 300, ANALYTICS))
        outbox.journal()
        told(publishing)
    offer(outbox, Offered(b"\xff" * 16, b"y" * 300, ANALYTICS))
    outbox.journal()
    assert (outbox.delivered, outbox.waiting, outbox.losses) == (100, 1, {})
    outbox.close()


def test_the_same_fact_offered_again_is_one_fact_and_its_bytes_count_once(tmp_path: Path) -> None:
    """Regression: an id that was there already was offered, but neither kept nor lost, and its bytes were counted."""
    outbox = open_outbox(tmp_path, 3)
    journal = outbox._journal
    assert journal is not None
    size = journal.bytes
    for number in (1, 2, 2, 3, 3):
        offer(outbox, offered(number))
    outbox.journal()
    assert (outbox.offered, outbox.waiting, outbox.losses) == (4, 4, {})
    assert journal.bytes == size + len(offered(3).body)
    told(publisher(outbox, Taking()))
    assert (journal.bytes, outbox.waiting, outbox.delivered) == (0, 0, 4)
    outbox.close()


def test_an_answer_that_cannot_be_written_down_is_waited_out_and_counts_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Regression: on a full disk the same batch went out again and again without a pause."""
    outbox, transport = open_outbox(tmp_path, 3), Taking()
    publishing = publisher(outbox, transport)
    assert outbox._journal is not None
    settle = outbox._journal.settle

    def full(*_: Any) -> Any:
        raise sqlite3.OperationalError("database or disk is full")

    with monkeypatch.context() as broken:
        broken.setattr(outbox._journal, "settle", full)
        broken.setattr(backoff, "jitter", lambda failures: 3600.0 * failures)
        publishing.publish()
        with pytest.raises(sqlite3.OperationalError):
            publishing.settle()
        publishing.publish()
        assert (transport.batches, outbox.delivered, outbox.waiting, outbox._taken) == ([3], 0, 3, {})
    publishing._retry_at = 0.0
    outbox._journal.settle = settle  # type: ignore[method-assign]
    told(publishing)
    assert (transport.batches, outbox.delivered, balance(outbox)) == ([3, 3], 3, 3)
    outbox.close()


def test_what_is_told_faster_than_a_disk_that_hangs_can_take_is_bounded_and_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox_module, "FRESH_ROWS", 5)
    outbox = open_outbox(tmp_path)
    taken = [offer(outbox, offered(number)) for number in range(8)]
    assert taken == [True] * 5 + [False] * 3
    outbox.journal()
    assert (outbox.losses, outbox.waiting, balance(outbox), outbox.offered) == ({"overrun": 3}, 5, 8, 8)
    outbox.close()


# What is told of ordinals.


class Hearing(Taking):
    """As above; remembers what was said of ordinals, and may fail to answer."""

    def __init__(self, *answers: str) -> None:
        super().__init__()
        self.answers = list(answers)
        self.tallies: list[list[Tally]] = []

    def publish(self, bodies: Sequence[bytes], tallies: Sequence[Tally], done: Done) -> None:
        self.tallies.append(list(tallies))
        answer = self.answers.pop(0) if self.answers else "taken"
        if answer == "down":
            done(None, "UNAVAILABLE: no hub", 0)
        elif answer == "unreadable":
            done(None, "INVALID_ARGUMENT: tallies: ...", UNDELIVERABLE)
        else:
            super().publish(bodies, tallies, done)


def test_what_is_lost_is_told_until_the_hub_has_it_and_before_the_next_facts(tmp_path: Path) -> None:
    outbox, transport = Outbox(tmp_path, "app", 3, 10**9), Hearing("down", "down")
    outbox.open()
    for number in range(5):
        offer(outbox, offered(number))
        outbox.journal()
    told(publisher(outbox, transport))
    said = [[(tally.carried, tally.lost) for tally in tallies] for tallies in transport.tallies]
    assert said == [[((), ((1, 2, "outbox_full"),))]] * 3 + [[(((3, 5),), ())]]
    assert not outbox.untold
    outbox.close()


def test_what_is_lost_while_the_hub_is_being_told_of_earlier_losses_is_told_too(tmp_path: Path) -> None:
    """Regression: the run that was being told became longer, and all of it was taken for told."""
    outbox, transport = Outbox(tmp_path, "app", 3, 10**9), Silent()
    outbox.open()
    for number in range(5):
        offer(outbox, offered(number))
        outbox.journal()
    publishing = publisher(outbox, transport)
    publishing.publish()
    for number in range(5, 7):
        offer(outbox, offered(number))
        outbox.journal()
    transport.answer()
    publishing.settle()
    statement = outbox.statement()
    assert statement is not None
    assert statement.tallies[0].lost == ((1, 4, "outbox_full"),)
    outbox.told(statement)
    assert not outbox.untold
    outbox.close()


def test_a_hub_that_cannot_read_what_is_said_of_ordinals_still_gets_the_facts(tmp_path: Path) -> None:
    outbox, transport = Outbox(tmp_path, "app", 3, 10**9), Hearing("unreadable")
    outbox.open()
    for number in range(5):
        offer(outbox, offered(number))
        outbox.journal()
    assert told(publisher(outbox, transport)) == []
    assert (outbox.delivered, outbox.dead(), outbox.untold) == (3, [], False)
    outbox.close()


def test_a_fact_that_cannot_be_delivered_is_told_as_lost(tmp_path: Path) -> None:
    outbox = open_outbox(tmp_path, 4)
    transport = Hearing()
    transport.unreadable = {offered(2).body}
    told(publisher(outbox, transport))
    lost = [tally.lost for tallies in transport.tallies for tally in tallies if tally.lost]
    assert lost == [((3, 3, "undeliverable"),)]
    outbox.close()


def test_a_fact_that_the_hub_refuses_was_heard_and_is_no_gap(tmp_path: Path) -> None:
    outbox, transport = open_outbox(tmp_path, 2), Silent()
    publishing = publisher(outbox, transport)
    publishing.publish()
    transport.answer("REJECTED")
    publishing.settle()
    assert outbox.losses == {"rejected:CODE": 2}
    assert not outbox.untold
    outbox.close()


# What a dead process left.


def killed(folder: Path, count: int, *, rows: int = 1_000_000) -> Outbox:
    """An outbox whose process is dead: its lock is free, its file as it was."""
    outbox = open_outbox(folder, count, rows)
    assert outbox._journal is not None
    assert outbox._file.lock is not None
    outbox._journal.close()
    outbox._file.lock.close()
    return outbox


def test_an_orphans_facts_keep_their_producer_and_its_end_is_told_once_they_are_delivered(tmp_path: Path) -> None:
    dead = killed(tmp_path, 3)
    outbox, transport = open_outbox(tmp_path), Hearing()
    for number in (10, 11):
        offer(outbox, offered(number))
    outbox.journal()
    assert outbox.offered == 5
    told(publisher(outbox, transport))
    assert [
        [(t.producer, t.carried, t.ended, t.handed_out, t.at_most) for t in said] for said in transport.tallies
    ] == [
        sorted([(f"{dead.name}.must", ((1, 3),), False, 0, 0), (f"{outbox.name}.must", ((1, 2),), False, 0, 0)]),
        [(f"{dead.name}.must", (), True, 3, 3 + BLOCK_LEAST)],
    ]
    assert balance(outbox) == outbox.offered == 5
    outbox.close()
    assert list(tmp_path.iterdir()) == []


def test_an_orphans_losses_are_told_by_whoever_adopts_it_and_an_end_that_was_not_told_yet_is_handed_on(
    tmp_path: Path,
) -> None:
    first = killed(tmp_path, 5, rows=3)
    second = killed(tmp_path, 0)
    assert not first.path.exists()  # type: ignore[union-attr]
    outbox, transport = open_outbox(tmp_path), Hearing()
    assert not second.path.exists()  # type: ignore[union-attr]
    told(publisher(outbox, transport))
    (lost,), (carried,), (end,) = transport.tallies
    assert (lost.lost, lost.ended) == (((1, 2, "outbox_full"),), False)
    assert carried.carried == ((3, 5),)
    assert (end.producer, end.ended, end.handed_out) == (f"{first.name}.must", True, 5)
    outbox.close()


def test_what_the_hub_refused_is_kept_for_people_also_by_whoever_adopts_it(tmp_path: Path) -> None:
    outbox, transport = open_outbox(tmp_path, 2), Silent()
    publishing = publisher(outbox, transport)
    publishing.publish()
    transport.answer("REJECTED")
    publishing.settle()
    outbox.close()
    adopter = open_outbox(tmp_path)
    assert [(id_, code) for id_, code, _ in adopter.dead()] == [(offered(n).id, "CODE") for n in range(2)]
    adopter.close()


def test_a_file_from_before_ordinals_is_adopted_and_delivered_without(tmp_path: Path) -> None:
    path = tmp_path / "app.1.00000000.outbox"
    old = sqlite3.connect(path)
    old.executescript(
        "CREATE TABLE facts (number INTEGER PRIMARY KEY, id BLOB NOT NULL UNIQUE, lane INTEGER NOT NULL,"
        " size INTEGER NOT NULL, at REAL NOT NULL, delivered REAL, body BLOB NOT NULL);"
        "CREATE TABLE dead (id BLOB PRIMARY KEY, code TEXT NOT NULL, reason TEXT NOT NULL, body BLOB NOT NULL);"
    )
    old.execute("INSERT INTO facts VALUES (1, ?, 0, 6, 1.0, NULL, ?)", (offered(1).id, offered(1).body))
    old.execute("INSERT INTO facts VALUES (2, ?, 0, 6, 1.0, 2.0, ?)", (offered(2).id, offered(2).body))
    old.commit()
    old.close()
    outbox, transport = open_outbox(tmp_path), Hearing()
    told(publisher(outbox, transport))
    assert (transport.taken, transport.tallies, outbox.delivered) == ([offered(1).body], [[]], 1)
    outbox.close()
    assert list(tmp_path.iterdir()) == []


def test_an_orphan_that_is_removed_while_it_is_looked_at_is_not_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Regression: whoever came second to an orphan made an empty `.outbox` file in its place, and left it behind."""
    dead = killed(tmp_path, 3)
    assert dead.path is not None
    lock = adoption.FileLock

    def too_late(path: Path) -> FileLock:
        for name in list(tmp_path.glob(f"{dead.name}.*")):
            name.unlink()  # somebody else adopted it between the listing and the lock
        return lock(path)

    monkeypatch.setattr(adoption, "FileLock", too_late)
    outbox = open_outbox(tmp_path)
    assert (outbox.trouble, outbox.offered) == ("", 0)
    assert sorted(path.suffix for path in tmp_path.iterdir() if not path.name.startswith(outbox.name)) == []
    outbox.close()


def test_an_empty_file_that_an_earlier_version_left_behind_is_cleaned_up(tmp_path: Path) -> None:
    (tmp_path / "app.1.00000000.outbox").touch()
    (tmp_path / "app.1.00000000.lock").touch()
    outbox = open_outbox(tmp_path)
    assert outbox.trouble == ""
    outbox.close()
    assert list(tmp_path.iterdir()) == []


def test_a_lock_whose_file_was_removed_before_it_was_taken_is_no_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Regression: two processes could each hold "the" lock, one of them of a file that was gone."""
    path, flock = tmp_path / "x.lock", fcntl.flock

    def removed_first(descriptor: int, operation: int) -> None:
        path.unlink()
        flock(descriptor, operation)

    with monkeypatch.context() as racing:
        racing.setattr(fcntl, "flock", removed_first)
        with pytest.raises(OSError):
            FileLock(path)
    first = FileLock(path)
    with pytest.raises(OSError):
        FileLock(path)
    first.remove()
    assert not path.exists()
