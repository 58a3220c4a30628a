"""`serve` and `dev` as processes: TLS, loopback only without it, the plan reloaded on save, a graceful end."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import segue

from tests.acceptance.example_app import free_port
from tests.waiting import eventually

ROOT = Path(__file__).resolve().parents[2]


@contextmanager
def hub_process(*arguments: str, cwd: Path) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "segue_hub", *arguments], cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=20)


def test_a_touchpoint_talks_tls_to_a_hub_and_does_not_trust_another_authority(tmp_path: Path) -> None:
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("no openssl here to make a certificate with")
    subprocess.run(
        [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
         "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", "hub.key", "-out", "hub.pem"],
        cwd=tmp_path, check=True, capture_output=True,
    )  # fmt: skip
    port = free_port()
    tls = ("--certificate", "hub.pem", "--private-key", "hub.key")
    with hub_process("serve", "--port", str(port), "--http-port", "0", *tls, cwd=tmp_path) as process:
        eventually(lambda: (tmp_path / "segue.db.admin-key").is_file() or process.poll() is not None, 30)
        admin = (tmp_path / "segue.db.admin-key").read_text(encoding="utf-8").strip()
        added = subprocess.run(
            [sys.executable, "-m", "segue_hub", "touchpoint", "add", "chat", "--hub", f"localhost:{port}", "--ca",
             "hub.pem", "--key", admin], cwd=tmp_path, capture_output=True, text=True, check=False,
        )  # fmt: skip
        key = re.search(r"SEGUE_KEY=(\S+)", added.stdout)
        assert key, added.stderr
        chat = segue.Touchpoint(
            "chat", hub=f"localhost:{port}", key=key.group(1), ca=str(tmp_path / "hub.pem"), state=tmp_path / "a"
        )
        assert chat.wait_ready(10), chat.status()
        chat.close()
        plain = segue.Touchpoint("chat", hub=f"localhost:{port}", key=key.group(1), state=tmp_path / "b")
        assert not plain.wait_ready(1)
        plain.close()


@pytest.mark.parametrize(
    ("arguments", "cure"),
    [
        (("serve",), "--insecure"),
        (("serve", "--insecure", "--host", "0.0.0.0"), "loopback only"),
        (("serve", "--certificate", "a.pem"), "both --certificate and --private-key"),
    ],
)
def test_without_tls_it_listens_nowhere_but_here(arguments: tuple[str, ...], cure: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "segue_hub", *arguments], cwd=tmp_path, capture_output=True, text=True, timeout=30,
        check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert cure in done.stderr


def test_dev_puts_a_saved_plan_in_force_and_keeps_the_last_good_one(tmp_path: Path) -> None:
    plan = tmp_path / "plan"
    shutil.copytree(ROOT / "examples" / "plan", plan)
    arguments = ("dev", "--plan", str(plan), "--port", "0", "--http-port", "0")
    with hub_process(*arguments, cwd=tmp_path) as process:
        assert process.stdout is not None
        first = _line(process, r"plan (\w+) in force")
        _line(process, "Ctrl-C")
        guardrails = plan / "guardrails.yaml"
        text = guardrails.read_text(encoding="utf-8")
        guardrails.write_text(text.replace("'trait.in_arrears'", "'trait.in_arears'"), encoding="utf-8")
        assert _line(process, r"Did you mean 'trait\.(\w+)'") == "in_arrears"
        guardrails.write_text(text.replace("limit: 1,", "limit: 3,"), encoding="utf-8")
        assert _line(process, r"plan (\w+) in force") != first


def _line(process: subprocess.Popen[str], pattern: str) -> str:
    assert process.stdout is not None
    for line in process.stdout:
        match = re.search(pattern, line)
        if match:
            return match.group(1) if match.groups() else line
    raise AssertionError(f"the hub ended before it said {pattern!r}")
