"""What a plan may not say of incidents and calendars: each mistake with its place and its cure (TI9, PL1)."""

from __future__ import annotations

import jsonschema
import pytest
from segue.domain.plan import Plan
from segue.errors import PlanError
from segue_hub.checking import plan_check
from segue_hub.checking.plan_check import check_plan
from segue_hub.checking.shape import schema
from segue_hub.checking.yaml_text import read_yaml

CALENDARS = """\
support:
  zone: Europe/Berlin
  owner: care
  hours:
    - {days: [mon, tue, wed, thu, fri], from: "08:00", to: "18:00"}
  exceptions:
    - {date: 2026-12-24, from: "08:00", to: "12:00", reason: "Christmas Eve"}
    - {date: "2026-12-25"}
"""


def problems(**files: str) -> list[str]:
    checked = check_plan({f"{name}.yaml": text for name, text in files.items()})
    assert checked.ok is (checked.document is not None)
    return [str(problem) for problem in checked.problems]


def audience(text: str) -> str:
    return f"a:\n  when: '{text}'\n"


def test_a_plan_with_calendars_and_incidents_is_sound_and_compiles() -> None:
    files = {"calendars.yaml": CALENDARS, "audiences.yaml": audience('calendar("support").open && !incident("X").open')}
    checked = check_plan(files)
    assert checked.problems == []
    assert checked.document is not None
    plan = Plan(checked.document)
    assert set(plan.calendars) == {"support"}
    assert plan.incidents == {"X"}
    jsonschema.validate(read_yaml(CALENDARS).value, schema())


@pytest.mark.parametrize(
    ("text", "column", "said"),
    [
        ('incident("A").opne', 23, "incident(...) has no 'opne'. Did you mean 'open'?"),
        ('calendar("support").opens', 29, "calendar(...) has no 'opens'. Did you mean 'open'?"),
        ('calendar("suport").open', 18, "no calendar is called 'suport'. Did you mean 'support'?"),
        ('incident("A").open == "yes"', 29, "'==' does not take (bool, string)"),
        ('incident("A").opened_at > 5', 34, "'>' does not take"),
        ('incident(string(last("x"))).open', 18, "incident(...) takes constant texts"),
        ('incident("").open', 18, "'' names no incident"),
        ('has(incident("A").open)', 13, "is always there"),
        ('incident("A")', 10, "gives no bool"),
        ('incident("A", "B").open', 18, "incident(...) takes 1 texts"),
        ("incident().open", 18, "incident(...) takes 1 texts"),
        ("segue.Incident{open: true}.open", 10, "messages (segue.Incident) are not supported"),
        ("incidnet(\"A\").open", 18, "nothing is called 'incidnet' here. Did you mean 'incident'?"),
    ],
)  # fmt: skip
def test_a_mistake_in_an_expression_is_told_with_its_place(text: str, column: int, said: str) -> None:
    found = problems(audiences=audience(text), calendars=CALENDARS)
    assert found[0].startswith(f"audiences.yaml:2:{column}: error: audiences.a.when: ")
    assert said in found[0]


def test_what_an_action_is_may_not_hang_on_an_incident() -> None:
    guardrail = 'g:\n  applies_to: \'incident("A").open\'\n  cap: {limit: 1, window: "1d"}\n  reason: r\n'
    assert "'incident' cannot be asked here" in problems(guardrails=guardrail)[0]


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("Europe/Berlin", "customer", "calendars.yaml:2:9: error: calendars.support.zone: no time zone is called"),
        ("Europe/Berlin", "Europe/Berlim", "calendars.support.zone: no time zone is called 'Europe/Berlim'"),
        ("[mon,", "[monday,", "calendars.support.hours.0.days.0: 'monday' is not known. Did you mean 'mon'?"),
        ('from: "08:00", to: "18:00"', 'from: 08:00, to: "18:00"', "hours.0.from: '08:00' without quotes"),
        ('to: "18:00"', 'to: "24:00"', "hours.0.to: '24:00' is no such text"),
        (', to: "18:00"', "", "calendars.support.hours.0: 'to' is missing"),
        ("2026-12-24", "2026-12-32", "exceptions.0.date: '2026-12-32' is no day of the calendar"),
        ("2026-12-24", "24.12.2026", "exceptions.0.date: '24.12.2026' is no such text"),
        ('from: "08:00", to: "12:00", ', 'from: "08:00", ', "calendars.yaml:7:7: error: calendars.support.exceptions:"),
        ("exceptions:", "exeptions:", "unknown key 'exeptions'. Did you mean 'exceptions'?"),
    ],
)  # fmt: skip
def test_a_mistake_in_a_calendar_is_told_with_its_place(before: str, after: str, said: str) -> None:
    assert CALENDARS.count(before) == 1 or before.startswith(("from", "[mon"))
    found = problems(calendars=CALENDARS.replace(before, after, 1))
    assert any(said in problem for problem in found), found


def test_a_calendar_without_a_zone_has_the_plans() -> None:
    checked = check_plan({
        "calendars.yaml": 's:\n  hours: [{days: [mon], from: "08:00", to: "09:00"}]\n',
        "vocabulary.yaml": "time_zone: America/New_York\n",
    })  # fmt: skip
    assert checked.document is not None
    calendar = Plan(checked.document).calendars["s"]
    assert calendar.is_open(1_772_456_400_000_000), "2026-03-02T13:00:00Z is eight in New York"


def test_the_customers_own_zone_is_for_quiet_hours_alone() -> None:
    assert "no time zone is called 'customer'" in problems(vocabulary="time_zone: customer\n")[0]


def test_a_plan_that_only_compiling_refuses_gives_no_document(monkeypatch: pytest.MonkeyPatch) -> None:
    """Regression: it was handed on as if it were sound, and the push failed with an error of the hub."""

    def refuse(document: object) -> None:
        raise PlanError("is no calendar", field="calendars.support")

    monkeypatch.setattr(plan_check, "Plan", refuse)
    assert problems(calendars=CALENDARS) == ["calendars.yaml:1:1: error: calendars.support: is no calendar."]
