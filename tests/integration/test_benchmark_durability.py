"""The check by which a benchmark refuses a hub that acknowledges what is not on the disk, and what it must refuse."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import durability
from benchmarks.durability import NotDurable
from benchmarks.hub import HubProcess
from benchmarks.load import BATCH
from benchmarks.workers import Worker

LOG = "/data/segue.db-wal"
TRACE = f"""\
71 100.100000 pwrite64(12<{LOG}>, ""..., 4096, 32) = 4096 <0.000020>
71 100.101000 fdatasync(12<{LOG}> <unfinished ...>
70 100.102000 write(5<anon_inode:[eventfd]>, ""..., 8) = 8 <0.000008>
71 100.104000 <... fdatasync resumed>) = 0 <0.003000>
71 100.300000 pwrite64(12<{LOG}>, ""..., 4096, 4128) = 4096 <0.000020>
71 100.301000 fdatasync(12<{LOG}>) = 0 <0.002000>
+++ exited with 0 +++
"""
needs_strace = pytest.mark.skipif(bool(durability.unavailable()), reason=durability.unavailable() or "-")


def test_a_trace_is_read_also_where_threads_interrupt_each_other() -> None:
    found = durability.calls(TRACE)
    assert [(call.name, call.path, call.began) for call in found] == [
        ("pwrite64", LOG, 100.1), ("fdatasync", LOG, 100.101), ("write", "anon_inode:[eventfd]", 100.102),
        ("pwrite64", LOG, 100.3), ("fdatasync", LOG, 100.301),
    ]  # fmt: skip
    assert found[1].ended == pytest.approx(100.104)
    assert found[4].ended == pytest.approx(100.303)
    durability.judge(found, [(100.05, 100.2), (100.25, 100.31)], LOG)


@pytest.mark.parametrize(
    ("trace", "windows", "reason"),
    [
        (TRACE, [(100.05, 100.103)], "no fdatasync of segue.db-wal had come back by then"),
        (TRACE, [(100.05, 100.2), (100.25, 100.302)], "batch 2 was acknowledged"),
        (TRACE, [(100.15, 100.2)], "nothing had been written"),
        (TRACE.replace("fdatasync(12<", "fdatasync(13</other"), [(100.05, 100.2)], "no fdatasync"),
        (TRACE.replace("= 0 <", "= -5 EIO (Input/output error) <"), [(100.05, 100.2)], "no fdatasync"),
        (TRACE, [], "no batch was acknowledged"),
    ],
    ids=["before it came back", "the second", "nothing written", "of another file", "that failed", "none"],
)
def test_an_acknowledgement_before_its_fdatasync_is_refused(
    trace: str, windows: list[tuple[float, float]], reason: str
) -> None:
    with pytest.raises(NotDurable, match=reason):
        durability.judge(durability.calls(trace), windows, LOG)


@needs_strace
def test_the_hub_acknowledges_only_what_the_kernel_saw_synced(tmp_path: Path) -> None:
    with HubProcess(tmp_path) as hub, Worker("load") as load:
        load.ask("connect", address=hub.address, key=hub.key)
        load.ask("prepare", facts=durability.BATCHES * BATCH, customers=100, first=0, seed=1)
        accepted, seen = durability.require(hub.pid, durability.journal_of(hub), load)
    assert accepted == durability.BATCHES * BATCH
    assert "each acknowledged after" in seen


@needs_strace
@pytest.mark.parametrize("fault", durability.FAULTS)
def test_control_a_weakened_hub_is_refused(tmp_path: Path, fault: str) -> None:
    assert f"weakened by {fault!r} is refused" in durability.refuses(fault, tmp_path)
