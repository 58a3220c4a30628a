"""PlanService: plans checked, pushed, listed, rolled back."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from typing import Any

import grpc
import orjson
from segue.domain.plan import digest_of
from segue.errors import PlanError
from segue.v1 import plan_service_pb2 as pb
from segue.v1 import plan_service_pb2_grpc as rpc

from ..checking.plan_check import Checked, check_plan
from ..checking.problem import Problem
from ..services.failure import Refusal
from ..services.plans import Plans
from ..services.simulation import Simulations
from ..storage.ports import PlanEntry
from .status import refuse

Context = grpc.aio.ServicerContext[Any, Any]


def _files(messages: Sequence[pb.PlanFile]) -> dict[str, str]:
    return {message.path: message.content.decode("utf-8", "replace") for message in messages}


def _problem(problem: Problem) -> pb.PlanProblem:
    return pb.PlanProblem(**problem.plain())


class PlanService(rpc.PlanServiceServicer):
    """Serves the life of a plan."""

    def __init__(self, plans: Plans, simulations: Simulations) -> None:
        self._plans = plans
        self._simulations = simulations

    def _version(self, stored: PlanEntry) -> pb.PlanVersion:
        history = self._plans.history
        return pb.PlanVersion(
            number=stored.number, digest=stored.digest, pushed_at=stored.pushed_at, author=stored.author,
            note=stored.note, current=bool(history) and history[-1].number == stored.number,
        )  # fmt: skip

    async def CheckPlan(self, request: pb.CheckPlanRequest, context: Context) -> pb.CheckPlanResponse:  # noqa: N802
        """See the proto."""
        checked: Checked = check_plan(_files(request.files))
        digest = digest_of(checked.document) if checked.document is not None else ""
        return pb.CheckPlanResponse(problems=[_problem(problem) for problem in checked.problems], digest=digest)

    async def PushPlan(self, request: pb.PushPlanRequest, context: Context) -> pb.PushPlanResponse:  # noqa: N802
        """See the proto."""
        files = _files(request.files)
        checked = check_plan(files)
        problems = [_problem(problem) for problem in checked.problems]
        if checked.document is None:
            return pb.PushPlanResponse(problems=problems)
        stored, changed = await self._plans.push(checked.document, files, request.author, request.note)
        return pb.PushPlanResponse(problems=problems, version=self._version(stored), unchanged=not changed)

    async def ListPlans(self, request: pb.ListPlansRequest, context: Context) -> pb.ListPlansResponse:  # noqa: N802
        """See the proto."""
        return pb.ListPlansResponse(versions=[self._version(stored) for stored in reversed(self._plans.history)])

    async def GetPlan(self, request: pb.GetPlanRequest, context: Context) -> pb.GetPlanResponse:  # noqa: N802
        """See the proto."""
        try:
            stored = self._plans.stored(self._plans.find(request.digest))
        except Refusal as error:
            await refuse(context, error)
        files = [pb.PlanFile(path=path, content=text.encode()) for path, text in json.loads(stored.files).items()]
        return pb.GetPlanResponse(version=self._version(stored), document=stored.document, files=files)

    async def RollbackPlan(  # noqa: N802
        self, request: pb.RollbackPlanRequest, context: Context
    ) -> pb.RollbackPlanResponse:
        """See the proto."""
        try:
            stored = await self._plans.roll_back(request.digest, request.author)
        except Refusal as error:
            await refuse(context, error)
        return pb.RollbackPlanResponse(version=self._version(stored))

    async def SimulatePlan(  # noqa: N802
        self, request: pb.SimulatePlanRequest, context: Context
    ) -> AsyncIterator[pb.SimulatePlanResponse]:
        """See the proto."""
        checked = check_plan(_files(request.files))
        yield pb.SimulatePlanResponse(problems=[_problem(problem) for problem in checked.problems])
        if checked.document is None:
            return
        try:
            async with aclosing(self._simulations.simulate(checked.document, request.since)) as steps:
                async for found in steps:
                    document = orjson.dumps(found.document) if found.document is not None else b""
                    yield pb.SimulatePlanResponse(done=found.done, of=found.of, document=document)
        except PlanError as error:
            await refuse(context, Refusal(error.code, str(error)))
        except Refusal as error:
            await refuse(context, error)
