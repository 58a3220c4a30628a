"""F16: a copy taken while the hub serves; an old one put back: a new incarnation, and nothing that was kept is lost."""

from __future__ import annotations

import threading
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
from segue_hub.storage.ports import StoreBroken
from segue_hub.storage.sqlite import SqliteStore, StoreInUse, restore_store
from segue_hub.testing import run_hub

from tests.commanding import Command
from tests.joining import EXAMPLE, joined
from tests.serving import free_port
from tests.waiting import eventually


def test_a_copy_taken_under_load_is_sound_and_goes_through_one_position(tmp_path: Path) -> None:
    copy = tmp_path / "copy.db"
    with run_hub(EXAMPLE, store=tmp_path / "segue.db") as hub, joined(hub, "app", tmp_path) as app:
        done = threading.Event()

        def tell() -> None:
            with app.session(account="A-1", wait=1) as session:
                while not done.is_set():
                    for _ in range(20):
                        session.track("transfer.started", transfer_id="T")
                    app.flush()  # or this thread keeps the hub's, in the same process, from its turn

        thread = threading.Thread(target=tell)
        thread.start()
        try:
            eventually(lambda: hub.hub.store.counts()["facts"] > 50)
            told = Command.of(hub).json("store", "backup", copy)
        finally:
            done.set()
            thread.join()
        assert app.flush()
    with closing(SqliteStore(copy)) as store:
        assert list(store.check()) == []
        assert store.head()[0] == told["position"]
        assert store.counts()["facts"] > 50


def test_after_an_old_copy_is_put_back_every_touchpoint_offers_again_what_it_kept(tmp_path: Path) -> None:
    path, copy, port = tmp_path / "segue.db", tmp_path / "copy.db", free_port()
    with ExitStack() as touchpoints:
        with run_hub(EXAMPLE, store=path, port=port) as hub:
            app = touchpoints.enter_context(joined(hub, "app", tmp_path))
            session = touchpoints.enter_context(app.session(account="A-1", wait=5))
            session.track("transfer.started", transfer_id="before")
            assert app.flush()
            Command.of(hub).ok("store", "backup", copy)
            for number in range(20):
                session.track("transfer.failed", transfer_id=f"after {number}")
            assert app.flush()
            assert hub.hub.store.counts()["facts"] == 21
            before = hub.hub.store.incarnation
            with pytest.raises(StoreInUse):
                restore_store(copy, path)
        former, incarnation = restore_store(copy, path)
        assert former is not None
        assert incarnation != before
        with run_hub(store=path, port=port) as again:
            assert again.hub.store.incarnation == incarnation
            eventually(lambda: again.hub.store.counts()["facts"] == 21, timeout=30)
            assert list(again.hub.store.check()) == []
            assert eventually(lambda: session.context().count("transfer.failed") == 20)
    with closing(SqliteStore(former)) as store:
        assert store.counts()["facts"] == 21, "what was replaced is whole, beside the store"


def test_a_file_that_is_no_sound_copy_replaces_nothing(tmp_path: Path) -> None:
    path, wrong = tmp_path / "segue.db", tmp_path / "wrong.db"
    with run_hub(EXAMPLE, store=path):
        pass
    wrong.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    before = path.read_bytes()
    with pytest.raises(StoreBroken):
        restore_store(wrong, path)
    assert path.read_bytes() == before
    assert not list(tmp_path.glob("*restoring*"))
