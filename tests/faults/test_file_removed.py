"""A store whose file is removed while the hub serves it: nothing is acknowledged that would go with the process."""

from __future__ import annotations

import urllib.error
import urllib.request
from pathlib import Path

import grpc
import pytest
from segue.domain.fact import Fact

from tests.calling import Caller, calling, event, refusal
from tests.serving import Serving, free_port
from tests.waiting import eventually

FILES = ("", "-wal", "-shm")


def healthy(hub: Serving) -> bool:
    try:
        with urllib.request.urlopen(f"{hub.http}/healthz", timeout=5) as answer:
            return int(answer.status) == 200
    except urllib.error.HTTPError:
        return False


def refused_with(app: Caller, fact: Fact) -> tuple[str, str]:
    with pytest.raises(grpc.RpcError) as raised:
        app.send(fact)
    return refusal(raised.value)


def moved(store: Path, into: Path) -> None:
    into.mkdir(exist_ok=True)
    for suffix in FILES:
        store.with_name(store.name + suffix).replace(into / (store.name + suffix))


def test_what_is_acknowledged_is_there_after_a_restart_although_the_file_was_moved_meanwhile(tmp_path: Path) -> None:
    hub = Serving(tmp_path, http_port=free_port())
    hub.start()
    try:
        hub.push()
        with calling(hub.address, hub.key("app")) as app:
            kept = [event("transfer.started", "account=A-1", transfer_id=f"T-{number}") for number in range(3)]
            assert app.statuses(*kept) == ["ACCEPTED"] * 3
            moved(hub.store, tmp_path / "elsewhere")
            refused = [event("transfer.failed", "account=A-1", transfer_id=f"T-{number}") for number in range(3)]
            for fact in refused:
                assert refused_with(app, fact) == ("UNAVAILABLE", "STORE_MISSING")
            eventually(lambda: not healthy(hub))
            assert app.context("account=A-1").version > 0, "what is stored is served"
            assert not hub.status()["serving"]
            moved(tmp_path / "elsewhere" / hub.store.name, hub.store.parent)
            eventually(lambda: healthy(hub))
            assert app.statuses(*refused) == ["ACCEPTED"] * 3
        hub.kill()
        hub.start()
        with calling(hub.address, hub.key("app")) as app:
            assert app.statuses(*kept, *refused) == ["DUPLICATE"] * 6
    finally:
        hub.stop()
