"""StoreService: a copy of the store, while the hub serves."""

from __future__ import annotations

import asyncio
import hashlib
import tempfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, Final

import grpc
from segue.v1 import store_service_pb2 as pb
from segue.v1 import store_service_pb2_grpc as rpc

from ..services.failure import Refusal
from ..storage.ports import StoreBroken
from .gate import Gate
from .status import refuse

PIECE: Final = 1024 * 1024
"""Bytes of one message."""


class StoreService(rpc.StoreServiceServicer):
    """Serves BackUpStore.

    Args:
        copy: copies the store into a file and tells the position it goes through; None for a store without a file.
        folder: where copies are made before they are sent.
        gate: knows the admin.
    """

    def __init__(self, copy: Callable[[Path], int] | None, folder: Path | None, gate: Gate) -> None:
        self._copy = copy
        self._folder = folder
        self._gate = gate

    async def BackUpStore(  # noqa: N802  # the protocol's own name
        self, request: pb.BackUpStoreRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> AsyncIterator[pb.BackUpStoreResponse]:
        """See the proto."""
        if self._copy is None:
            await refuse(context, Refusal("NOT_FOUND", "this hub keeps its store in memory: there is no file to copy"))
        assert self._copy is not None
        loop = asyncio.get_running_loop()
        with tempfile.TemporaryDirectory(prefix="segue-backup-", dir=self._folder) as folder:
            path = Path(folder) / "segue.db"
            try:
                position = await loop.run_in_executor(None, self._copy, path)
            except StoreBroken as error:
                await refuse(context, Refusal("STORE_BROKEN", str(error)))
            size, digest = path.stat().st_size, hashlib.sha256()
            with path.open("rb") as file:
                while data := await loop.run_in_executor(None, file.read, PIECE):
                    digest.update(data)
                    is_last = file.tell() >= size
                    yield pb.BackUpStoreResponse(
                        data=data, size=size, sha256=digest.digest() if is_last else b"",
                        position=position if is_last else 0,
                    )  # fmt: skip
