"""Between replayed moments and the wire: what a hub streams, as what a question can be asked again on.

Owns the plans and workspaces of one replay: each comes once, is compiled once, and serves all moments that name it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

from .domain.decision_fact import Basis, basis_from
from .domain.fact import DECISION
from .domain.freshness import FRESH, MISSING, Freshness
from .domain.plan import Plan
from .domain.projection import NOBODY, Origin, Projected, receive, without_plan
from .domain.replay import Moment
from .domain.workspace import QUIET, Workspace, workspace_of
from .v1 import replay_service_pb2 as pb
from .wire import fact_from_wire, sections_from_wire

READY: Final = 64
"""Plans with a workspace kept ready."""


@dataclass(frozen=True, slots=True)
class Asked:
    """Which moments are asked for. Proto: `segue.v1.ReplayRequest`. Instants in microseconds."""

    decision: str = ""
    kind: str = ""
    type: str = ""
    since: int = 0
    until: int = 0
    purpose: str = ""
    plan: str = ""

    def to_wire(self) -> pb.ReplayRequest:
        """The request."""
        ask_at = pb.FactName(kind=self.kind, type=self.type) if self.type else None
        return pb.ReplayRequest(
            decision=self.decision, ask_at=ask_at, since=self.since, until=self.until, purpose=self.purpose,
            plan=self.plan,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the hub is: of the log, while `looking` is False; then of the leaves that have something to look at."""

    looking: bool
    done: int
    of: int


class Reader:
    """Reads one replay.

    Attributes:
        touchpoint: whose key was used.
        channel: of the touchpoint.
    """

    def __init__(self) -> None:
        self.touchpoint = ""
        self.channel = ""
        self._plans: dict[str, Plan] = {}
        self._workspaces: dict[str, Workspace] = {"": QUIET}
        self._ready: dict[tuple[str, str], Plan] = {}

    def read(self, response: pb.ReplayResponse) -> tuple[Progress, Iterator[Moment]]:
        """How far the hub is, and the moments of a batch, in their order.

        Raises:
            PlanError: a plan cannot be compiled here.
        """
        self.touchpoint = self.touchpoint or response.touchpoint
        self.channel = self.channel or response.channel
        for told in response.workspaces:
            self._workspaces[told.digest] = workspace_of(json.loads(told.document))
        for update in response.plans:
            self._plans[update.digest] = Plan(json.loads(update.document))
        progress = Progress(bool(response.leaves), response.done, response.leaves or response.positions)
        return progress, map(self._moment, response.moments)

    def _moment(self, message: pb.ReplayMoment) -> Moment:
        fact = fact_from_wire(message.fact)
        if message.gap:
            return Moment(fact, message.customer, message.at, gap=message.gap)
        basis, freshness, channel, touchpoint = Basis(message.version), FRESH, self.channel, self.touchpoint
        if fact.kind == DECISION:
            details, basis = fact.properties, basis_from(fact.properties)
            freshness = Freshness(str(details.get("freshness", MISSING)), int(details.get("age_us", 0)))
            channel, touchpoint = fact.channel, fact.touchpoint
        return Moment(
            fact, message.customer, message.at, self._plan(message.plan, message.workspace),
            self._projected(message, basis), tuple([fact_from_wire(own) for own in message.overlay]), freshness,
            message.version, channel, touchpoint, basis, "", message.late, message.merged_late, message.narrowed,
        )  # fmt: skip

    def _plan(self, digest: str, workspace: str) -> Plan:
        """A plan with its workspace; the same object for the same."""
        found = self._ready.get((digest, workspace))
        if found is None:
            if len(self._ready) >= READY:
                self._ready.clear()
            found = self._plans[digest].on(self._workspaces[workspace])
            self._ready[digest, workspace] = found
        return found

    def _projected(self, message: pb.ReplayMoment, basis: Basis) -> Projected:
        if not message.sections:
            return NOBODY
        received = receive(sections_from_wire(message.sections))
        origin = Origin(basis.hub, basis.version, basis.folded or message.plan, not basis.unreadable)
        return replace(without_plan(received) if basis.unreadable else received, origin=origin)
