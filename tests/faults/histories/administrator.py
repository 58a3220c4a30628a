"""An administrator: pushes plans and rolls them back, changes keys, and says who is one with whom.

Owns `Administrator`. A key that is changed is revoked first, so that whoever has the old one is turned away meanwhile.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from segue.domain.fact import Fact
from segue.v1 import admin_service_pb2, identity_service_pb2, plan_service_pb2
from segue.wire import fact_to_wire
from segue_hub.checking.plan_check import read_directory

from tests.calling import event
from tests.faults.histories.client import Client
from tests.faults.histories.plans import PEOPLE

PATIENCE = 4.0


class Administrator(Client):
    """The one.

    Args:
        plans: folders of plans.
        keys: by touchpoint; those of `turned` are changed here.

    Attributes:
        said: what it told of people, by id.
    """

    turned = ("teller", "eye", "reader")

    def __init__(self, *arguments: Any, plans: Sequence[Path], keys: dict[str, str], **more: Any) -> None:
        super().__init__(*arguments, **more)
        self._plans, self._keys = plans, keys
        self._digests: list[str] = []
        self._owed: set[str] = set()
        self.said: dict[bytes, Fact] = {}

    def act(self) -> None:
        if self._owed:
            return self._issue()
        self.chance.choices([self._push, self._roll_back, self._revoke, self._change], [3, 2, 1, 3])[0]()
        return None

    def rest(self) -> None:
        """Whoever lost a key gets another one."""
        self.stopping.clear()
        for _ in range(100):
            if not self._owed:
                break
            self._issue()
        self.stopping.set()

    def _push(self) -> None:
        texts = read_directory(self.chance.choice(self._plans))
        files = [plan_service_pb2.PlanFile(path=path, content=text.encode()) for path, text in texts.items()]
        with self.history.operation(self.name, "push") as done:
            line = self.line()
            request = plan_service_pb2.PushPlanRequest(files=files, author="test")
            answer = line.plans.PushPlan(request, timeout=PATIENCE, metadata=line.metadata)
            done.answer = {"digest": answer.version.digest, "problems": [p.message for p in answer.problems]}
        if self.settled(done):
            assert done.answer["digest"], done.answer
            self._digests.append(done.answer["digest"])

    def _roll_back(self) -> None:
        if not self._digests:
            return
        digest = self.chance.choice(self._digests)
        with self.history.operation(self.name, "push", digest=digest) as done:
            line = self.line()
            request = plan_service_pb2.RollbackPlanRequest(digest=digest, author="test")
            answer = line.plans.RollbackPlan(request, timeout=PATIENCE, metadata=line.metadata)
            done.answer = {"digest": answer.version.digest}
        self.settled(done)

    def _revoke(self) -> None:
        name = self.chance.choice(self.turned)
        self._owed.add(name)
        with self.history.operation(self.name, "revoke", touchpoint=name) as done:
            line = self.line()
            request = admin_service_pb2.RevokeTouchpointRequest(touchpoint=name)
            line.admin.RevokeTouchpoint(request, timeout=PATIENCE, metadata=line.metadata)
        self.settled(done)

    def _issue(self) -> None:
        name = min(self._owed)
        with self.history.operation(self.name, "issue", touchpoint=name) as done:
            line = self.line()
            request = admin_service_pb2.AddTouchpointRequest(touchpoint=name)
            key = line.admin.AddTouchpoint(request, timeout=PATIENCE, metadata=line.metadata).key
        if self.settled(done):
            self._keys[name] = key
            self._owed.remove(name)

    def _change(self) -> None:
        kind = self.chance.choice(["link", "link", "retraction", "ending", "separation"])
        fact = event(kind, *self.chance.sample(PEOPLE, 2), kind=kind, channel="desk")
        self.said[fact.id] = fact
        with self.history.operation(self.name, "change", ids=[fact.id.hex()]) as done:
            line = self.line()
            request = identity_service_pb2.ChangeIdentityRequest(facts=[fact_to_wire(fact)])
            answer = line.identities.ChangeIdentity(request, timeout=PATIENCE, metadata=line.metadata)
            done.answer = {"statuses": [result.status for result in answer.results]}
        self.settled(done)
