"""What must hold, in every history (the promises of the house): checked all along, and once all is quiet.

Owns `Invariants`. It looks at what clients were told and at what the disk holds, reckons the rest by the plainest means
(the pure rules on the whole log), and collects anomalies in words; none means that the history holds.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from functools import cache
from typing import Any

from segue.domain.derivation import derive
from segue.domain.fact import RESERVATION, STATEMENTS, Fact
from segue.domain.fold import fold
from segue.domain.identifier import Identifier, parse_identifier
from segue.domain.identity import customer_of
from segue.domain.plan import Plan
from segue.domain.section import encode
from segue.v1 import event_service_pb2 as events_pb
from segue.wire import fact_from_bytes

from tests import watch_checks
from tests.simulation.actors import PEOPLE
from tests.simulation.plans import LIMIT, WINDOW, kinds


class Invariants:
    """One history's anomalies.

    Attributes:
        acknowledged, refused: ids of facts that a client was told are kept, or will never be.
        wrong: what does not hold.
    """

    def __init__(self, world: Any) -> None:
        self.world = world
        self.acknowledged: set[bytes] = set()
        self.refused: set[bytes] = set()
        self.wrong: list[str] = []
        self.counts: Counter[str] = Counter()

    def say(self, text: str) -> None:
        """Notes an anomaly."""
        if len(self.wrong) < 20:
            self.wrong.append(f"{self.world.loop.time():.3f} s: {text}")

    # -- all along -----------------------------------------------------------------------------------------------------

    def answered(self, path: str, request: Any, answer: Any) -> None:
        """A client got an answer: what was acknowledged is on the disk."""
        if not path.endswith("/PublishEvents"):
            return
        for message, result in zip(request.facts, answer.results, strict=True):
            if result.status == events_pb.FACT_STATUS_REJECTED:
                self.refused.add(message.id)
                self.counts[f"rejected {result.code}"] += 1
            else:
                self.acknowledged.add(message.id)
                if not self.world.disk.find([message.id]):
                    self.say(f"acknowledged and not on disk: {message.id.hex()}")

    def survived(self) -> None:
        """A hub starts again: whatever was acknowledged before is there."""
        gone = self.acknowledged - self.world.disk.find(list(self.acknowledged)).keys()
        if gone:
            self.say(f"{len(gone)} acknowledged facts are lost")
            self.acknowledged -= gone

    def balanced(self, machine: Any) -> None:
        """kept + delivered + reported lost = offered, at a touchpoint, after every round of its worker."""
        outbox = machine.runtime.outbox
        lost, kept = sum(outbox.losses.values()), outbox.waiting + outbox.unjournalled
        if kept + outbox.delivered + lost != outbox.offered:
            self.say(f"{machine.name}: kept {kept} + delivered {outbox.delivered} + lost {lost} != {outbox.offered}")
        if outbox.offered != machine.expected and not outbox.trouble:
            self.say(f"{machine.name}: the host told {machine.expected}, the outbox counts {outbox.offered}")

    def heard(self, machine: Any, message: Any) -> None:
        """An SDK took a message in: what it shows is never older than what it showed."""
        if message.WhichOneof("body") == "context" and message.context.HasField("context"):
            context = message.context.context
            self.world.note(
                machine.name, f"sees {message.context.subscription} at {context.version} {context.customer}"
            )

    # -- once all is quiet ---------------------------------------------------------------------------------------------

    def quiet(self) -> None:
        """Everything that can be said of a whole history."""
        log = [(position, fact_from_bytes(row.body)) for position, (_, row) in sorted(self.world.disk._rows.items())]
        self.counts["facts"] = len(log)
        self.survived()
        self._once(log)
        log = list({fact.id: (position, fact) for position, fact in reversed(log)}.values())[::-1]  # the first of each
        self._nothing_lost(log)
        whose = self._whose(log)
        self._watched(whose)
        self._folded(log)
        self._replicas()
        self._capped(log)
        self._told()
        self._booked(log)
        self.wrong += [f"the store says: {fault}" for fault in self.world.disk.check()]
        self.wrong += [f"nobody looked at: {fault}" for fault in self.world.loop.faults]

    def _once(self, log: list[tuple[int, Fact]]) -> None:
        twice = [id_ for id_, count in Counter(fact.id for _, fact in log).items() if count > 1]
        if twice:
            self.say(f"{len(twice)} facts are counted twice")

    def _nothing_lost(self, log: list[tuple[int, Fact]]) -> None:
        there = {fact.id for _, fact in log}
        for machine in self.world.sdks:
            outbox = machine.runtime.outbox
            if outbox.unjournalled or outbox.waiting:
                self.say(f"{machine.name}: {outbox.waiting} facts still wait, {outbox.unjournalled} in memory")
            journalled = machine.kept | machine.journalled()
            gone = journalled - there - self.refused - machine.refused()
            if gone:
                self.say(f"{machine.name}: {len(gone)} journalled facts are nowhere: {sorted(gone)[0].hex()}")

    def _booked(self, log: list[tuple[int, Fact]]) -> None:
        """The hub's own books: what it says arrived did; no gap stays that nobody answers for."""
        books = self.world.hub.hub.ingest.sequences.plain()["touchpoints"]
        for machine in self.world.sdks:
            told = books.get(machine.name, {"arrived": 0, "missing": 0})
            here = sum(fact.touchpoint == machine.name for _, fact in log)
            refused = len(self.refused & self.world.authored[machine.name])
            if told["arrived"] != here + refused:
                self.say(f"{machine.name}: the books say {told['arrived']} arrived, the log has {here} + {refused}")
            if told["missing"]:
                self.say(f"{machine.name}: the books still miss {told['missing']}")

    def _whose(self, log: list[tuple[int, Fact]]) -> Any:
        ends = [end for end in self.world.disk.ends if end]
        rows = dict(log)

        @cache
        def known(identifier: Identifier, end: int) -> list[tuple[int, Fact]]:
            facts = [fact for position, fact in rows.items() if position <= end]
            hers, _ = customer_of(kinds(), facts, identifier)
            ids = {fact.id for fact in hers if fact.kind not in STATEMENTS}
            return [(position, fact) for position, fact in rows.items() if fact.id in ids]

        def whose(identifier: Identifier, through: int) -> list[Fact]:
            end = next((end for end in ends if end >= through), through)  # who is one is known unit by unit
            return [fact for position, fact in known(identifier, end) if position <= through]

        return whose

    def _watched(self, whose: Any) -> None:
        """The six checks on every stream of the watcher; the last one was heard to the end."""
        watcher, truth = self.world.watcher, self.world.truth()
        for history in watcher.histories:
            if not history.messages:
                continue
            last = history is watcher.histories[-1]
            wrong = watch_checks.ordered(history) + watch_checks.unique(history)
            wrong += watch_checks.atomic(history, [], whose)
            if last:
                wrong += watch_checks.reliable(history, truth) + watch_checks.resumable(history, truth)
                wrong += watch_checks.bookmarked(history)
            self.counts["frames"] += len(history.frames())
            for text in wrong:
                self.say(f"a watcher: {text}")
        self.counts["streams"] += len(watcher.histories)

    def _folded(self, log: list[tuple[int, Fact]]) -> None:
        """What the hub holds of everybody is the fold of the set of her facts, by the pure rules alone."""
        hub = self.world.hub.hub
        plan: Plan = hub.plans.current
        facts = [fact for _, fact in log]
        for name in PEOPLE:
            identifier = parse_identifier(name)
            known = hub.contexts.find(identifier)
            if known is None:
                continue
            hers, holding = customer_of(plan.kinds, facts, identifier)
            content = fold(plan, hers, holding)
            if encode(hub.contexts.read(known.customer).content, plan) != encode(content, plan):
                self.say(f"what the hub holds of {name} is not the fold of her facts")

    def _replicas(self) -> None:
        """What every touchpoint holds is what the hub has, and no own fact is shown that the hub has taken."""
        hub = self.world.hub.hub
        for machine in self.world.sdks:
            for held in machine.runtime.machine.replica.all():
                known = hub.contexts.find(held.identifier)
                version = hub.contexts.version(hub.contexts.read(known.customer)) if known is not None else 0
                if held.version != version:
                    self.say(f"{machine.name} holds {held.identifier} at {held.version}, the hub is at {version}")
                if held.pending:
                    self.say(f"{machine.name} still shows {len(held.pending)} own facts of {held.identifier}")

    def _capped(self, log: list[tuple[int, Fact]]) -> None:
        """For the customer known at each new grant, never more stand within the window than the cap allows."""
        given_back = {f.properties["reservation"] for _, f in log if f.properties.get("status") == "released"}
        granted = [
            (position, fact) for position, fact in log
            if fact.kind == RESERVATION and fact.properties["status"] == "granted" and fact.id.hex() not in given_back
        ]  # fmt: skip
        self.counts["grants"] += len(granted)
        for position, fact in granted:
            until = [other for place, other in log if place <= position]
            hers = {other.id for other in customer_of(kinds(), until, fact.identifiers[0])[0]}
            since = fact.occurred_at - WINDOW
            mine = [f for p, f in granted if p <= position and f.id in hers and f.occurred_at > since]
            if len(mine) > LIMIT:
                self.say(f"{len(mine)} grants stand for {fact.identifiers[0]} at position {position}")
        known = {fact.id for _, fact in granted}
        for rival in self.world.rivals:
            for sent in rival.sent:
                if sent.reservation not in known:
                    self.say(f"{rival.name} sent to {sent.who} under a place that nobody holds for it")
            self.counts["sent"] += len(rival.sent)

    def _told(self) -> None:
        """Each change of the audience was told once, in order, never early; and nobody's is missing at the end."""
        watcher = self.world.watcher
        self.wrong += watcher.again
        inside: dict[str, bool] = defaultdict(bool)
        told_at: dict[str, int] = defaultdict(int)
        for number in sorted(watcher.tellings):
            customer, left, at = watcher.tellings[number]
            told_at[customer] = max(told_at[customer], at)
            if inside[customer] == (not left):
                self.say(f"telling {number} of {customer} ({'left' if left else 'joined'}) changes nothing")
            inside[customer] = not left
            if at > watcher.heard_at[number]:
                self.say(f"telling {number} came {at - watcher.heard_at[number]} us early")
        self.counts["tellings"] += len(watcher.tellings)
        hub = self.world.hub.hub
        plan, now = hub.plans.current, hub.clock()
        wanted, moving = set(), set()
        for customer in hub.contexts.customers():
            content, name = hub.contexts.read(customer).content, self.world.opaque(customer)
            by = max(now, told_at[name])  # a clock that was set back does not take back what it told
            if derive(content, plan, by - 1_000_000, ["stuck"]).flips_at <= by:
                moving.add(name)  # what fell due this very second may be on its way
            if derive(content, plan, by, ["stuck"]).audiences["stuck"] and hub.contexts.facts(customer):
                wanted.add(name)
        found = {customer for customer, is_inside in inside.items() if is_inside}
        if found - moving != wanted - moving:
            self.say(f"members by what was told: {sorted(found)}, by the rules: {sorted(wanted)}")
