"""Asks the hub for places over gRPC, many calls at a time. Run by `workers.Worker("reserver")`."""

from __future__ import annotations

import asyncio
import os
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
from segue.v1 import fact_pb2, reservation_service_pb2, reservation_service_pb2_grpc

from .crowd import measured
from .workers import serve


class Client:
    """One channel, as an SDK has it."""

    def __init__(self) -> None:
        self._address = ""
        self._metadata: tuple[tuple[str, str], ...] = ()

    def connect(self, address: str, key: str) -> None:
        """Says where."""
        self._address, self._metadata = address, (("authorization", f"Bearer {key}"),)

    def run(self, **size: int) -> dict[str, float]:
        """One round; see `crowd.measured`."""

        async def work() -> dict[str, float]:
            async with grpc.aio.insecure_channel(self._address) as channel:
                stub = reservation_service_pb2_grpc.ReservationServiceStub(channel)
                return await measured(self._reserving(stub), self._confirming(stub), tag=os.urandom(6).hex(), **size)

        return asyncio.run(work())

    def _reserving(self, stub: Any) -> Callable[[str], Awaitable[bytes | None]]:
        async def reserve(account: str) -> bytes | None:
            id_ = uuid.uuid4().bytes
            request = reservation_service_pb2.ReserveRequest(
                id=id_, identifiers=[fact_pb2.Identifier(kind="account", value=account)], kind="offer.upsell",
                action=fact_pb2.Action(topic="bandwidth", purpose="marketing"),
            )  # fmt: skip
            answer = await stub.Reserve(request, metadata=self._metadata, timeout=60)
            if not answer.granted and not any(verdict.holder for verdict in answer.verdicts):
                raise RuntimeError("refused, and nobody is named")
            return id_ if answer.granted else None

        return reserve

    def _confirming(self, stub: Any) -> Callable[[str, bytes], Awaitable[None]]:
        async def confirm(account: str, id_: bytes) -> None:
            request = reservation_service_pb2.ConfirmRequest(
                id=id_, identifiers=[fact_pb2.Identifier(kind="account", value=account)], kind="offer.upsell",
                action=fact_pb2.Action(topic="bandwidth", purpose="marketing", status="completed"),
            )  # fmt: skip
            await stub.Confirm(request, metadata=self._metadata, timeout=60)

        return confirm


if __name__ == "__main__":
    client = Client()
    serve({"connect": client.connect, "run": client.run})
