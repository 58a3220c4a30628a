"""The house is as CONTRIBUTING says: small files that open with what they own, few dependencies, a still face."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import segue

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted(
    path
    for folder in ("sdk/src/segue", "hub/src/segue_hub", "examples", "benchmarks")
    for path in (ROOT / folder).rglob("*.py")
    if "v1" not in path.parts
)
FACE = {
    "Action", "AsyncSession", "AsyncTouchpoint", "Brief", "ConfigError", "Context", "Decision", "Freshness",
    "HeldBack", "Identifier", "InputError", "NameUnknown", "NotCovered", "NotGranted", "SegueError", "Session",
    "Telling",
    "Touchpoint", "Verdict", "__version__",
}  # fmt: skip


def test_the_public_face_is_what_it_was() -> None:
    assert set(segue.__all__) == FACE
    assert all(hasattr(segue, name) for name in FACE)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_is_small_and_opens_with_what_it_owns(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.count("\n") <= 400
    assert ast.get_docstring(ast.parse(text)), "the first thing in a file says what it owns"
    assert path.stem not in {"utils", "helpers", "common", "manager", "base", "misc"}


def test_public_things_say_what_they_are() -> None:
    silent = [
        f"{path.relative_to(ROOT)}:{node.lineno} {node.name}"
        for path in SOURCES
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
        and not node.name.startswith("_")
        and not ast.get_docstring(node)
        and "benchmarks" not in path.parts
        and "expression" not in path.parts  # operators and conversions are CEL's, told by their file
    ]
    assert silent == []


def test_the_sdk_has_three_dependencies_and_imports_nothing_of_the_hub() -> None:
    project = tomllib.loads((ROOT / "sdk" / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert sorted(re.split(r"[<>=]", name)[0] for name in project["dependencies"]) == ["grpcio", "protobuf", "tzdata"]
    code = (
        "import segue, sys; print([m for m in sys.modules if m.split('.')[0] in ('segue_hub','yaml','cel','aiohttp')])"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == "[]"


def test_importing_segue_and_making_a_touchpoint_load_nothing_that_only_a_connection_needs(tmp_path: Path) -> None:
    code = """
import sys, segue
segue.Touchpoint("chat", hub="127.0.0.1:1", state=sys.argv[1]).decision("chat.route", default="bot")(lambda c: None)
print(sorted({m for m in sys.modules if m.split(".")[0] in ("grpc", "google", "asyncio", "ssl", "difflib", "pytest")
              or m in ("segue.testing", "segue.aio", "segue.wire", "importlib.resources")}))
assert segue.AsyncTouchpoint.__module__ == "segue.aio" and "asyncio" in sys.modules
assert set(segue.__all__) <= set(dir(segue))
"""
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_dependency_of_the_hub_has_its_line_in_the_decision() -> None:
    told = (ROOT / "docs" / "adr" / "0009-dependencies.md").read_text(encoding="utf-8")
    project = tomllib.loads((ROOT / "hub" / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for dependency in project["dependencies"]:
        name = re.split(r"[<>=\[]", dependency)[0]
        assert name == "segue" or name in told or name.removeprefix("grpcio") in told, name


def test_the_locks_have_hashes_and_no_addresses() -> None:
    for lock in (ROOT / "requirements").glob("*.txt"):
        text = lock.read_text(encoding="utf-8")
        assert "--hash=sha256:" in text
        assert "://" not in text
