"""A real log, a real hub: `segue-hub serve` on a SQLite file and the import command, as anybody runs them.

Owns the folders, the copies of a file in another order, and what a hub has to say of its facts afterwards.
"""

from __future__ import annotations

import gzip
import json
import os
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import grpc
import pytest
from segue.v1 import admin_service_pb2, admin_service_pb2_grpc

from examples.demo.process import HubProcess

ROOT = Path(__file__).parents[2]
DATA = ROOT.parent / "shared" / "data"
IMPORTS = ROOT / "examples" / "imports"
SECONDS = 300


def real(path: str) -> Path:
    """A file of the real data; the test is skipped where there is none."""
    found = DATA / path
    if not found.is_file():
        pytest.skip(f"the real data is not there: {found}")
    return found


class LogHub(HubProcess):
    """A hub with the plan of one log in force, and the key of its importer."""

    def __init__(self, folder: Path, log: str) -> None:
        super().__init__(folder)
        self.mapping = IMPORTS / log / "mapping.yaml"
        self.start()
        self.prepare()

    def prepare(self) -> None:
        """Puts the log's plan in force, and makes a key for its importer."""
        self.command("plan", "push", str(self.mapping.parent / "plan"))
        self.key = self.json("touchpoint", "add", "importer")["key"]

    def wipe(self) -> None:
        """Deletes the store of a hub that does not run."""
        for path in self.folder.glob(f"{self.store.name}*"):
            path.unlink()

    def stop(self) -> None:
        super().stop()
        self._log.close()

    def environment(self) -> dict[str, str]:
        """For commands against this hub."""
        return os.environ | {"SEGUE_HUB": self.address, "SEGUE_KEY": self.key, "SEGUE_ADMIN_KEY": self.admin_key}

    def importing(self, file: Path, *options: str) -> subprocess.Popen[str]:
        """The import command, begun."""
        command = [sys.executable, "-m", "segue_hub", "import", str(file), "--mapping", str(self.mapping), "--json"]
        return subprocess.Popen(
            [*command, *options], env=self.environment(), cwd=self.folder, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def imported(self, file: Path, *options: str) -> dict[str, Any]:
        """What the import command said at its end."""
        return ended(self.importing(file, *options))

    def report(self) -> dict[str, Any]:
        """By map, the report on journeys."""
        return dict(self.json("journeys", "report")["maps"])

    def fact_types(self) -> Counter[str]:
        """How many facts of each type the log holds."""
        metadata = [("authorization", f"Bearer {self.admin_key}")]
        counts: Counter[str] = Counter()
        with grpc.insecure_channel(self.address) as channel:
            stub = admin_service_pb2_grpc.AdminServiceStub(channel)
            last = self.json("status")["position"]
            tail = stub.TailFacts(admin_service_pb2.TailFactsRequest(after=-1), metadata=metadata)
            for response in tail:
                if response.HasField("fact"):
                    counts[response.fact.type] += 1
                if response.position >= last:
                    break
            tail.cancel()
        return counts

    def run(self, module: str, *arguments: str) -> str:
        """What a module run as a command prints."""
        done = subprocess.run(
            [sys.executable, "-m", module, *arguments], env=self.environment(), cwd=ROOT, capture_output=True,
            text=True, timeout=SECONDS, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout


def ended(process: subprocess.Popen[str]) -> dict[str, Any]:
    """What an import said, once it has come to its end."""
    out, err = process.communicate(timeout=SECONDS)
    assert process.returncode == 0, err
    return dict(json.loads(out))


def shuffled(lines: list[str], to: Path, seed: int = 498, one_in: int = 1) -> Path:
    """The same rows below the same header, in another order; only one in so many of them."""
    header, rows = lines[0], lines[1:]
    random.Random(seed).shuffle(rows)
    del rows[len(rows) // one_in :]
    with gzip.open(to, "wt", encoding="utf-8", newline="", compresslevel=1) as out:
        out.writelines([header, *rows])
    return to


def assert_adds_nothing(said: dict[str, Any], rows: int) -> None:
    """An import of so many rows that are all there already."""
    assert_every_row_is_explained(said)
    assert said["rows"] == rows
    assert said["facts"] > rows // 2
    assert said["results"] == {"DUPLICATE": said["facts"]}


def assert_every_row_is_explained(said: dict[str, Any]) -> None:
    assert said["rows"] == said["kept"] + sum(said["skipped"].values()) + said["rejected_rows"]
    assert said["rejected_rows"] == sum(said["rejected"].values())


def assert_same_figures(report: dict[str, Any], counted: dict[str, Any]) -> None:
    """Every figure that SQL counted is the report's. Times are whole seconds, so that a mean rounded to microseconds
    over fewer than a million journeys is one sum only.
    """
    for name, figures in counted.items():
        assert figures["goal_time"] % 1_000_000 == 0
        assert figures["completed"] < 1_000_000
        wanted = {figure: value for figure, value in figures.items() if figure != "goal_time"}
        assert {figure: report[name][figure] for figure in wanted} == wanted, name
