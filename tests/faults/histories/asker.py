"""An asker: asks for places under the strict cap, and confirms, gives back or forgets what it was granted.

Owns `Asker`, which sends only into places that it was told to hold.
"""

from __future__ import annotations

from typing import Any

from segue.domain.fact import ACTION, derived_id
from segue.domain.identifier import parse_identifier
from segue.v1 import fact_pb2, reservation_service_pb2, reservation_service_pb2_grpc
from segue.wire import identifier_to_wire

from tests.calling import now
from tests.faults.histories.client import PATIENCE, Client
from tests.faults.histories.history import Operation
from tests.faults.histories.plans import HOLDERS


class Asker(Client):
    """One of them."""

    _count = 0

    def act(self) -> None:
        self._count += 1
        id_ = derived_id(now(), self.name, str(self._count))
        names = self.chance.sample(HOLDERS, self.chance.choice([1, 1, 1, 2]))
        done = self._say("reserve", id_, names)
        for _ in range(3):
            if done.outcome != "info" or self.chance.random() < 0.4:
                break
            done = self._say("reserve", id_, names)  # the same again: nobody knows what came of it
        fate = self.chance.random()
        if done.outcome == "info":
            if fate < 0.5:
                self._until_known("release", id_, names)
        elif done.outcome == "ok" and done.answer["granted"]:
            if fate < 0.5:
                self._until_known("confirm", id_, names)
            elif fate < 0.8:
                self._until_known("release", id_, names)

    def _until_known(self, what: str, id_: bytes, names: list[str]) -> None:
        for _ in range(5):
            if self._say(what, id_, names).outcome == "ok":
                return

    def _say(self, what: str, id_: bytes, names: list[str]) -> Operation:
        pb = reservation_service_pb2
        identifiers = [identifier_to_wire(parse_identifier(name)) for name in names]
        with self.history.operation(self.name, what, id=id_.hex(), names=names) as done:
            line = self.line()
            stub = reservation_service_pb2_grpc.ReservationServiceStub(line.channel)
            more: dict[str, Any] = {"timeout": PATIENCE, "metadata": line.metadata}
            action = fact_pb2.Action(purpose="marketing", topic="t", status="completed" if what == "confirm" else "")
            if what == "reserve":
                answer = stub.Reserve(
                    pb.ReserveRequest(id=id_, identifiers=identifiers, kind="offer", action=action), **more
                )
                done.answer = {"granted": answer.granted}
            elif what == "confirm":
                stub.Confirm(pb.ConfirmRequest(id=id_, identifiers=identifiers, kind="offer", action=action), **more)
                done.answer = {"kind": ACTION}
            else:
                released = stub.Release(pb.ReleaseRequest(id=id_, identifiers=identifiers), **more)
                done.answer = {"released": released.released}
        self.settled(done)
        return done
