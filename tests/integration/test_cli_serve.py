"""Hubs run by command: serve, dev and store check, in processes of their own."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

from tests.commanding import Command
from tests.joining import EXAMPLE
from tests.serving import Serving, environment
from tests.waiting import eventually


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "segue_hub", *arguments], capture_output=True, text=True, timeout=30, env=environment(),
        check=False,
    )  # fmt: skip


def test_a_hub_serves_until_it_is_told_to_stop_and_its_store_is_checked_after(tmp_path: Path) -> None:
    hub = Serving(tmp_path)
    hub.start()
    try:
        assert stat.S_IMODE(hub.admin_key_path.stat().st_mode) == 0o600
        command = Command(hub.address, hub.admin_key)
        command.ok("plan", "push", EXAMPLE)
        key = command.json("touchpoint", "add", "app")["key"]
        Command(hub.address, key=key).ok("events", "send", "transfer.failed", "account=A-1", "-p", "transfer_id=T")
        error = command.fails(1, "store", "check", hub.store)
        assert "in use by another process" in error
        second = run("serve", "--store", str(hub.store), "--insecure", "--port", "0", "--http-port", "0")
        assert second.returncode == 1
        assert "in use by another process" in second.stderr
        assert "Traceback" not in second.stderr
    finally:
        assert hub.stop() == 0
    assert command.ok("store", "check", hub.store).startswith("sound: 1 facts, 1 customers")
    checked = command.json("store", "check", hub.store)
    assert (checked["ok"], checked["faults"], checked["facts"]) == (True, [], 1)
    key_before = hub.admin_key
    hub.start()
    try:
        assert hub.admin_key == key_before
        assert Command(hub.address, key_before).json("customer", "show", "account=A-1")["facts"] == 1
    finally:
        hub.stop()


def test_faults_of_a_store_exit_with_1(tmp_path: Path) -> None:
    from segue_hub.storage.sqlite import SqliteStore

    from tests.conformance.test_storage import add, filled

    store = SqliteStore(tmp_path / "segue.db")
    filled(store)
    with store.unit() as unit:
        add(unit, 9)
    store.close()
    assert "holes" in Command().fails(1, "store", "check", tmp_path / "segue.db")
    result = Command()("store", "check", tmp_path / "segue.db", "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["ok"] is False
    (tmp_path / "text.db").write_text("no store " * 1000)
    assert "cannot be opened as a store" in Command().fails(1, "store", "check", tmp_path / "text.db")
    assert "does not exist" in Command().fails(2, "store", "check", tmp_path / "absent.db")


def test_a_hub_without_tls_has_to_be_asked_for_and_listens_on_loopback_only(tmp_path: Path) -> None:
    store = str(tmp_path / "segue.db")
    for arguments, cure in (
        ((), "--insecure"),
        (("--insecure", "--host", "0.0.0.0"), "loopback only"),
        (("--certificate", "/nowhere.pem"), "--private-key"),
        (("--certificate", "/nowhere.pem", "--private-key", "/nowhere.key"), "/nowhere.pem is no file"),
    ):
        done = run("serve", "--store", store, "--port", "0", "--http-port", "0", *arguments)
        assert done.returncode == 2, done
        assert cure in done.stderr
        assert "Traceback" not in done.stderr


def test_a_port_that_is_taken_is_said_to_be(tmp_path: Path) -> None:
    hub = Serving(tmp_path)
    hub.start()
    try:
        other = str(tmp_path / "other.db")
        done = run("serve", "--store", other, "--insecure", "--port", str(hub.port), "--http-port", "0")
        assert done.returncode == 1, done
        assert f"{hub.port}" in done.stderr.splitlines()[-1]
        assert "Traceback" not in done.stderr
    finally:
        hub.stop()


def test_a_hub_to_try_things_with_prints_what_a_touchpoint_needs_and_takes_saved_plans(tmp_path: Path) -> None:
    import shutil

    folder = Path(shutil.copytree(EXAMPLE, tmp_path / "plan"))
    out = tmp_path / "out.txt"
    with out.open("wb") as stdout:
        process = subprocess.Popen(
            [sys.executable, "-m", "segue_hub", "dev", "--plan", str(folder), "--port", "0", "--http-port", "0"],
            stdout=stdout, stderr=subprocess.STDOUT, env=environment(PYTHONUNBUFFERED="1"),
        )  # fmt: skip
    try:
        eventually(lambda: "Ctrl-C ends it" in out.read_text(), 20)
        exported = dict(
            line.removeprefix("export ").split("=", 1)
            for line in out.read_text().splitlines()
            if line.startswith("export ")
        )
        assert set(exported) == {"SEGUE_HUB", "SEGUE_KEY", "SEGUE_ADMIN_KEY"}
        command = Command(exported["SEGUE_HUB"], exported["SEGUE_ADMIN_KEY"])
        before = command.json("status")["plan"]["digest"]
        path = folder / "maps" / "support.yaml"
        text = path.read_text().replace('after: "2d"', 'after: "5d"')

        def saved() -> bool:
            path.write_text(text)  # again and again: when the watcher begins is not told
            return bool(command.json("status")["plan"]["digest"] != before)

        eventually(saved, 20)
    finally:
        process.send_signal(signal.SIGINT)
        code = process.wait(15)
    assert code == 0, out.read_text()
    assert not any(Path(os.environ.get("TMPDIR", "/tmp")).glob(f"segue-dev-{process.pid}*"))
