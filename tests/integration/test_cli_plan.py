"""The life of a plan on the command line: check, compile, schema, push, list, diff, roll back."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import jsonschema
import pytest
from segue.domain.plan import Plan
from segue_hub.testing import RunningHub, run_hub

from tests.commanding import Command
from tests.joining import EXAMPLE


@pytest.fixture
def hub() -> Iterator[RunningHub]:
    with run_hub() as running:
        yield running


@pytest.fixture
def segue_hub(hub: RunningHub) -> Command:
    return Command.of(hub)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the example plan to change."""
    return Path(shutil.copytree(EXAMPLE, tmp_path / "plan"))


def spoil(folder: Path) -> None:
    path = folder / "audiences.yaml"
    path.write_text(path.read_text().replace("journey.activation.stalled", "journey.activatoin.stalled"))


def edit(folder: Path) -> None:
    path = folder / "maps" / "support.yaml"
    path.write_text(path.read_text().replace('after: "2d"', 'after: "5d"'))


def test_a_sound_plan_is_ok_and_needs_no_hub(folder: Path) -> None:
    nobody = Command()
    assert nobody.ok("plan", "check", folder).startswith("ok: 3 maps, 6 audiences, 7 guardrails; digest ")
    checked = nobody.json("plan", "check", folder)
    assert checked["ok"] is True
    assert checked["problems"] == []


def test_a_flawed_plan_exits_with_1_and_says_file_line_and_cure(folder: Path) -> None:
    spoil(folder)
    error = Command().fails(1, "plan", "check", folder)
    assert "audiences.yaml:7:" in error
    assert "activation" in error
    result = Command()("plan", "check", folder, "--json")
    assert result.exit_code == 1
    (problem,) = json.loads(result.stdout)["problems"]
    assert (problem["file"], problem["line"], problem["severity"]) == ("audiences.yaml", 7, "error")


def test_a_folder_that_is_none_is_used_wrongly(tmp_path: Path) -> None:
    assert "does not exist" in Command().fails(2, "plan", "check", tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    assert "no .yaml files" in Command().fails(1, "plan", "check", tmp_path / "empty")


def test_a_compiled_plan_is_what_sdks_run(folder: Path, tmp_path: Path) -> None:
    nobody, output = Command(), tmp_path / "plan.json"
    assert str(output) in nobody.ok("plan", "compile", folder, "-o", output)
    plan = Plan(json.loads(output.read_bytes()))
    assert plan.digest == nobody.json("plan", "check", folder)["digest"]
    spoil(folder)
    assert "activat" in nobody.fails(1, "plan", "compile", folder, "-o", tmp_path / "other.json")
    assert not (tmp_path / "other.json").exists()


def test_the_schema_is_a_json_schema() -> None:
    schema = json.loads(Command().ok("plan", "schema"))
    jsonschema.validators.validator_for(schema).check_schema(schema)


def test_a_push_puts_a_plan_in_force_and_a_second_one_changes_nothing(
    hub: RunningHub, segue_hub: Command, folder: Path
) -> None:
    pushed = segue_hub.json("plan", "push", folder, "--note", "first")
    assert pushed["current"] is True
    assert pushed["unchanged"] is False
    assert pushed["digest"] == hub.hub.plans.current.digest
    assert "is in force already (number 1)" in segue_hub.ok("plan", "push", folder)


def test_a_flawed_plan_is_not_pushed_and_the_last_good_one_stays(
    hub: RunningHub, segue_hub: Command, folder: Path
) -> None:
    digest = segue_hub.json("plan", "push", folder)["digest"]
    spoil(folder)
    error = segue_hub.fails(1, "plan", "push", folder)
    assert "audiences.yaml:7:" in error
    assert "the last good one stays" in error
    assert hub.hub.plans.current.digest == digest


def test_the_history_is_newest_first_with_author_and_note(segue_hub: Command, folder: Path) -> None:
    assert segue_hub.json("plan", "list") == []
    segue_hub.ok("plan", "push", folder, "--note", "first")
    edit(folder)
    segue_hub.ok("plan", "push", folder, "--note", "second")
    assert [(v["number"], v["note"], v["current"]) for v in segue_hub.json("plan", "list")] == [
        (2, "second", True), (1, "first", False)
    ]  # fmt: skip
    assert segue_hub.ok("plan", "list").splitlines()[1].startswith("*")


def test_a_diff_shows_what_a_push_would_change_and_exits_with_1_where_anything(
    segue_hub: Command, folder: Path
) -> None:
    assert "no plan was pushed yet" in segue_hub.fails(1, "plan", "diff", folder)
    first = segue_hub.json("plan", "push", folder)["digest"]
    assert segue_hub.ok("plan", "diff", folder) == f"no difference to {first}\n"
    edit(folder)
    result = segue_hub("plan", "diff", folder)
    assert result.exit_code == 1
    assert '-stalls: {after: "2d"}' in result.stdout.splitlines()
    assert '+stalls: {after: "5d"}' in result.stdout.splitlines()
    segue_hub.ok("plan", "push", folder)
    assert segue_hub.ok("plan", "diff", folder)
    assert segue_hub("plan", "diff", folder, "--against", first[:6]).exit_code == 1
    assert "begins with 'zzz'" in segue_hub.fails(1, "plan", "diff", folder, "--against", "zzz")


def test_a_rollback_puts_the_one_before_in_force_again_as_a_new_number(
    hub: RunningHub, segue_hub: Command, folder: Path
) -> None:
    assert "no earlier plan" in segue_hub.fails(1, "plan", "rollback")
    first = segue_hub.json("plan", "push", folder)["digest"]
    edit(folder)
    second = segue_hub.json("plan", "push", folder)["digest"]
    assert segue_hub.ok("plan", "rollback") == f"plan {first} is in force again (number 3)\n"
    assert hub.hub.plans.current.digest == first
    assert segue_hub.json("plan", "rollback", second[:8])["digest"] == second
    assert "begins with 'nope'" in segue_hub.fails(1, "plan", "rollback", "nope")


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("window: day", "window: fortnight", "guardrails.contact_pressure.cap.window"),
        ("exactness: strict", "exactness: exact", "guardrails.contact_pressure.cap.exactness"),
        ("limit: 1, window", "window", "guardrails.contact_pressure.cap"),
        ("limit: 1", "limit: 0", "guardrails.contact_pressure.cap.limit"),
        ("exactness: strict", 'hold: "1m"', "guardrails.contact_pressure.cap.hold: means nothing"),
        ("  claim: conversation", "  clame: conversation", "did you mean 'claim'"),
        ("most: 20", "most: -1", "guardrails.tired.effort_budget.most"),
        ("owner: care", "owner: care\n  exempt: [servise]", "did you mean 'service'"),
        ("owner: care", 'owner: care\n  valid: {until: "soon"}', "guardrails.with_somebody.valid.until"),
        (
            "owner: care",
            'owner: care\n  valid: {from: "2026-02-01T00:00:00Z", until: "2026-01-01T00:00:00Z"}',
            "ends before it begins",
        ),
        ("owner: care", 'owner: care\n  cap: {limit: 1, window: "1d"}', "has 2 limits"),
    ],
    ids=lambda text: text.split("\n")[-1].strip()[:24],
)
def test_what_coordinates_is_checked_and_said_where(folder: Path, before: str, after: str, said: str) -> None:
    path = folder / "guardrails.yaml"
    text = path.read_text()
    assert before in text
    path.write_text(text.replace(before, after))
    error = Command().fails(1, "plan", "check", folder)
    assert "guardrails.yaml:" in error
    assert said.lower() in error.lower().replace("\n", " ")
