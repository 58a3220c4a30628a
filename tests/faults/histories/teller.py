"""A teller: tells facts in batches by the bare protocol, and tells again what it has no answer for.

Owns what is told: numbered notes of lists, some of them late, of which some come again long after; links, statements
and notes of people; incidents; errands with deadlines.
"""

from __future__ import annotations

from typing import Any

from segue.domain.fact import LINK, STATEMENTS, Fact, derived_id
from segue.domain.incident import incident_fact
from segue.v1 import event_service_pb2
from segue.wire import fact_to_wire

from tests.calling import event, now
from tests.faults.histories.client import PATIENCE, Client
from tests.faults.histories.plans import HOLDERS, LATER, LISTS, PEOPLE, STALLS

LEAD = 1_500_000
"""Microseconds from the telling of an errand to its deadline, at least."""


class Teller(Client):
    """One of them.

    Attributes:
        offered: every fact by id.
        acknowledged: ids that were answered ACCEPTED or DUPLICATE, with when that was (monotonic).
        again: ids that were answered ACCEPTED though they were acknowledged before.
        rejected: what was refused for good, with the code.
        deadlines: of errands, by name.
    """

    def __init__(self, *arguments: Any, errands: bool = False, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self.offered: dict[bytes, Fact] = {}
        self.acknowledged: dict[bytes, float] = {}
        self.again: list[bytes] = []
        self.rejected: list[tuple[bytes, str]] = []
        self.deadlines: dict[str, tuple[bytes, int]] = {}
        self._errands = errands
        self._batch: list[Fact] = []
        self._number = 0

    def act(self) -> None:
        if not self._batch:
            self._batch = self._next()
        with self.history.operation(self.name, "publish", ids=[fact.id.hex() for fact in self._batch]) as done:
            request = event_service_pb2.PublishEventsRequest(facts=[fact_to_wire(fact) for fact in self._batch])
            line = self.line()
            response = line.events.PublishEvents(request, timeout=PATIENCE, metadata=line.metadata)
            names = event_service_pb2.FactStatus.Name
            statuses = [names(r.status).removeprefix("FACT_STATUS_") for r in response.results]
            done.answer = {"statuses": statuses, "codes": [r.code for r in response.results]}
        if not self.settled(done):
            return
        for fact, status, code in zip(self._batch, done.answer["statuses"], done.answer["codes"], strict=True):
            if status == "REJECTED":
                self.rejected.append((fact.id, code))
                continue
            if status == "ACCEPTED" and fact.id in self.acknowledged:
                self.again.append(fact.id)
            self.acknowledged.setdefault(fact.id, done.ended)
        self._batch = []

    def rest(self) -> None:
        """What has no answer yet is told until it has one."""
        self.stopping.clear()
        for _ in range(300):
            if not self._batch:
                break
            self.act()
        self.stopping.set()

    def _next(self) -> list[Fact]:
        batch = [self._one() for _ in range(self.chance.choice([1, 1, 3, 10]))]
        for fact in batch:
            self.offered[fact.id] = fact
        if self.acknowledged and self.chance.random() < 0.2:
            batch += [self.offered[id_] for id_ in self.chance.sample([*self.acknowledged], 1)]
        if len(batch) > 1 and self.chance.random() < 0.1:
            batch.append(batch[0])  # the same, twice in one batch
        return batch

    def _one(self) -> Fact:
        sort = self.chance.random()
        self._number += 1
        if self._errands and sort < 0.3:
            name = f"T-{self.name}-{self._number}"
            deadline = now() + LEAD + self.chance.randrange(1_500_000)
            made = event("began", f"account={name}", at=deadline - STALLS, channel="web", number=name)
            self.deadlines[name] = made.id, deadline
            return made
        if sort < 0.6:
            late = self.chance.choice([0, 0, 0, 10**5, 10**8])
            return event("noted", self.chance.choice(LISTS), at=now() - late, channel="web", number=self._number)
        if sort < 0.64:
            state = self.chance.choice(["opened", "opened", "fixed"])
            native = derived_id(now(), self.name, str(self._number))
            return incident_fact(native, f"I-{self.chance.randrange(3)}", state, now(), self._number, title="t")
        if sort < 0.68:
            return event("link", *self.chance.sample(HOLDERS, 2), kind=LINK, channel="web")
        return self._of_people()

    def _of_people(self) -> Fact:
        at = now() - self.chance.choice([0, 0, 10**8])
        said = [f for f in self.offered.values() if len(f.identifiers) > 1 and str(f.identifiers[0]) in PEOPLE]
        if said and self.chance.random() < 0.4:
            of = self.chance.choice(said)
            kind = "retraction" if of.kind in STATEMENTS else self.chance.choice(STATEMENTS)
            properties = {"fact": of.id.hex()} if kind == "retraction" else {}
            pair = [str(name) for name in of.identifiers[:2]]
            return event(kind, *pair, kind=kind, at=max(at, of.occurred_at), channel="web", **properties)
        names = self.chance.sample(PEOPLE, self.chance.choice([1, 2, 2, 3]))
        if self.chance.random() < 0.05:
            names = [f"account=B-{self.chance.randrange(3)}", LATER]
        return event("noted", *names, at=at, channel="web", number=self._number)
