"""The load of a soak, and what is done beside it: watchers come and go, plans are pushed, the store is copied.

Owns `Soak`: the hub's process, the hosts', and this one as a client that watches customers of its own and holds each of
its streams against the six watch checks. What is measured goes into a file, a line at a time.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from segue.v1 import plan_service_pb2
from segue_hub.checking.plan_check import read_directory

from tests.calling import calling, event
from tests.faults.watched import caught_up, truth_of
from tests.joining import EXAMPLE
from tests.serving import Serving, environment
from tests.streaming import Stream
from tests.watch_checks import History, bookmarked, ordered, reliable, resumable, unique

from .host import TYPES
from .pulse import pulse

ROOT = Path(__file__).resolve().parents[3]
COUNTED = ("streams", "frames", "told", "plans", "copies")
HUB = """
from segue_hub.storage.sqlite import store
opened = store.SqliteStore.__init__
def opens(self, *arguments, **more):
    opened(self, *arguments, **more)
    for connection in (self._writer, self._reader):
        connection.execute("PRAGMA cache_size = -2048")
store.SqliteStore.__init__ = opens
from segue_hub.server import context_service
from segue_hub.services import admission, resolution
admission.IDENTIFIERS_KNOWN = resolution.REMEMBERED = context_service.NAMES = 1_000
from segue_hub.cli import main
main()
"""
"""The hub with 2 MB of page cache a connection, and a thousand of the identifiers and names that it remembers: at this
load 64 MB and 200,000 take hours and weeks to fill. What else grows is seen."""
KEPT = 20
"""Histories kept until the end, when the log tells whether each context was whole."""


@dataclass
class Soak:
    """A soak.

    Args:
        folder: for everything that it writes.
        out: the file of measurements.
        visits: of each host, a second.
        customers: how many the hosts' visitors are at a time.
        every: seconds between measurements.
        rare: seconds between plans pushed, and between copies of the store.
    """

    folder: Path
    out: Path
    visits: float = 5.0
    customers: int = 100
    every: float = 10.0
    rare: float = 300.0
    histories: list[History] = field(default_factory=list)
    anomalies: list[str] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(COUNTED, 0))

    def run(self, seconds: float, seed: int) -> dict[str, dict[str, Any]]:
        """Runs for so long; returns what each host says of its facts."""
        hub = Serving(self.folder)
        hub.command = [sys.executable, "-c", HUB]
        hub.more += ["--heads", str(self.customers // 2)]  # who is not asked for is kept encoded
        hub.start()
        hosts: dict[str, subprocess.Popen[str]] = {}
        try:
            hub.push()
            for number, name in enumerate(TYPES):
                hosts[name] = self._host(hub, name, seed + number)
            self._live(hub, hosts, seconds)
            for host in hosts.values():
                host.terminate()
            answers = {name: host.communicate(timeout=90)[0] for name, host in hosts.items()}
            return {name: json.loads(answer.splitlines()[-1]) for name, answer in answers.items()}
        finally:
            for host in hosts.values():
                if host.poll() is None:
                    host.kill()
                    host.communicate()
            hub.stop()

    def _host(self, hub: Serving, name: str, seed: int) -> subprocess.Popen[str]:
        arguments = [hub.address, hub.key(name), name, str(self.folder / name), str(self.customers), str(self.visits)]
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.soak.host", *arguments, str(seed)], cwd=ROOT, env=environment(),
            stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        return process

    def _live(self, hub: Serving, hosts: dict[str, subprocess.Popen[str]], seconds: float) -> None:
        began = time.monotonic()
        ended = threading.Event()
        pids = {"hub": hub.pid} | {name: host.pid for name, host in hosts.items()}
        measuring = threading.Thread(target=self._measure, args=(pids, began, ended))
        measuring.start()
        try:
            key, due = hub.key("web"), min(self.rare, seconds / 3)
            while (now := time.monotonic() - began) < seconds:
                self._watch(hub.address, key, f"watched-{self.counts['streams'] % 10}")
                if now >= due:
                    due = now + self.rare
                    self._push(hub)
                    self._copy(hub)
        finally:
            ended.set()
            measuring.join()

    def _measure(self, pids: dict[str, int], began: float, ended: threading.Event) -> None:
        with self.out.open("a", encoding="utf-8") as out:
            while not ended.wait(self.every):
                for name, pid in pids.items():
                    found = pulse(pid, round(time.monotonic() - began, 1))
                    out.write(json.dumps({"process": name, **asdict(found)}) + "\n")
                out.write(json.dumps({"soak": self.counts, "anomalies": len(self.anomalies)}) + "\n")
                out.flush()

    def _watch(self, address: str, key: str, customer: str) -> None:
        """A stream of its own: opened, told of a few facts, held against what a cold read gives, closed."""
        with calling(address, key) as caller:
            stream = Stream(caller)
            try:
                for number in range(1, 6):
                    stream.subscribe(number, f"account={customer}-{number}")
                for place in range(20):
                    caller.send(event("help.searched", f"account={customer}-{1 + place % 5}"))
                    stream.ended.wait(0.2)  # the pace of the load, no wait for anything
                    if stream.ended.is_set():
                        self.anomalies.append(f"a stream ended: {stream.error}")
                        return
                truth = caught_up(stream, address, key)
                history = stream.history
                self.anomalies += ordered(history) + unique(history) + reliable(history, truth)
                self.anomalies += resumable(history, truth_of(caller, history.identifiers))
                if stream.heard("bookmark"):
                    self.anomalies += bookmarked(history)
                self.counts["told"] += 20
                self.counts["streams"] += 1
                self.counts["frames"] += len(history.frames())
                self.histories.append(history)
                del self.histories[:-KEPT]
            finally:
                stream.close()

    def _push(self, hub: Serving) -> None:
        """The example's plan, and one with another audience, in turn: every context is looked at again."""
        files = read_directory(EXAMPLE)
        if self.counts["plans"] % 2 == 0:
            files["audiences.yaml"] = files["audiences.yaml"].replace('"24h") >= 3', '"24h") >= 4')
        sent = [plan_service_pb2.PlanFile(path=path, content=text.encode()) for path, text in files.items()]
        with hub.admin() as admin:
            request = plan_service_pb2.PushPlanRequest(files=sent, author="soak")
            if not admin.plans.PushPlan(request, metadata=admin.metadata).HasField("version"):
                self.anomalies.append("a plan was refused")
        self.counts["plans"] += 1

    def _copy(self, hub: Serving) -> None:
        copy = self.folder / "copy.db"
        command = [sys.executable, "-m", "segue_hub", "store", "backup", str(copy), "--hub", hub.address]
        done = subprocess.run(
            command, env=environment(SEGUE_ADMIN_KEY=hub.admin_key), capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            self.anomalies.append(f"no copy was made: {done.stderr}")
        copy.unlink(missing_ok=True)
        self.counts["copies"] += 1
