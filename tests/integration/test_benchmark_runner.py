"""`make bench` itself, with small benchmarks of its tests: verdicts, failures, limits, JSON, exit codes, the page."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks import page, runner, saved, shown
from tests.waiting import eventually

ROOT = Path(__file__).resolve().parents[2]
GOOD = """
from benchmarks import progress
from benchmarks.measure import Line, Report, Series
def run(*, quick=False):
    progress.step("round 1 of 1: ours")
    print("what a benchmark prints is not in the way")
    report = Report("{id}", "a title", "a setup")
    ours, theirs = Series([4.0, 6.0, 5.0]), Series([10.0, 10.0, 10.0])
    ratio = Series([0.4, 0.6, 0.5])
    report.lines.append(Line("{id}", "things/s", ours, theirs, "A | peer", ratio, {needed}, target="{needed}x"))
    report.lines.append(Line("{id}", "for information", Series([1.0 if quick else 2.0])))
    report.skipped.extend({skipped})
    report.canary = Series([10.0, 12.0])
    return report
"""
FAILS = "def run():\n    raise RuntimeError('5 facts were acknowledged, 4 are stored')\n"
DIES = "import os\ndef run():\n    os._exit(3)\n"
HANGS = """
import subprocess, sys, time
from benchmarks import progress
def run():
    left = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    open(__file__ + ".pid", "w").write(str(left.pid))
    progress.step("round 1 of 9")
    time.sleep(600)
"""


def _good(name: str, needed: float, skipped: tuple[str, ...] = ()) -> str:
    return GOOD.format(id=name.upper(), needed=needed, skipped=list(skipped))


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Puts benchmarks into a package of their own that processes find as well."""
    name = f"fakes_{tmp_path.name.replace('-', '_')}"
    folder = tmp_path / name
    folder.mkdir()
    modules = {
        "__init__": "", "p10": _good("p10", 0.4), "p2": FAILS, "p1": _good("p1", 0.6), "measure": "",
        "reserve": _good("reserve", 0.5, ("redis: not installed",)), "p3": DIES, "p4": HANGS,
    }  # fmt: skip
    for module, text in modules.items():
        (folder / f"{module}.py").write_text(text, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    path = os.pathsep.join([str(tmp_path), str(ROOT), os.environ.get("PYTHONPATH", "")])
    monkeypatch.setenv("PYTHONPATH", path)
    return name


def _run(package: str, *which: str, limit: float = 60.0) -> tuple[dict[str, Any], list[tuple[str, str]]]:
    steps: list[tuple[str, str]] = []
    done: list[dict[str, Any]] = []
    wish = runner.Wish(quick=True, limit=limit)
    document = runner.run(which, wish, lambda name, step, _: steps.append((name, step)), done.append, package)
    assert done == document["reports"]
    return document, steps


def _gone(process: int) -> bool:
    state = Path(f"/proc/{process}/stat")
    return not state.exists() or state.read_text().rpartition(")")[2].split()[0] == "Z"


def test_benchmarks_are_found_in_the_order_of_their_numbers(package: str) -> None:
    assert runner.names(package) == ["p1", "p2", "p3", "p4", "p10", "reserve"]


def test_one_that_fails_or_dies_ends_no_other(package: str) -> None:
    document, steps = _run(package, "p1", "p2", "p3", "p10")
    failed = {report["name"]: report["failed"] for report in document["reports"]}
    assert failed == {
        "p1": "", "p2": "RuntimeError: 5 facts were acknowledged, 4 are stored",
        "p3": "its process ended with 3 and without a report", "p10": "",
    }  # fmt: skip
    assert ("p1", "round 1 of 1: ours") in steps
    assert runner.verdicts(document) == {"PASS": 1, "SHORT": 1, "FAILED": 2, "SKIPPED": 0}
    assert runner.exit_code(document, strict=False) == 1
    rows = {(row[0], row[-1]) for row in shown.summary_rows(document["reports"])}
    assert rows == {("P1", "SHORT"), ("P2", "FAILED"), ("P3", "FAILED"), ("P10", "PASS")}
    assert json.loads(json.dumps(document)) == document


def test_short_and_not_compared_count_only_where_strict(package: str) -> None:
    passed, _ = _run(package, "p10")
    short, _ = _run(package, "p1")
    alone, _ = _run(package, "reserve")
    assert [runner.exit_code(passed, strict=strict) for strict in (False, True)] == [0, 0]
    assert [runner.exit_code(short, strict=strict) for strict in (False, True)] == [0, 1]
    assert [runner.exit_code(alone, strict=strict) for strict in (False, True)] == [0, 1]
    text = shown.summary(alone, runner.verdicts(alone))
    assert "redis: not installed" in text
    assert "1 PASS, 1 SKIPPED" in text
    assert "0.50x (0.40 to 0.60)" in text


def test_one_that_does_not_end_fails_at_its_limit_and_leaves_nothing_behind(
    package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "_TO_END", 600.0)  # it ends when it is asked to, also where that is ignored around it
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        document, _ = _run(package, "p4", "p10", limit=3.0)
    finally:
        signal.signal(signal.SIGINT, before)
    assert [report["failed"] for report in document["reports"]] == [
        "no end within 3 s; the last step was: round 1 of 9", ""
    ]  # fmt: skip
    assert _gone(int((tmp_path / package / "p4.py.pid").read_text()))


def test_the_page_has_each_benchmarks_latest_table_and_the_prose_around_stays(package: str, tmp_path: Path) -> None:
    first, _ = _run(package, "p1", "p2", "reserve")
    second, _ = _run(package, "p2", "p10")
    second["reports"][0].update(failed="", skipped=["mended"])
    for name, document in (("first.json", first), ("second.json", second)):
        (tmp_path / name).write_text(json.dumps(document), encoding="utf-8")
    target = tmp_path / "figures.md"
    target.write_text(f"# Before\n\n{page.BEGINS}\nold\n{page.ENDS}\n\nafter\n", encoding="utf-8")
    assert page.write([tmp_path / "first.json", tmp_path / "second.json"], target) == 8
    text = target.read_text(encoding="utf-8")
    assert text.startswith(f"# Before\n\n{page.BEGINS}\nMeasured on 20")
    assert text.endswith(f"{page.ENDS}\n\nafter\n")
    assert "old" not in text
    assert "FAILED" not in text
    assert "| P1 | things/s | 0.6x | 0.50x (0.40 to 0.60) | 5 | A \\| peer 10 | short |" in text
    assert "| P10 | things/s | 0.4x | 0.50x (0.40 to 0.60) | 5 | A \\| peer 10 | met |" in text
    assert "| P2 | mended |  |  |  |  | not compared |" in text
    assert text.index("| P1 |") < text.index("| P2 |") < text.index("| P10 |") < text.index("| RESERVE |")
    again = text
    page.write([tmp_path / "first.json", tmp_path / "second.json"], target)
    assert target.read_text(encoding="utf-8") == again


def test_a_benchmark_that_failed_is_not_put_into_the_page(package: str, tmp_path: Path) -> None:
    document, _ = _run(package, "p1", "p2", "p3")
    (tmp_path / "run.json").write_text(json.dumps(document), encoding="utf-8")
    target = tmp_path / "figures.md"
    text = f"{page.BEGINS}\nold\n{page.ENDS}\n"
    target.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=r"p2 \(RuntimeError: 5 facts .*\), p3 .* give that file as the last"):
        page.write([tmp_path / "run.json"], target)
    assert target.read_text(encoding="utf-8") == text


def test_a_run_is_kept_after_each_benchmark(package: str, tmp_path: Path) -> None:
    path, seen = tmp_path / "new" / "run.json", list[list[str]]()
    keeps = saved.Saved(path)
    wish = runner.Wish(quick=True, limit=60.0)

    def done(_: dict[str, Any]) -> None:
        seen.append([report["name"] for report in json.loads(path.read_text(encoding="utf-8"))["reports"]])

    document = runner.run(["p1", "p2", "p10"], wish, lambda *_: None, done, package, keeps)
    assert seen == [["p1"], ["p1", "p2"], ["p1", "p2", "p10"]]
    kept = json.loads(path.read_text(encoding="utf-8"))
    assert kept == document
    assert kept["seconds"] == pytest.approx(sum(report["seconds"] for report in kept["reports"]), abs=0.2)
    assert [entry.name for entry in path.parent.iterdir()] == ["run.json"]


ENDED = """
import sys
from pathlib import Path
from benchmarks import runner, saved
if __name__ == "__main__":
    with runner.interruptible():
        wish, keeps = runner.Wish(quick=True, limit=60.0), saved.Saved(Path(sys.argv[2]))
        runner.run(["p10", "p4", "p1"], wish, lambda *_: None, lambda _: None, sys.argv[1], keeps)
"""


def test_a_run_that_is_ended_keeps_what_it_has_and_leaves_nothing_behind(package: str, tmp_path: Path) -> None:
    path, left = tmp_path / "run.json", tmp_path / package / "p4.py.pid"
    with subprocess.Popen([sys.executable, "-c", ENDED, package, str(path)], cwd=ROOT) as process:
        try:
            eventually(lambda: left.exists() and left.read_text(), timeout=30)
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 0
        finally:
            process.kill()
    kept = json.loads(path.read_text(encoding="utf-8"))
    assert [(report["name"], report["failed"]) for report in kept["reports"]] == [("p10", ""), ("p4", "interrupted")]
    assert _gone(int(left.read_text()))


def test_a_full_disk_ends_no_run_and_the_run_before_stays(
    package: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "run.json"
    path.write_text("before", encoding="utf-8")
    (tmp_path / "run.json.part").symlink_to("/dev/full")
    keeps = saved.Saved(path)
    keeps({"reports": []})
    assert "the run is not kept (No space left on device)" in keeps.failed
    assert path.read_text(encoding="utf-8") == "before"
    keeps({"reports": []})  # there is space again
    assert (keeps.failed, json.loads(path.read_text(encoding="utf-8"))) == ("", {"reports": []})
    nowhere = saved.Saved(path / "run.json")
    document = runner.run(
        ["p1", "p10"], runner.Wish(quick=True, limit=60.0), lambda *_: None, lambda _: None, package, nowhere
    )
    assert [report["failed"] for report in document["reports"]] == ["", ""]
    assert nowhere.failed
    told = capsys.readouterr().err
    assert told.count("the run is not kept") == 2, "once for each file, not after each benchmark"


@pytest.mark.parametrize("text", ["", page.BEGINS, f"{page.ENDS}\n{page.BEGINS}\n"], ids=["none", "one", "swapped"])
def test_a_page_without_its_markers_is_left_alone(package: str, tmp_path: Path, text: str) -> None:
    document, _ = _run(package, "p10")
    (tmp_path / "run.json").write_text(json.dumps(document), encoding="utf-8")
    target = tmp_path / "figures.md"
    target.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match="put both where it belongs"):
        page.write([tmp_path / "run.json"], target)
    assert target.read_text(encoding="utf-8") == text


@pytest.mark.parametrize("content", ["", "{}", '{"reports": [{}]}'])
def test_a_file_that_is_no_run_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "run.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(ValueError, match=r"run\.json: no run that --save wrote"):
        page.write([path])


def test_the_command_knows_its_benchmarks() -> None:
    listed = subprocess.run([sys.executable, "-m", "benchmarks", "--list"], cwd=ROOT, capture_output=True, text=True)
    assert (listed.returncode, listed.stdout.split()) == (0, runner.names())
    wrong = subprocess.run([sys.executable, "-m", "benchmarks", "p99"], cwd=ROOT, capture_output=True, text=True)
    assert wrong.returncode == 2
    assert "p99: no such benchmark; there are p1, " in wrong.stderr


def test_the_docs_have_the_place_of_the_table() -> None:
    text = page.PAGE.read_text(encoding="utf-8")
    assert text.count(page.BEGINS) == text.count(page.ENDS) == 1
    assert text.index(page.BEGINS) < text.index(page.ENDS)


def test_the_docs_table_has_no_benchmark_that_failed() -> None:
    text = page.PAGE.read_text(encoding="utf-8")
    rows = text.partition(page.BEGINS)[2].partition(page.ENDS)[0].splitlines()
    assert [row for row in rows if "FAILED" in row] == []
