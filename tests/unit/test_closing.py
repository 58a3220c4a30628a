"""Closing while hosts go on telling: every fact is kept, delivered or reported lost, whoever came first."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import segue
from segue import runtime as runtime_module
from segue.outbox import Outbox

from tests.waiting import eventually


def on_disk(folder: Path) -> list[tuple[bytes, int]]:
    """(id, ordinal) of every fact that waits in an outbox."""
    rows: list[tuple[bytes, int]] = []
    for path in folder.glob("*.outbox"):
        other = sqlite3.connect(path)
        rows += other.execute("SELECT id, ordinal FROM facts WHERE delivered IS NULL").fetchall()
        other.close()
    return rows


def balance(outbox: Outbox) -> int:
    return outbox.waiting + outbox.unjournalled + outbox.delivered + sum(outbox.losses.values())


def test_a_fact_that_was_on_its_way_when_the_touchpoint_closed_is_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Regression: it passed the look whether all is closed, and was then put where nobody would look any more."""
    app = segue.Touchpoint("app", hub="", state=tmp_path)
    session = app.session(account="C-1")
    session.track("in.time", durable=True)
    outbox = app.runtime().outbox
    inside, closed = threading.Event(), threading.Event()
    tell: Callable[..., bool] = outbox.tell

    def slowly(*told: object) -> bool:
        inside.set()
        assert closed.wait(10)
        return tell(*told)

    monkeypatch.setattr(outbox, "tell", slowly)
    host = threading.Thread(target=lambda: session.track("on.its.way"))
    host.start()
    assert inside.wait(5)
    app.close()
    closed.set()
    host.join(10)
    assert (outbox.offered, outbox.losses, outbox.waiting, outbox.unjournalled) == (2, {"closed": 1}, 1, 0)
    assert len(on_disk(tmp_path)) == 1


@pytest.mark.parametrize("round_", range(12))
def test_hosts_that_tell_while_the_touchpoint_closes_lose_nothing_uncounted(tmp_path: Path, round_: int) -> None:
    app = segue.Touchpoint("app", hub="", state=tmp_path)
    question = app.decision("q", record="always")(lambda c: "a")
    sessions = [app.session(account=f"C-{number}") for number in range(4)]
    outbox = app.runtime().outbox
    told, stop = [0] * 4, threading.Event()

    def host(number: int) -> None:
        while not stop.is_set():
            sessions[number].track("x")
            sessions[number].decide(question)
            told[number] += 2

    hosts = [threading.Thread(target=host, args=(number,)) for number in range(4)]
    for thread in hosts:
        thread.start()
    eventually(lambda: sum(told) > 50 * round_)
    app.close()
    eventually(lambda: outbox.losses.get("closed", 0) > 0)
    stop.set()
    for thread in hosts:
        thread.join(10)
    # Hosts that never pause leave the writer little: closing ends after its deadline, and the rest is written then.
    eventually(lambda: outbox.unjournalled == 0, timeout=60)
    rows = on_disk(tmp_path)
    assert outbox.offered == sum(told) == balance(outbox)
    assert len(rows) == outbox.waiting == sum(told) - outbox.losses["closed"]
    assert len({id_ for id_, _ in rows}) == len(rows)


def test_hosts_on_many_threads_get_each_ordinal_once_in_the_order_of_the_journal(tmp_path: Path) -> None:
    app = segue.Touchpoint("app", hub="", state=tmp_path)
    sessions = [app.session(account=f"C-{number}") for number in range(4)]

    def host(number: int) -> None:
        for _ in range(500):
            sessions[number].track("x")

    hosts = [threading.Thread(target=host, args=(number,)) for number in range(4)]
    for thread in hosts:
        thread.start()
    for thread in hosts:
        thread.join(20)
    app.close()
    other = sqlite3.connect(next(tmp_path.glob("*.outbox")))
    ordinals = [ordinal for (ordinal,) in other.execute("SELECT ordinal FROM facts ORDER BY number")]
    other.close()
    assert ordinals == list(range(1, 2001))


def test_closing_does_not_wait_for_a_disk_that_hangs_and_what_was_told_is_kept_when_it_comes_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(runtime_module, "LAST_WORK", 0.05)
    app = segue.Touchpoint("app", hub="", state=tmp_path)
    session = app.session(account="C-9")
    assert session.track("before", durable=True)
    outbox = app.runtime().outbox
    insert, inside, back = outbox._insert, threading.Event(), threading.Event()

    def hangs(batch: Any) -> None:
        inside.set()
        back.wait(20)
        insert(batch)

    monkeypatch.setattr(outbox, "_insert", hangs)
    session.track("while.it.hangs")
    assert inside.wait(5)
    assert not session.track("behind.it", durable=True), "it says that it is not on disk"
    app.close()
    assert "2 facts may never have come to its disk" in caplog.text
    session.track("too.late")
    assert (outbox.offered, outbox.waiting, outbox.unjournalled, outbox.losses) == (4, 1, 2, {"closed": 1})
    back.set()
    eventually(lambda: len(on_disk(tmp_path)) == 3)
    eventually(lambda: balance(outbox) == outbox.offered == 4)


def test_closing_twice_closes_once(tmp_path: Path) -> None:
    app = segue.Touchpoint("app", hub="", state=tmp_path)
    runtime = app.runtime()
    with app.session(account="C-10") as session:
        session.track("x")
    runtime.close()
    runtime.close()
    runtime.outbox.close()
    assert len(on_disk(tmp_path)) == 1
    assert (runtime.outbox.waiting, balance(runtime.outbox)) == (1, 1)
