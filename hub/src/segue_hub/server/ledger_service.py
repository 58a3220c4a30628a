"""LedgerService: what the platform team sees of cursors, and how one ends."""

from __future__ import annotations

from typing import Any

import grpc
from segue.v1 import ledger_service_pb2 as pb
from segue.v1 import ledger_service_pb2_grpc as rpc

from ..services.failure import Refusal
from ..services.kept_audiences import Key
from ..services.ledger import Ledger
from .status import refuse

Context = grpc.aio.ServicerContext[Any, Any]


class LedgerService(rpc.LedgerServiceServicer):
    """Serves questions about cursors."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    async def ListCursors(  # noqa: N802  # the protocol's own name
        self, request: pb.ListCursorsRequest, context: Context
    ) -> pb.ListCursorsResponse:
        """See the proto."""
        return pb.ListCursorsResponse(cursors=[pb.Cursor(**cursor) for cursor in self._ledger.cursors()])

    async def ForgetCursor(  # noqa: N802  # the protocol's own name
        self, request: pb.ForgetCursorRequest, context: Context
    ) -> pb.ForgetCursorResponse:
        """See the proto."""
        try:
            await self._ledger.forget(Key(request.touchpoint, request.name, request.audience))
        except Refusal as error:
            await refuse(context, error)
        return pb.ForgetCursorResponse()
