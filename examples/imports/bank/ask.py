"""`python -m examples.imports.bank.ask`: `ivr.route`, asked at every call that a hub's log holds.

Reads the log of a hub that the calls were imported into (SEGUE_HUB, SEGUE_ADMIN_KEY), customer by customer, and decides
at each `call.started` in this process, on the facts up to and including that one: what the menu would have answered
then, had it been there. With the same plan and facts an SDK answers the same (VE6).
"""

from __future__ import annotations

import argparse
import json
import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator

import grpc
from segue.domain.content import Content
from segue.domain.context import Context
from segue.domain.decision import Question, decide
from segue.domain.fact import Fact
from segue.domain.fold import step
from segue.domain.identifier import Identifier
from segue.domain.plan import Plan
from segue.domain.projection import Projected
from segue.v1 import admin_service_pb2, admin_service_pb2_grpc, plan_service_pb2, plan_service_pb2_grpc
from segue.wire import fact_from_wire

from .route import MENU, route

ROUTE = Question("ivr.route", route, default=MENU)
ASKED_AT = "call.started"


class Hub:
    """A hub, asked by an admin."""

    def __init__(self, address: str, key: str) -> None:
        self._channel = grpc.insecure_channel(address)
        self._metadata = [("authorization", f"Bearer {key}")]

    def plan(self) -> Plan:
        """The plan in force."""
        stub = plan_service_pb2_grpc.PlanServiceStub(self._channel)
        found = stub.GetPlan(plan_service_pb2.GetPlanRequest(), metadata=self._metadata, timeout=60)
        return Plan(json.loads(found.document))

    def log(self) -> Iterator[Fact]:
        """Every fact, in the order in which the hub took them in, up to the last one there is now."""
        stub = admin_service_pb2_grpc.AdminServiceStub(self._channel)
        status = stub.GetStatus(admin_service_pb2.GetStatusRequest(), metadata=self._metadata, timeout=60)
        last = json.loads(status.document)["position"]
        if not last:
            return
        tail = stub.TailFacts(admin_service_pb2.TailFactsRequest(after=-1), metadata=self._metadata)
        for response in tail:
            if response.HasField("fact"):
                yield fact_from_wire(response.fact)
            if response.position >= last:
                tail.cancel()
                return

    def close(self) -> None:
        """Hangs up."""
        self._channel.close()


def by_customer(facts: Iterable[Fact]) -> list[list[Fact]]:
    """The facts of each customer, in their order: identifiers named together are one customer's."""
    parents: dict[Identifier, Identifier] = {}

    def root(identifier: Identifier) -> Identifier:
        while parents.setdefault(identifier, identifier) != identifier:
            identifier = parents[identifier]
        return identifier

    found = list(facts)
    for fact in found:
        first = root(fact.identifiers[0])
        for other in fact.identifiers[1:]:
            parents[root(other)] = first
    customers: defaultdict[Identifier, list[Fact]] = defaultdict(list)
    for fact in found:
        customers[root(fact.identifiers[0])].append(fact)
    return [sorted(customer, key=lambda fact: fact.order) for customer in customers.values()]


def routes(plan: Plan, facts: Iterable[Fact]) -> Iterator[tuple[str, str]]:
    """One customer's calls with what each was answered.

    Args:
        plan: in force.
        facts: of the customer, in their order.
    """
    content = Content()
    for fact in facts:
        step(content, plan, fact)
        if fact.type == ASKED_AT and fact.interaction is not None:
            context = Context(Projected(content), plan, fact.occurred_at)
            yield fact.interaction.id, str(decide(ROUTE, context).value)


def main() -> None:
    """Prints how often each route was taken; with --json the calls of each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="the ids of the calls, by route")
    asked = parser.parse_args()
    hub = Hub(os.environ.get("SEGUE_HUB", "127.0.0.1:7171"), os.environ.get("SEGUE_ADMIN_KEY", ""))
    plan = hub.plan()
    answered = [answer for facts in by_customer(hub.log()) for answer in routes(plan, facts)]
    hub.close()
    if asked.json:
        calls: defaultdict[str, list[str]] = defaultdict(list)
        for call, answer in answered:
            calls[answer].append(call)
        print(json.dumps({answer: sorted(found) for answer, found in sorted(calls.items())}))
        return
    counts = Counter(answer for _, answer in answered)
    print(f"{ROUTE.name} was asked at {len(answered)} calls")
    for answer, count in counts.most_common():
        print(f"{count:>8}  {answer}")


if __name__ == "__main__":
    main()
