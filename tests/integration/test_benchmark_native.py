"""The measurement behind ADR 0017: the worker does the same work each time, and says which core it runs."""

from __future__ import annotations

from segue_hub.checking.plan_check import check_plan, read_directory

from benchmarks import native
from benchmarks.hub import PLAN
from benchmarks.workers import Worker


def test_two_processes_make_the_same_contexts_and_say_that_their_core_is_interpreted() -> None:
    document, digests = check_plan(read_directory(PLAN)).document, []
    for each in (5, 5, 6):
        with Worker("folding", path=native.CORE.parent) as worker:
            assert worker.ask("open", document=document, customers=3, each=each) == {"core": "interpreted"}
            digests.append(worker.ask("digest"))
            assert set(worker.ask("measure")) == set(native.FIGURES)
    assert digests[0] == digests[1] != digests[2]


def test_every_module_that_is_compiled_is_one_of_the_core() -> None:
    assert all((native.CORE / "domain" / f"{module}.py").is_file() for module in native.MODULES)
