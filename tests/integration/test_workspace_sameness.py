"""Sameness through the real hub, with workspace facts (laws 1 and 2, FA5): content is a function of three sets.

Random customers' facts and incidents that maps read are shuffled together, duplicated, and published at once to hubs on
memory and on SQLite, with all contexts live and with only two. Whatever came first, every content has the bytes of one
fold with the incidents that are known in the end; so have those of customers of earlier examples, whose past changed.
"""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from hypothesis import given
from hypothesis import strategies as st
from segue.domain.fact import Fact
from segue.domain.fold import fold
from segue.domain.grant import everything
from segue.domain.identifier import Identifier
from segue.domain.incident import FIXED, OPENED
from segue.domain.plan import Plan
from segue.domain.section import encode
from segue.wire import fact_from_bytes, fact_to_bytes
from segue_hub.testing import RunningHub, run_hub

from tests.building import BEGIN, HOUR, document, fact, incident, workspace
from tests.unit.logs import law

SKETCH = {
    "maps": {
        "upload": {
            "starts": 'event.type == "started" && !incident("A").open', "key": "event.properties.n",
            "stages": {"late": {"reached": 'event.type == "step" && incident("B").opened_at > last("started")'}},
            "reaches_goal": 'event.type == "done" && !incident("A").open', "fails": 'event.type == "done"',
            "abandons": {"after": "6h"},
        },
        "calm": {"starts": 'event.type == "started"', "reaches_goal": 'event.type == "done"'},
    },
    "audiences": {"told": {"when": 'incident("C").open'}},
}  # fmt: skip
PLAN = Plan(document(SKETCH))
_examples = itertools.count(1)
hours = st.integers(0, 12).map(lambda hour: BEGIN + hour * HOUR)


@pytest.fixture(scope="module")
def hubs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, RunningHub]]:
    folder = tmp_path_factory.mktemp("workspace")
    with ExitStack() as stack:
        made = {
            "memory, live": (None, 100_000), "memory, evicted": (None, 2), "sqlite, evicted": (folder / "few.db", 2)
        }  # fmt: skip
        found = {}
        for label, (store, heads) in made.items():
            running = found[label] = stack.enter_context(run_hub(store=store))
            running.hub.contexts._limit = heads
            running.call(running.hub.plans.push(document(SKETCH), {}, "test", ""))
        yield found


class Told:
    """All that the hubs were told so far."""

    def __init__(self) -> None:
        self.incidents: list[Fact] = []
        self.customers: dict[Identifier, list[Fact]] = {}


@pytest.fixture(scope="module")
def told() -> Told:
    return Told()


@st.composite
def happenings(draw: st.DrawFn) -> list[tuple[str, int, str]]:
    return draw(
        st.lists(st.tuples(st.sampled_from(["started", "step", "done"]), hours, st.sampled_from("12")), max_size=8)
    )


tellings = st.lists(
    st.tuples(st.sampled_from("ABC"), st.sampled_from([OPENED, FIXED]), hours, st.integers(0, 2)), max_size=5
)


def publish(running: RunningHub, facts: list[Fact], chance: random.Random) -> None:
    """All at once, each sort in batches, so that they meet in the hub as they like."""
    hub, grant = running.hub, everything("test")
    batches = []
    while facts:
        size = chance.choice((1, 1, 2, 5))
        batches.append([fact_from_bytes(fact_to_bytes(each)) for each in facts[:size]])
        facts = facts[size:]

    async def send() -> list[str]:
        calls = [
            (hub.ingest if sort else hub.workspace).publish([f for f in batch if bool(f.identifiers) is sort], grant)
            for batch in batches
            for sort in (True, False)
        ]
        return [result.status for results in await asyncio.gather(*calls) for result in results]

    assert set(running.call(send())) <= {"ACCEPTED", "DUPLICATE"}


def contents(running: RunningHub, names: list[Identifier]) -> list[bytes]:
    contexts = running.hub.contexts

    async def read() -> list[bytes]:
        found = [contexts.find(name) for name in names]
        return [encode(contexts.read(known.customer).content, PLAN) for known in found if known is not None]

    answer: list[bytes] = running.call(read())
    return answer


@law(40)
@given(st.lists(happenings(), min_size=1, max_size=3), tellings, st.integers(0, 1 << 32))
def test_content_depends_on_what_is_known_and_not_on_when_it_was_told(
    hubs: dict[str, RunningHub], told: Told, people: list[list[tuple[str, int, str]]],
    drawn: list[tuple[str, str, int, int]], seed: int,
) -> None:  # fmt: skip
    example, chance = next(_examples), random.Random(seed)
    facts: list[Fact] = []
    for number, happened in enumerate(people):
        name = Identifier("account", f"{example}-{number}")
        own = [fact(t, at, str(name), seq=n, n=key, touchpoint="test") for n, (t, at, key) in enumerate(happened)]
        if own:
            told.customers[name] = own
        facts += own
    news = [incident(id_, state, at, seq=seq, title=str(example)) for id_, state, at, seq in drawn]
    for each in news:
        each.touchpoint = "test"
    told.incidents += news
    arrived = facts + news + chance.sample(facts, len(facts) // 2) + news[:2]
    chance.shuffle(arrived)
    plan = PLAN.on(workspace(*told.incidents))
    # The newest and some of long before: an incident may have changed their past.
    names = list(told.customers)[-3:] + chance.sample(list(told.customers), min(4, len(told.customers)))
    wanted = [encode(fold(plan, told.customers[name]), plan) for name in names]
    for label, running in hubs.items():
        publish(running, arrived, chance)
        assert running.hub.plans.current.workspace == plan.workspace, label
        assert contents(running, names) == wanted, label


def test_the_examples_above_did_change_the_past(hubs: dict[str, RunningHub], told: Told) -> None:
    """The law would hold where nothing ever reads an incident: here contents differ with and without."""
    if not told.customers:
        pytest.skip("the law did not run in this process")
    plan = PLAN.on(workspace(*told.incidents))
    differ = [f for f in told.customers.values() if encode(fold(plan, f), plan) != encode(fold(PLAN, f), PLAN)]
    assert len(differ) > len(told.customers) // 4
    for label, running in hubs.items():
        assert list(running.hub.store.check()) == [], label
        assert len(running.hub.store.workspace_facts()) == len({fact.id for fact in told.incidents}), label
