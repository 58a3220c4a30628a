"""What changes for everybody changes at its place in the log: no version passes an older fact that is not folded yet.

A plan and an incident raise the version of every context. The steps are put in the order that did the harm: a fact is
committed and its fold is held, then the plan or the incident is told.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Sequence
from typing import Any

from segue.domain.grant import everything
from segue.domain.identifier import Identifier
from segue.domain.incident import OPENED, incident_fact
from segue.v1 import sync_pb2
from segue_hub.app import Hub
from segue_hub.services.entry import Entry
from segue_hub.services.ingest import Ingest
from segue_hub.testing import run_hub

from tests.building import MINUTE, SKETCH, document, incident
from tests.calling import calling, event, now
from tests.linking import Telling
from tests.restarting import Restarting, restarting
from tests.streaming import streaming
from tests.watch_checks import sections

ANN = Identifier("account", "A-1")
CALM = {"calm": {"when": 'seen("web") && !incident("IOS-1").open'}}
READS = document({**SKETCH, "audiences": SKETCH["audiences"] | CALM})
FILES = {
    "audiences.yaml": 'calm: {when: \'seen("browsed") && !incident("IOS-1").open\'}',
    "touchpoints.yaml": """
mail: {channel: email, writes: [browsed], reads: {service: [activity, audiences, identity]}}
ops: {channel: web, writes: ["incident:*"], reads: {}}
""",
}


async def an_incident(hub: Restarting) -> None:
    (result,) = await hub.hub.workspace.publish([incident("IOS-1", OPENED, "1h")], everything("ops"))
    assert result.status == "ACCEPTED"


def hold_folds(ingest: Ingest, go: threading.Event) -> threading.Event:
    """From now on a unit that was written is folded once it may go; says when one waits."""
    waits, fold = threading.Event(), ingest._fold

    async def held(written: Any) -> None:
        waits.set()
        while not go.is_set():  # noqa: ASYNC110  # set from another thread
            await asyncio.sleep(0)
        await fold(written)

    ingest._fold = held  # type: ignore[method-assign]
    return waits


async def turns(hub: Hub) -> None:
    """All that may happen without that fold happens: what was asked for is written, if it may be, and told."""
    for _ in range(50):
        await asyncio.sleep(0)
    await asyncio.get_running_loop().run_in_executor(hub.ingest._writer, lambda: None)
    for _ in range(50):
        await asyncio.sleep(0)


def facts_in(frame: sync_pb2.ContextUpdate) -> Any:
    return sections(frame)["envelope"][2]  # type: ignore[index]


def test_no_version_passes_an_older_fact_that_is_not_folded_yet() -> None:
    """Regression: an incident that came while facts before it were being folded raised the version of their customers
    at once; with those facts the content became another one, and the version stayed.
    """
    telling = Telling("older")
    with restarting(READS) as hub:
        hub.publish([[telling.event(MINUTE, ANN)]])

        async def act() -> tuple[int, int, int, int]:
            ingest, go = hub.hub.ingest, threading.Event()
            waits = hold_folds(ingest, go)
            sent = asyncio.create_task(
                ingest.publish([telling.event(2 * MINUTE, ANN)], hub.hub.plans.current.grant("desk"))
            )
            while not waits.is_set():  # noqa: ASYNC110  # a thread's event
                await asyncio.sleep(0)
            told = asyncio.create_task(an_incident(hub))
            await turns(hub.hub)
            early = hub.version(hub.customer(ANN)), hub.content(hub.customer(ANN)).facts
            go.set()
            await asyncio.gather(sent, told)
            return *early, hub.version(hub.customer(ANN)), hub.content(hub.customer(ANN)).facts

        version, facts, version_then, facts_then = hub.run(act())
        assert (facts, facts_then) == (1, 2)
        assert version < version_then == hub.hub.store.head()[0]
        assert list(hub.hub.store.check()) == []


def test_a_fact_that_was_being_folded_while_an_incident_was_told_reaches_who_watches() -> None:
    """Regression: the frame with the incident carried a version that the fact did not raise, so it was never sent."""
    with (
        run_hub(FILES) as hub,
        calling(hub.address, hub.key("mail")) as mail,
        calling(hub.address, hub.key("ops")) as ops,
        streaming(mail, hub=hub) as stream,
    ):
        mail.send(event("browsed", "account=A-1"))
        stream.subscribe(1, "account=A-1")
        stream.frame(1)
        go = threading.Event()
        waits = hold_folds(hub.hub.ingest, go)
        senders = [threading.Thread(target=mail.send, args=(event("browsed", "account=A-1"),))]
        senders[0].start()
        assert waits.wait(10)
        told = incident_fact(event("made", "account=A").id, "IOS-1", OPENED, now(), 0)
        asked, publish = threading.Event(), hub.hub.workspace.publish

        def noted(*given: Any) -> Any:
            asked.set()
            return publish(*given)

        hub.hub.workspace.publish = noted  # type: ignore[method-assign]
        senders.append(threading.Thread(target=ops.send, args=(told,)))
        senders[1].start()
        assert asked.wait(10)
        hub.call(turns(hub.hub))
        go.set()
        for sender in senders:
            sender.join(10)
        stream.frame(1, lambda f: f.context.version == hub.hub.store.head()[0] and facts_in(f) == 2)
        told_of = {f.context.version: facts_in(f) for f in stream.frames(1)}
        assert told_of.items() <= {2: 1, 3: 2, 4: 2}.items()


def test_each_fact_is_folded_by_the_plan_of_its_place_in_the_log() -> None:
    """Facts and plans offered at once, whichever unit and thread each of them meets."""
    telling = Telling("beside")
    with restarting(READS) as hub:
        hub.publish([[telling.event(0, ANN)]])
        seen: list[tuple[int, int]] = []

        async def act() -> None:
            ingest, plans, grant = hub.hub.ingest, hub.hub.plans, hub.hub.plans.current.grant("desk")
            contexts, accepted = hub.hub.contexts, hub.hub.contexts.accepted

            def noted(entries: Sequence[Entry]) -> None:
                seen.extend((entry.position, plans.position) for entry in entries)
                accepted(entries)

            contexts.accepted = noted  # type: ignore[method-assign]
            calls: list[Awaitable[Any]] = []
            for number in range(1, 25):
                facts = [telling.event(number * MINUTE + more, ANN) for more in range(3)]
                calls.append(asyncio.ensure_future(ingest.publish(facts, grant)))
                if number % 3 == 0:
                    document = {**READS, "timeline": number}
                    calls.append(asyncio.ensure_future(plans.push(document, {}, "test", "")))
                for _ in range(number % 4):
                    await asyncio.sleep(0)
            await asyncio.gather(*calls)

        hub.run(act())
        pushed = [stored.position for stored in hub.hub.plans.history]
        assert len(pushed) == 9
        assert seen == [(position, max(p for p in pushed if p < position)) for position, _ in seen]
        assert len(seen) == 72
        assert hub.content(hub.customer(ANN)).facts == 73
        assert hub.version(hub.customer(ANN)) == hub.hub.store.head()[0]
