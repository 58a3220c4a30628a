"""The moments in which a fact is neither offered nor on disk: flushing must not mistake them for done."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
import segue

from tests.waiting import eventually


def test_a_fact_that_is_being_written_to_disk_is_not_delivered_yet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = segue.Touchpoint("app", hub="", state=tmp_path)
    runtime = app.runtime()
    eventually(lambda: runtime.outbox.path)
    inside, go_on = threading.Event(), threading.Event()
    insert = runtime.outbox._insert

    def slow(batch: Any) -> None:
        inside.set()
        go_on.wait(10)
        insert(batch)

    monkeypatch.setattr(runtime.outbox, "_insert", slow)
    with app.session(account="A-1") as session:
        session.track("transfer.failed")
        assert inside.wait(5)
        assert not app.flush(0.02)
        go_on.set()
        eventually(lambda: app.status()["waiting"] == 1)
        assert not app.flush(0.02)
    app.close()
