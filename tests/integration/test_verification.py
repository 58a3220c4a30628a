"""`store check`: what is kept beside the log is what follows from it, and what does not is named."""

from __future__ import annotations

import zlib
from contextlib import closing
from pathlib import Path

import apsw
import pytest
from segue.domain import section
from segue.domain.fact import EVENT, Fact, derived_id
from segue.domain.identifier import Identifier
from segue.domain.plan import Plan
from segue_hub.services.stored_content import dumps, unstored
from segue_hub.services.thrift import EAGER
from segue_hub.testing import run_hub

from tests.building import SKETCH, document
from tests.commanding import Command

MAIL = Identifier("email", "ann@example.org")


def event(number: int, *names: Identifier) -> Fact:
    at = 1_772_442_000_000_000 + number
    return Fact(derived_id(at, "test", str(number)), EVENT, "page.viewed", at, number, names)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A store in which contexts were kept, and two identifiers are one."""
    path = tmp_path / "segue.db"
    with run_hub(store=path) as hub:
        hub.call(hub.hub.plans.push(document(SKETCH), {}, "test", ""))
        hub.hub.contexts._limit, hub.hub.contexts._thrift = 2, EAGER
        grant = hub.hub.plans.current.grant("desk")
        for number in range(40):
            names = [Identifier("account", f"A-{number % 10}")] + ([MAIL] if number == 3 else [])
            hub.call(hub.hub.ingest.publish([event(number, *names)], grant))
    return path


def broken(path: Path, sql: str) -> str:
    with closing(apsw.Connection(str(path))) as connection:
        connection.execute(sql)
    return Command().fails(1, "store", "check", path)


def test_a_sound_store_is_sound_to_the_last_context(store: Path) -> None:
    with closing(apsw.Connection(str(store))) as connection:
        assert connection.execute("SELECT count(*) FROM contexts").fetchall()[0][0] > 0
    assert "sound" in Command().ok("store", "check", store)


def test_a_kept_context_that_is_not_the_fold_of_its_facts_is_named(store: Path) -> None:
    with closing(apsw.Connection(str(store))) as connection:
        for customer, data in connection.execute("SELECT customer, data FROM contexts").fetchall():
            told_so = zlib.decompress(data).replace(b'"page.viewed":[', b'"page.viewed":[7')
            connection.execute("UPDATE contexts SET data = ? WHERE customer = ?", (told_so, customer))
    told = Command().fails(1, "store", "check", store)
    assert "is not the fold of its facts" in told
    assert "account=A-" in told


def test_identifiers_that_are_not_one_with_whom_their_links_say_are_named(store: Path) -> None:
    told = broken(store, "UPDATE identifiers SET customer = number WHERE kind = 'email'; DELETE FROM contexts")
    assert "is not one with whom its links say" in told


def test_quickly_only_the_books_are_looked_at(store: Path) -> None:
    with closing(apsw.Connection(str(store))) as connection:
        connection.execute("UPDATE identifiers SET customer = number WHERE kind = 'email'")
    assert "sound" in Command().ok("store", "check", store, "--quick")


def test_a_store_whose_plan_was_rolled_back_is_checked_by_the_plan_in_force(tmp_path: Path) -> None:
    """Regression (found by F9): of a plan that was in force twice, the one after it was taken for the newest."""
    path, kinds = tmp_path / "segue.db", SKETCH["identifiers"]
    blocking = document({**SKETCH, "identifiers": {**kinds, "email": {**kinds["email"], "partners": 1}}})
    with run_hub(store=path) as hub:
        for plan in (blocking, document(SKETCH)):
            hub.call(hub.hub.plans.push(plan, {}, "test", ""))
        grant = hub.hub.plans.current.grant("desk")
        for number in range(3):
            together = event(number, Identifier("account", f"A-{number}"), MAIL)
            hub.call(hub.hub.ingest.publish([together], grant))
        assert hub.hub.contexts.find(MAIL).customer != 0
        hub.call(hub.hub.plans.push(blocking, {}, "test", ""))
        hub.call(hub.hub.sweep.idle())
    assert "sound" in Command().ok("store", "check", path)


def test_a_kept_context_of_before_they_were_compressed_is_read(store: Path) -> None:
    plan = Plan(document(SKETCH))
    with closing(apsw.Connection(str(store))) as connection:
        kept = connection.execute("SELECT customer, data FROM contexts").fetchall()
        assert kept
        for customer, data in kept:
            plain = zlib.decompress(data)
            assert dumps(section.plain(unstored(data), plan)) == dumps(section.plain(unstored(plain), plan)) == plain
            connection.execute("UPDATE contexts SET data = ? WHERE customer = ?", (plain, customer))
    assert "sound" in Command().ok("store", "check", store)


def test_a_kept_context_that_is_cut_off_is_named(store: Path) -> None:
    with closing(apsw.Connection(str(store))) as connection:
        connection.execute("UPDATE contexts SET data = substr(data, 1, length(data) - 9)")
    told = Command().fails(1, "store", "check", store)
    assert "cannot be read" in told
    assert "account=A-" in told


def test_who_was_decided_by_a_plan_that_was_soon_rolled_back_is_decided_anew(tmp_path: Path) -> None:
    """Regression (found by F9): limits were noted as decided by the plan before; what was decided while another was in
    force, and had no time to sweep, stayed.
    """
    path, plan = tmp_path / "segue.db", document(SKETCH)
    with run_hub(store=path) as hub:

        async def act() -> None:
            parts = hub.hub
            await parts.plans.push(plan, {}, "test", "")
            await parts.sweep.idle()
            await parts.sweep.close()  # as where the next plan comes before it has begun
            await parts.plans.push(document({**SKETCH, "identifiers_per_customer": 1}), {}, "test", "")
            await parts.ingest.publish([event(1, Identifier("account", "A"), MAIL)], parts.plans.current.grant("desk"))
            assert parts.contexts.find(MAIL).customer != parts.contexts.find(Identifier("account", "A")).customer
            await parts.plans.push(plan, {}, "test", "")
            parts.sweep.start()
            await parts.sweep.idle()
            assert parts.contexts.find(MAIL).customer == parts.contexts.find(Identifier("account", "A")).customer

        hub.call(act())
    assert "sound" in Command().ok("store", "check", path)
