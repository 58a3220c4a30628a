"""The fenced blocks of a page, and running them one after the other in one folder."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_BLOCK = re.compile(r"^```(bash|python)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def blocks(page: Path) -> list[tuple[str, str]]:
    """(language, text) of every block, in order."""
    return [(match.group(1), match.group(2)) for match in _BLOCK.finditer(page.read_text(encoding="utf-8"))]


def environment(**more: str) -> dict[str, str]:
    """A reader's environment: the virtual environment on the path."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "EXAMPLES": str(ROOT / "examples"), **more}


def run(language: str, text: str, folder: Path, env: Mapping[str, str]) -> str:
    """Runs one block; returns what it printed. Fails where it fails."""
    if language == "python" and "def test_" in text:
        (folder / "test_block.py").write_text(text, encoding="utf-8")
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_block.py"]
    elif language == "python":
        command = [sys.executable, "-c", text]
    else:
        command = ["bash", "-euo", "pipefail", "-c", text]
    done = subprocess.run(command, cwd=folder, env=dict(env), capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, f"{text}\n--- printed:\n{done.stdout}\n{done.stderr}"
    return done.stdout
