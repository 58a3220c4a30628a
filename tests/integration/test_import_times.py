"""Times in files: formats, zones, units, and clock times that roll over midnight, also in the nights of summer time."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from segue.domain.instant import instant_text
from segue_hub.importing.mapping import Mapper
from segue_hub.importing.mapping_check import load_mapping
from segue_hub.importing.moment import format_reader


def at(folder: Path, spec: str, zone: str = "Europe/Berlin", **row: Any) -> str:
    path = folder / "mapping.yaml"
    path.write_text(
        f"source: s\nzone: {zone}\nnative_id: [t]\nidentifiers: {{account: {{constant: A}}}}\n"
        f"facts:\n  - {{event: e, at: {spec}}}\n",
        encoding="utf-8",
    )
    outcome = Mapper(load_mapping(path)).outcome(1, row)
    if outcome.reject is not None:
        return outcome.reject.reason
    return instant_text(outcome.facts[0].occurred_at) if outcome.facts else outcome.skipped


@pytest.mark.parametrize(
    ("spec", "given", "instant"),
    [
        ("{column: t}", "2026-01-02T03:04:05Z", "2026-01-02T03:04:05Z"),
        ("{column: t}", "2026-01-02T03:04:05.678901+05:30", "2026-01-01T21:34:05.678901Z"),
        ("{column: t}", "2026-01-02 03:04:05", "2026-01-02T02:04:05Z"),  # the mapping's zone
        ("{column: t, zone: America/New_York}", "2026-07-02 03:04:05", "2026-07-02T07:04:05Z"),
        ('{column: t, format: "%d.%m.%Y %H:%M"}', "2.7.2026 3:04", "2026-07-02T01:04:00Z"),
        ('{column: t, format: "%y%m%d %H:%M:%S"}', "990201 7:02:47", "1999-02-01T06:02:47Z"),
        ('{column: t, format: "%y%m%d %H:%M:%S"}', "680201 7:02:47", "2068-02-01T06:02:47Z"),
        ('{column: t, format: "%d %b %Y %I:%M %p"}', "02 Jul 2026 03:04 PM", "2026-07-02T13:04:00Z"),
        ('{column: t, format: "%Y-%m-%d %H:%M:%S.%f %z"}', "2026-07-02 03:04:05.5 -0100", "2026-07-02T04:04:05.500Z"),
        ('{column: t, format: "%d/%m/%Y 100%%"}', "02/07/2026 100%", "2026-07-01T22:00:00Z"),
        ("{column: t, unit: s}", "1751425445", "2025-07-02T03:04:05Z"),
        ("{column: t, unit: s}", 1751425445.123456, "2025-07-02T03:04:05.123456Z"),
        ("{column: t, unit: s}", "1751425445.123456", "2025-07-02T03:04:05.123456Z"),
        ("{column: t, unit: ms}", 1751425445001, "2025-07-02T03:04:05.001Z"),
        ("{column: t, unit: us}", "1751425445000001", "2025-07-02T03:04:05.000001Z"),
        ('{column: t, format: "%d.%m.%Y %H:%M"}', "31.02.2026 03:04", "t: '31.02.2026 03:04' is no time"),
        ('{column: t, format: "%d.%m.%Y"}', "01.02.2026 ", "t: '01.02.2026 ' is no time"),
        ("{column: t}", "yesterday", "t: 'yesterday' is no time"),
        ("{column: t, unit: s}", "inf", "t: 'inf' is no time"),
        ("{column: t, unit: s}", "soon", "t: 'soon' is no time"),
        ('{column: t, nulls: ["never"]}', "never", "e: has no time"),
        ("{column: t}", "", "e: has no time"),
    ],
)
def test_a_time_is_read_in_its_format_zone_or_unit(spec: str, given: Any, instant: str, tmp_path: Path) -> None:
    assert at(tmp_path, spec, t=given) == instant


@pytest.mark.parametrize(
    ("begins", "clock", "instant"),
    [
        ("05-04-26 23:50:00", "23:55:00", "2026-05-04T21:55:00Z"),
        ("05-04-26 23:50:00", "0:10:00", "2026-05-04T22:10:00Z"),  # the next day
        ("05-04-26 0:10:00", "0:05:00", "2026-05-03T22:05:00Z"),  # clocks differ a little: the same day
        ("05-04-26 12:00:01", "0:00:00", "2026-05-04T22:00:00Z"),  # more than twelve hours before
        ("05-04-26 12:00:00", "0:00:00", "2026-05-03T22:00:00Z"),
        ("03-28-26 23:50:00", "3:10:00", "2026-03-29T01:10:00Z"),  # that night lost an hour: the clock says 3:10
        ("10-24-26 23:50:00", "3:10:00", "2026-10-25T02:10:00Z"),  # and that one won one
        ("03-28-26 23:50:00", "0:10:00", "2026-03-28T23:10:00Z"),
    ],
)
def test_a_clock_time_after_midnight_belongs_to_the_next_day_of_its_zone(
    begins: str, clock: str, instant: str, tmp_path: Path
) -> None:
    form = 'format: "%m-%d-%y %H:%M:%S"'
    spec = f'{{template: "{{day}} {{t}}", {form}, rolls_over: {{template: "{{day}} {{begins}}", {form}}}}}'
    day, _, start = begins.partition(" ")
    assert at(tmp_path, spec, t=clock, day=day, begins=start) == instant


def test_the_fast_reading_of_formats_is_that_of_strptime() -> None:
    forms = ["%y%m%d %H:%M:%S", "%d/%m/%Y %H:%M", "%Y-%m-%dT%H:%M", "%d.%m.%y", "%Y%m%d%H%M%S", "%m %d  %Y"]
    texts = [
        "990201 7:02:47", "1/2/2016 01:23", "29/02/2016 01:23", "2016-02-30T10:00", "2016-12-31T24:00", "1.1.00",
        "20160229235959", "20160229235960", " 1/2/2016 01:23", "12 3\t2016", "", "99020 7:2:4", "990201  7:02:47",
    ]  # fmt: skip
    for form in forms:
        read = format_reader(form)
        for given in texts:
            try:
                wanted: datetime | None = datetime.strptime(given, form)
            except ValueError:
                wanted = None
            try:
                found: datetime | None = read(given)
            except ValueError:
                found = None
            assert found == wanted, (form, given)
