"""What the hub remembers between facts never answers for another fact, touchpoint or plan."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from segue_hub.checking.plan_check import read_directory
from segue_hub.services import admission
from segue_hub.storage.sqlite import SqliteStore
from segue_hub.testing import RunningHub, run_hub

from tests.calling import Caller, calling, event, now

EXAMPLE = Path(__file__).parents[2] / "examples" / "plan"
ACCEPTED, DUPLICATE, REJECTED = "ACCEPTED", "DUPLICATE", "REJECTED"


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[RunningHub]:
    with run_hub(EXAMPLE, store=tmp_path / "segue.db") as running:
        yield running


@pytest.fixture
def app(hub: RunningHub) -> Iterator[Caller]:
    with calling(hub.address, hub.key("app")) as caller:
        yield caller


def facts_of(hub: RunningHub, name: str) -> int:
    from segue.domain.identifier import parse_identifier

    async def read() -> Any:
        return hub.hub.reports.customer(parse_identifier(name))["facts"]

    return int(hub.call(read()))


def changed(file: str, before: str, after: str) -> dict[str, str]:
    files = read_directory(EXAMPLE)
    assert before in files[file]
    files[file] = files[file].replace(before, after)
    return files


def test_facts_offered_again_among_new_ones_count_once_and_are_told_apart(tmp_path: Path) -> None:
    """A unit is written as if all were new; where one is not, all of it is written again, and nothing twice."""
    chance, stored = random.Random(5), []
    with run_hub(EXAMPLE, store=tmp_path / "segue.db") as hub, calling(hub.address, hub.key("app")) as app:
        for round_ in range(40):
            fresh = [event("transfer.failed", f"account=R-{chance.randrange(5)}", n=round_) for _ in range(5)]
            again = chance.sample(stored, min(len(stored), chance.choice([0, 0, 1, 3])))
            twice = chance.sample(fresh, chance.choice([0, 0, 1]))
            other = event("transfer.failed", "account=R-9", id_=fresh[0].id, other=True) if round_ % 4 == 3 else None
            sent = [*fresh, *again, *twice, *([other] if other else [])]
            wanted = [ACCEPTED] * 5 + [DUPLICATE] * (len(again) + len(twice)) + [REJECTED] * bool(other)
            assert app.statuses(*sent) == wanted
            stored += fresh
        counts = [facts_of(hub, f"account=R-{number}") for number in range(5)]
        assert sum(counts) == len(stored) == 200
        for number, count in enumerate(counts):
            sections = {s.name: json.loads(s.data) for s in app.context(f"account=R-{number}").sections}
            assert sections["envelope"][2] == count
    store = SqliteStore(tmp_path / "segue.db")
    assert store.counts()["facts"] == 200
    assert list(store.check()) == []
    store.close()


def test_a_name_is_brought_to_the_form_of_the_plan_in_force(hub: RunningHub, app: Caller) -> None:
    for _ in range(2):
        assert app.statuses(event("transfer.failed", "email=Ann@Example.com")) == [ACCEPTED]
    assert facts_of(hub, "email=ann@example.com") == 2
    hub.push(changed("vocabulary.yaml", ", normalise: email", ""))
    assert app.statuses(event("transfer.failed", "email=Ann@Example.com")) == [ACCEPTED]
    assert facts_of(hub, "email=Ann@Example.com") == 1
    hub.push(EXAMPLE)
    assert app.statuses(event("transfer.failed", "email=Ann@Example.com")) == [ACCEPTED]
    assert facts_of(hub, "email=ann@example.com") == 3


def test_what_one_touchpoint_may_write_another_may_not(hub: RunningHub, app: Caller) -> None:
    with calling(hub.address, hub.key("ivr")) as ivr:
        for _ in range(3):
            assert app.statuses(event("transfer.failed", "account=W-1", channel="app")) == [ACCEPTED]
            assert ivr.statuses(event("transfer.failed", "account=W-1", channel="app")) == [REJECTED]
    hub.push(changed("touchpoints.yaml", "transfer.*", "other.*"))
    assert app.statuses(event("transfer.failed", "account=W-1", channel="app")) == [REJECTED]


def test_what_is_new_in_a_fact_is_checked_in_every_fact(app: Caller) -> None:
    def fact(**more: Any) -> Any:
        return event("transfer.failed", "account=N-1", **more)

    assert app.statuses(fact(), fact()) == [ACCEPTED, ACCEPTED]
    nameless, ahead, hostile, wrong = fact(), fact(at=now() + 10**10), fact(), fact(transfer_id=7)
    nameless.id, hostile.raw = b"short", b'{"a": NaN}'
    codes = [code for _, code, _ in app.send(nameless, ahead, hostile, wrong, fact())]
    assert codes == ["FACT_INVALID", "TOO_FAR_AHEAD", "FACT_INVALID", "PROPERTY_INVALID", ""]
    ago = now() - 10 * 60 * 10**6
    assert app.statuses(fact(at=ago), sent_at=ago) == [ACCEPTED]


def test_an_unknown_name_is_counted_every_time(hub: RunningHub, app: Caller) -> None:
    for _ in range(3):
        unknown = event("transfer.faild", "account=U-1"), event("transfer.faild", "account=U-1")
        assert app.statuses(*unknown) == [ACCEPTED, ACCEPTED]
    assert hub.hub.overview.plain()["unknown_events"][0]["count"] == 6


def test_as_many_names_are_remembered_as_the_bound_says(
    hub: RunningHub, app: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(admission, "IDENTIFIERS_KNOWN", 3)
    for number in (1, 2, 1, 3, 4, 5, 1, 2):
        assert app.statuses(event("transfer.failed", f"account=B-{number}")) == [ACCEPTED]
        assert len(hub.hub.ingest.admission._normal) <= 3
    assert facts_of(hub, "account=B-1") == 3


def test_a_fact_that_comes_with_no_channel_gets_that_of_its_touchpoint_each_time(app: Caller) -> None:
    assert app.statuses(*(event("transfer.failed", "account=C-1") for _ in range(3))) == [ACCEPTED] * 3
    sections = {s.name: json.loads(s.data) for s in app.context("account=C-1").sections}
    assert [fact[5] for fact in sections["timeline"]] == ["app"] * 3
