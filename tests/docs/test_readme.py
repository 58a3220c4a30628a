"""The README's first page, typed exactly: a hub in one terminal, three events, ten lines of Python in another."""

from __future__ import annotations

import json
import re
import signal
import subprocess
from pathlib import Path

from .blocks import ROOT, blocks, environment, run


def exports(line: str) -> tuple[str, str] | None:
    match = re.match(r"export (\w+)=(\S+)", line)
    return (match.group(1), match.group(2)) if match else None


def test_the_first_page_works_as_written(tmp_path: Path) -> None:
    found = blocks(ROOT / "README.md")
    dev = next(text for _, text in found if text.startswith("segue-hub dev"))
    events = next(text for _, text in found if text.startswith("segue-hub events"))
    curl = next(text for _, text in found if text.startswith("curl"))
    python = next(text for language, text in found if language == "python")
    # The only liberty: free ports, since tests run side by side.
    command = [*dev.split(), "--port", "0", "--http-port", "0"]
    hub = subprocess.Popen(command, cwd=ROOT, env=environment(), stdout=subprocess.PIPE, text=True)
    try:
        assert hub.stdout is not None
        env = environment(SEGUE_STATE=str(tmp_path), SEGUE_STRICT="0")
        for line in hub.stdout:
            name = exports(line)
            if name is not None:
                env[name[0]] = name[1]
            if "Ctrl-C" in line:
                side_port = re.search(r"http://\S+", line)
                break
        assert {"SEGUE_HUB", "SEGUE_KEY", "SEGUE_ADMIN_KEY"} <= env.keys()
        assert run("bash", events, tmp_path, env).count("accepted") == 3
        printed = run("python", python, tmp_path, env)
        assert printed.startswith("priority_agent chat.route = 'priority_agent' (RULE)")
        assert "send money to another account" in printed
        assert side_port is not None
        asked = json.loads(run("bash", curl.replace("http://127.0.0.1:7172", side_port.group()), tmp_path, env))
        assert (asked["value"], asked["reason"], asked["id"]) == ("priority_agent", "RULE", None), "SDK and hub agree"
        assert "A-1009" in run("bash", "segue-hub customer show account=A-1009", tmp_path, env)
        assert "priority_agent" in run("bash", "segue-hub decision explain account=A-1009", tmp_path, env)
    finally:
        hub.send_signal(signal.SIGINT)
        hub.wait(20)
        if hub.stdout is not None:
            hub.stdout.close()


def test_it_names_the_two_commands_that_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert "\ndemo:" in makefile
    assert "\ntest:" in makefile
    assert "make demo" in (ROOT / "README.md").read_text(encoding="utf-8")
