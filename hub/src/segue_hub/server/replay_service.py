"""ReplayService: moments of the past, streamed to the touchpoint that asks them again.

Owns batching, and that live traffic has its turn in between: a replay works a few milliseconds at a time.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, Final

import grpc
from segue.domain.grant import SERVICE
from segue.domain.instant import NEVER
from segue.domain.plan import Plan, canonical
from segue.domain.workspace import workspace_bytes
from segue.v1 import replay_service_pb2 as pb
from segue.v1 import replay_service_pb2_grpc as rpc
from segue.v1 import sync_pb2
from segue.wire import add_sections, fact_to_wire

from ..services.failure import Refusal
from ..services.hindsight import Asking
from ..services.replays import Lookback, Looked, Replays, Searched, Wanted
from ..services.touchpoints import ADMIN
from .context_service import Projections
from .gate import Gate
from .status import refuse

Context = grpc.aio.ServicerContext[Any, Any]
TURN: Final = 0.003
"""Seconds of work before others get their turn."""
BATCH: Final = 256
"""Moments of one message at most."""
BATCH_BYTES: Final = 512 * 1024
"""Bytes of sections, from which on a message is sent."""
TOLD_EVERY: Final = 0.5
"""Seconds between messages that tell of progress alone."""


class ReplayService(rpc.ReplayServiceServicer):
    """Serves Replay."""

    def __init__(self, replays: Replays, projections: Projections, gate: Gate) -> None:
        self._replays = replays
        self._projections = projections
        self._gate = gate

    async def Replay(  # noqa: N802  # the protocol's own name
        self, request: pb.ReplayRequest, context: Context
    ) -> AsyncIterator[pb.ReplayResponse]:
        """See the proto."""
        replay = None
        try:
            replay = self._replays.begin(_wanted(request), self._touchpoint(context))
            async for response in self._streamed(replay, context):
                yield response
        except Refusal as error:
            await refuse(context, error)
        finally:
            if replay is not None:
                self._replays.end(replay)

    def _touchpoint(self, context: Context) -> str:
        caller = self._gate.caller(context)
        if caller == ADMIN:
            raise Refusal("NOT_GRANTED", "a replay looks through a touchpoint's own eyes: use its key (SEGUE_KEY)")
        return caller

    async def _streamed(self, replay: Lookback, context: Context) -> AsyncIterator[pb.ReplayResponse]:
        now = asyncio.get_running_loop().time
        batch = _Batch(replay, self._projections)
        yield batch.taken()
        turn = told = now()
        for step in replay.walk():
            if isinstance(step, Asking):
                batch.add(step)
            elif isinstance(step, Searched):
                batch.searched = step.position
            elif isinstance(step, Looked):
                batch.done, batch.of = step.done, step.of
            at = now()
            if batch.full or at - told > TOLD_EVERY:
                if not self._gate.still_valid(context):
                    raise Refusal("KEY_INVALID", "this key is not valid any more")
                yield batch.taken()
                self._replays.stepped(replay)
                turn = told = now()
            elif at - turn > TURN:
                await asyncio.sleep(0)
                turn = now()
        yield batch.taken()


def _wanted(request: pb.ReplayRequest) -> Wanted:
    asked = request.ask_at
    return Wanted(
        request.decision, asked.kind, asked.type, request.since, request.until or NEVER, request.purpose or SERVICE,
        request.plan,
    )  # fmt: skip


class _Batch:
    """What the next message tells."""

    def __init__(self, replay: Lookback, projections: Projections) -> None:
        self._replay = replay
        self._projections = projections
        self._shipped: set[str] = set()
        self._response = pb.ReplayResponse(touchpoint=replay.touchpoint, channel=replay.channel)
        self._bytes = 0
        self.searched = 0
        self.done = 0
        self.of = 0

    @property
    def full(self) -> bool:
        """Whether it is to be sent."""
        return len(self._response.moments) >= BATCH or self._bytes >= BATCH_BYTES

    def add(self, asking: Asking) -> None:
        """One more moment, with the plan and workspace that it is read by where they were not told yet."""
        plan = asking.plan
        workspace = plan.workspace.digest if plan.workspace.incidents else ""
        if not asking.gap:
            self._ship(plan, workspace)
        self._bytes += sum(len(section.data) for section in asking.sections) + len(asking.fact.raw)
        moment = self._response.moments.add(
            fact=fact_to_wire(asking.fact), customer=self._projections.opaque(asking.customer), at=asking.at,
            plan=plan.digest, workspace=workspace, version=asking.version,
            overlay=[fact_to_wire(fact) for fact in asking.overlay], gap=asking.gap, late=asking.late,
            merged_late=asking.merged_late, narrowed=asking.narrowed,
        )  # fmt: skip
        add_sections(asking.sections, moment.sections.add)

    def _ship(self, plan: Plan, workspace: str) -> None:
        if plan.digest not in self._shipped:
            self._shipped.add(plan.digest)
            document = canonical(plan.document)
            self._response.plans.append(sync_pb2.PlanUpdate(digest=plan.digest, document=document))
        if workspace and workspace not in self._shipped:
            self._shipped.add(workspace)
            update = sync_pb2.WorkspaceUpdate(digest=workspace, document=workspace_bytes(plan.workspace))
            self._response.workspaces.append(update)

    def taken(self) -> pb.ReplayResponse:
        """The message, and room for another."""
        response, self._response, self._bytes = self._response, pb.ReplayResponse(), 0
        response.leaves, response.positions = self.of, self._replay.positions
        response.done = self.done if self.of else self.searched
        return response
