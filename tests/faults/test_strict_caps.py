"""Strict caps under attack (AC2; promise 5): many processes, one customer, one place, and everything that can go wrong.

After each attack the same three things are reckoned, from what really went out and from the hub's log, never from what
the SDK says of itself: at most one was sent to a customer; at no position of the log did more than one grant stand for
the customer known then; whoever was held back heard who holds the place and until when, or that the hub could not be
asked. The last test is the negative control: the same attack on an optimistic cap sends too many.

24 processes attack. The long size is `SEGUE_RIVALS=64 python -m pytest -s tests/faults/test_strict_caps.py`: 64 take
half a minute of two quiet cores to start alone.
"""

from __future__ import annotations

import itertools
import os
import random
import signal
import sqlite3
import statistics
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import segue
from segue.domain.fact import ACTION, LINK, RESERVATION, Fact
from segue.domain.identifier import Identifier
from segue.wire import fact_from_bytes

from tests.calling import calling, event, now
from tests.faults.rivals import Rival, Rivals
from tests.faults.wire_cutter import wire_cutter
from tests.serving import Serving
from tests.waiting import eventually

pytestmark = [pytest.mark.fault, pytest.mark.timeout(600)]

RIVALS = int(os.environ.get("SEGUE_RIVALS") or 24)
PATIENCE = 240
"""Seconds until somebody must have sent and somebody else heard of it, on a machine that is busy with other things."""
HOLD = 3_000_000
PLAN = {
    "vocabulary.yaml": """
channels: {email: {}, sms: {}, chat: {assisted: true}}
identifiers: {account: {priority: 1}, cookie: {priority: 9}}
events: {page.viewed: {}}
""",
    "guardrails.yaml": """
contact_pressure:
  applies_to: 'action.purpose == "marketing"'
  cap: {limit: 1, window: day, exactness: EXACT, hold: "3s"}
  reason: One marketing outreach a day.
  owner: crm
  on_missing: allow
""",
    "touchpoints.yaml": """
mailer: {channel: email, writes: ["*"], reads: {service: [actions, identity]}}
texter: {channel: sms, writes: ["*"], reads: {service: []}}
chat: {channel: chat, writes: ["*"], reads: {service: [actions]}}
""",
}


class Field:
    """A hub, rivals of three touchpoints (half of them behind a wire that can be cut), and a clean customer a test."""

    def __init__(self, folder: Path, exactness: str, count: int) -> None:
        folder.mkdir()
        plan = folder / "plan"
        plan.mkdir()
        for name, text in PLAN.items():
            text = text if exactness == "strict" else text.replace(', hold: "3s"', "")  # there is nothing to hold
            (plan / name).write_text(text.replace("EXACT", exactness))
        with ExitStack() as stack:
            self.hub = Serving(folder)
            self.hub.start()
            stack.callback(self.hub.stop)
            self.hub.push(plan)
            self.keys = {name: self.hub.key(name) for name in ("mailer", "texter", "chat")}
            self.cutter = stack.enter_context(wire_cutter(self.hub.port))
            self.rivals = Rivals(folder, [self.hub.address, f"127.0.0.1:{self.cutter.port}"], self.keys, count)
            stack.callback(self.rivals.close)
            self.close = stack.pop_all().close

    def log(self) -> list[tuple[int, Fact]]:
        """What the hub holds on disk."""
        connection = sqlite3.connect(f"file:{self.hub.store}?mode=ro", uri=True)
        try:
            rows = connection.execute("SELECT position, body FROM facts ORDER BY position").fetchall()
        finally:
            connection.close()
        return [(position, fact_from_bytes(body)) for position, body in rows]

    def _at_most_one(self, names: set[Identifier]) -> tuple[list[tuple[int, Fact]], ...]:
        """The facts of some names, of which there may be none; nothing where a grant found another one standing."""
        facts = [(p, f) for p, f in self.log() if not names.isdisjoint(f.identifiers)]
        return (facts,) if most_standing(facts) <= 1 else ()

    def sent_to(self, who: list[dict[str, str]]) -> list[str]:
        """The reservations under which something went out to a customer."""
        return [id_ for whom, _, id_ in self.rivals.sent() if whom in {str(w).replace("'", '"') for w in who}]

    def reckon(self, who: list[dict[str, str]], told: list[dict[str, Any]], at_most: int = 1) -> Counter[str]:
        """The three things of the heading; returns how many were sent, refused by whom, and could not ask."""
        sent = self.sent_to(who)
        assert len(sent) <= at_most, sent
        names = {Identifier(kind, value) for each in who for kind, value in each.items()}
        # Who gave up waiting was told by nobody: what the hub takes back, or is given back, may be on its way still.
        (facts,) = eventually(lambda: self._at_most_one(names))
        granted = {f.id.hex() for _, f in facts if f.kind == RESERVATION and f.properties["status"] == "granted"}
        assert set(sent) <= granted, "what goes out has a place of its own"
        for answer in told:
            if answer["outcome"] == "held" and "HUB_UNREACHABLE" not in answer["reason"]:
                assert answer["holder"] in self.keys, answer
                assert answer["until"] > now(), answer
        return Counter(
            "unreachable" if "HUB_UNREACHABLE" in answer.get("reason", "") else answer["outcome"] for answer in told
        )


def most_standing(facts: list[tuple[int, Fact]]) -> int:
    """The most grants that any one new grant found standing, itself included, for the customer known at its position.

    A grant that the hub took back itself, or that was given back, stands until then; of two customers who become one
    afterwards, each may have had one.
    """
    groups: dict[Identifier, int] = {}
    released = {
        f.properties["reservation"] for _, f in facts if f.kind == RESERVATION and f.properties["status"] == "released"
    }
    standing: dict[str, Identifier] = {}
    most = 0
    for position, fact in facts:
        if fact.kind in (LINK, RESERVATION, ACTION):
            found = {groups[name] for name in fact.identifiers if name in groups}
            for name in [*fact.identifiers, *(n for n, group in groups.items() if group in found)]:
                groups[name] = min(found, default=position)
        if fact.kind == RESERVATION and fact.properties["status"] == "granted" and fact.id.hex() not in released:
            mine = groups[fact.identifiers[0]]
            standing[fact.id.hex()] = fact.identifiers[0]
            most = max(most, sum(groups[name] == mine for name in standing.values()))
    return most


@pytest.fixture(scope="module")
def field(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Field]:
    made = Field(tmp_path_factory.mktemp("strict") / "field", "strict", RIVALS)
    yield made
    made.close()


@pytest.fixture
def chance() -> random.Random:
    seed = int(os.environ.get("SEGUE_SEED") or random.SystemRandom().randrange(1 << 32))
    print(f"SEGUE_SEED={seed}", end=" ")
    return random.Random(seed)


def test_of_all_who_come_at_the_same_moment_one_sends_and_the_others_hear_who_and_until_when(field: Field) -> None:
    counts: Counter[str] = Counter()
    waits: list[float] = []
    deadline = time.monotonic() + PATIENCE
    for number in itertools.count():
        who = [{"account": f"PLAIN-{number}"}]
        told = field.rivals.attack(who)
        found = field.reckon(who, told)
        print(f"{RIVALS} at once: {found['sent']} sent, {found['held']} heard who and until when,"
              f" {found['unreachable']} heard HUB_UNREACHABLE")  # fmt: skip
        counts += found
        waits += [answer["ms"] for answer in told if answer["outcome"] == "held" and answer["asked"]]
        if number >= 3 and ((counts["sent"] and counts["held"]) or time.monotonic() > deadline):
            break
    print(f"strict cap, {RIVALS} processes at once: {dict(counts)}; refused after {_spread(waits)}")
    assert counts["sent"] >= 1
    assert counts["held"] >= 1


def test_a_granted_one_that_is_killed_before_it_tells_leaves_its_place_spent(field: Field) -> None:
    first, who = _standing_still(field, "KILLED")
    told = _others(field, who)
    first.kill()
    first.start()
    assert first.answer(120)["outcome"] == "ready"
    counts = field.reckon(who, told)
    _expired(field, who)
    counts += field.reckon(who, field.rivals.attack(who))
    assert counts["sent"] == 0, "unknown is counted: nobody may send into the place of one who died"


def test_a_granted_one_that_stands_still_beyond_its_time_is_the_only_one_that_ever_sends(field: Field) -> None:
    first, who = _standing_still(field, "STOPPED")
    first.signal(signal.SIGSTOP)
    try:
        _expired(field, who)
        told = _others(field, who)
    finally:
        first.signal(signal.SIGCONT)
    assert field.reckon(who, told)["sent"] == 0
    first.go_on()
    assert first.answer()["outcome"] == "sent"
    counts = field.reckon(who, field.rivals.attack(who))
    assert counts["sent"] == 0
    assert len(field.sent_to(who)) == 1


def test_connections_cut_in_the_middle_let_nobody_send_twice(field: Field, chance: random.Random) -> None:
    counts: Counter[str] = Counter()
    for number in range(4):
        who = [{"account": f"CUT-{number}"}]
        field.rivals.ready(who)
        before = field.cutter.cuts
        field.rivals.go()
        for _ in range(3):
            time.sleep(chance.uniform(0, 0.05))  # the instant of the cut: chance, no wait for anything
            field.cutter.cut()
        counts += field.reckon(who, [rival.answer() for rival in field.rivals.each])
        assert field.cutter.cuts > before
    print(f"strict cap, connections cut: {dict(counts)}")


def test_two_customers_who_become_one_in_the_middle_never_have_more_than_one_grant_as_one(
    field: Field, chance: random.Random
) -> None:
    counts: Counter[str] = Counter()
    for number in range(6):
        who = [{"account": f"MERGED-{number}"}, {"cookie": f"merged-{number}"}]
        field.rivals.ready(who)
        field.rivals.go()
        time.sleep(chance.uniform(0, 0.1))  # the instant of the link: chance
        with calling(field.hub.address, field.keys["chat"]) as chat:
            names = [f"{kind}={value}" for each in who for kind, value in each.items()]
            assert chat.statuses(event("link", *names, kind=LINK)) == ["ACCEPTED"]
        told = [rival.answer() for rival in field.rivals.each]
        # Before the link each of the two may have had one: they were two customers then.
        counts += field.reckon(who, told, at_most=2)
        before = len(field.sent_to(who))
        counts += field.reckon(who, field.rivals.attack(who), at_most=2)
        assert len(field.sent_to(who)) == max(before, min(1, len(field.sent_to(who)))), "as one: one at most"
    print(f"strict cap, merged in the middle: {dict(counts)}")


def test_a_hub_killed_in_the_middle_knows_its_grants_when_it_is_back(field: Field, chance: random.Random) -> None:
    counts: Counter[str] = Counter()
    for number in range(3):
        who = [{"account": f"HUB-{number}"}]
        field.rivals.ready(who)
        field.rivals.go()
        time.sleep(chance.uniform(0, 0.12))  # the instant of the kill: chance
        field.hub.kill()
        told = [rival.answer() for rival in field.rivals.each]
        field.hub.start()
        counts += field.reckon(who, told)
        eventually(lambda name=f"HUB-{number}": _asked(field, name), 60)
        counts += field.reckon(who, field.rivals.attack(who, wait=5.0))
    print(f"strict cap, hub killed: {dict(counts)}")


def test_a_hub_that_does_not_answer_costs_the_deadline_and_no_more(field: Field, tmp_path: Path) -> None:
    with wire_cutter(field.hub.port) as cutter:
        touchpoint = segue.Touchpoint(
            "mailer", hub=f"127.0.0.1:{cutter.port}", key=field.keys["mailer"], state=tmp_path / "mailer"
        )

        @touchpoint.decision("upsell", default=None, record="never")
        def upsell(c: segue.Context) -> segue.Action:
            return segue.Action("offer.upsell", topic="bandwidth", purpose="marketing")

        waits = []
        with touchpoint.session(account="SILENT", wait=5) as session:
            cutter.hold(flows=False)
            for _ in range(60):
                decision = session.decide(upsell)
                began = time.perf_counter()
                with pytest.raises(segue.HeldBack, match="HUB_UNREACHABLE"), decision.act():
                    pytest.fail("nobody could be asked")
                waits.append((time.perf_counter() - began) * 1000)
            cutter.hold(flows=True)
        touchpoint.close()
    waits.sort()
    print(f"act() refused by a silent hub: {_spread(waits)}")
    assert waits[0] < 175
    assert waits[-1] < 2_000, "two cores are shared with whatever else is tested; the figure is what is printed"


def test_control_an_optimistic_cap_sends_too_many_under_the_same_attack(tmp_path: Path) -> None:
    made = Field(tmp_path / "field", "optimistic", 8)
    try:
        most = 0
        for number in range(4):
            who = [{"account": f"CONTROL-{number}"}]
            made.rivals.attack(who)
            most = max(most, len(made.sent_to(who)))
        print(f"optimistic cap, 8 processes at once: {most} sent where 1 is allowed")
        assert 1 < most <= 8, "at most one for each process that decides before it hears of another's"
    finally:
        made.close()


def test_control_two_grants_at_a_time_are_found() -> None:
    def granted(position: int, number: int, *names: str) -> tuple[int, Fact]:
        return position, event(
            "offer.upsell", *names, kind=RESERVATION, id_=bytes([number] * 16), status="granted", slots=["x"]
        )

    one, two = granted(1, 1, "account=A"), granted(3, 2, "account=A")
    given_back = (2, event("offer.upsell", "account=A", kind=RESERVATION, status="released", reservation="01" * 16))
    linked = (2, event("link", "account=A", "cookie=c", kind=LINK))
    assert most_standing([one, two]) == 2
    assert most_standing([one, given_back, two]) == 1
    assert most_standing([one, linked, granted(3, 2, "cookie=c")]) == 2
    assert most_standing([one, granted(2, 2, "cookie=c"), (3, linked[1])]) == 1


def _others(field: Field, who: list[dict[str, str]]) -> list[dict[str, Any]]:
    others = field.rivals.each[1:]
    for rival in others:
        rival.order(who=who[0])
    return [rival.answer() for rival in others]


def _standing_still(field: Field, account: str) -> tuple[Rival, list[dict[str, str]]]:
    """A rival that was granted a place and stands still before it sends, and on whom."""
    first = field.rivals.each[0]
    for number in range(50):
        who = {"account": f"{account}-{number}"}
        first.order(who=who, stalls=True)
        if first.answer()["outcome"] == "granted":
            return first, [who]
    pytest.fail("nobody was granted a place of fifty: the hub does not answer within the deadline")


def _expired(field: Field, who: list[dict[str, str]]) -> None:
    """Waits until the reservation on a customer has run out."""
    name = Identifier("account", who[0]["account"])
    expires_at = max(
        f.properties["expires_at"]
        for _, f in field.log()
        if f.kind == RESERVATION and f.properties["status"] == "granted" and name in f.identifiers
    )
    assert expires_at - now() <= HOLD
    eventually(lambda: now() > expires_at, HOLD / 1e6 + 5)


def _asked(field: Field, account: str) -> bool:
    """Whether every rival hears the hub again."""
    for rival in field.rivals.each:
        rival.order(who={"account": f"{account}-back-{rival.name}"}, wait=5.0)
    told = [rival.answer() for rival in field.rivals.each]  # of all: an answer left behind would be taken for the next
    return all("HUB_UNREACHABLE" not in answer.get("reason", "") for answer in told)


def _spread(waits: list[float]) -> str:
    if not waits:
        return "nobody asked"
    found = sorted(waits)
    return (
        f"{statistics.median(found):.0f} ms (median), {found[int(len(found) * 0.99)]:.0f} ms (p99),"
        f" {found[-1]:.0f} ms (longest) of {len(found)}"
    )
