"""From an error to a gRPC status with `google.rpc.ErrorInfo`: one table.

Owns which code a refusal travels as. `reason` in ErrorInfo is the stable code; clients match on it.
"""

from __future__ import annotations

from typing import Any, Final, NoReturn

import grpc
from google.protobuf import any_pb2, duration_pb2
from google.rpc import code_pb2, error_details_pb2, status_pb2
from segue.errors import SegueError

from ..services.failure import Refusal

DOMAIN: Final = "segue"
_STATUS: Final[dict[str, tuple[grpc.StatusCode, int]]] = {
    "NOT_FOUND": (grpc.StatusCode.NOT_FOUND, code_pb2.NOT_FOUND),
    "NAME_UNKNOWN": (grpc.StatusCode.INVALID_ARGUMENT, code_pb2.INVALID_ARGUMENT),
    "NAME_INVALID": (grpc.StatusCode.INVALID_ARGUMENT, code_pb2.INVALID_ARGUMENT),
    "NAME_RESERVED": (grpc.StatusCode.INVALID_ARGUMENT, code_pb2.INVALID_ARGUMENT),
    "INPUT_INVALID": (grpc.StatusCode.INVALID_ARGUMENT, code_pb2.INVALID_ARGUMENT),
    "FACT_INVALID": (grpc.StatusCode.INVALID_ARGUMENT, code_pb2.INVALID_ARGUMENT),
    "PLAN_INVALID": (grpc.StatusCode.INVALID_ARGUMENT, code_pb2.INVALID_ARGUMENT),
    "TALLY_INVALID": (grpc.StatusCode.INVALID_ARGUMENT, code_pb2.INVALID_ARGUMENT),
    "SEQUENCE_GAP": (grpc.StatusCode.ABORTED, code_pb2.ABORTED),
    "BATCH_TOO_LARGE": (grpc.StatusCode.INVALID_ARGUMENT, code_pb2.INVALID_ARGUMENT),
    "ID_CONFLICT": (grpc.StatusCode.ALREADY_EXISTS, code_pb2.ALREADY_EXISTS),
    "IN_USE": (grpc.StatusCode.FAILED_PRECONDITION, code_pb2.FAILED_PRECONDITION),
    "KEY_MISSING": (grpc.StatusCode.UNAUTHENTICATED, code_pb2.UNAUTHENTICATED),
    "KEY_INVALID": (grpc.StatusCode.UNAUTHENTICATED, code_pb2.UNAUTHENTICATED),
    "NOT_GRANTED": (grpc.StatusCode.PERMISSION_DENIED, code_pb2.PERMISSION_DENIED),
    "DEADLINE_REQUIRED": (grpc.StatusCode.INVALID_ARGUMENT, code_pb2.INVALID_ARGUMENT),
    "SLOW_READER": (grpc.StatusCode.RESOURCE_EXHAUSTED, code_pb2.RESOURCE_EXHAUSTED),
    "OVERLOADED": (grpc.StatusCode.RESOURCE_EXHAUSTED, code_pb2.RESOURCE_EXHAUSTED),
    "STORE_FULL": (grpc.StatusCode.RESOURCE_EXHAUSTED, code_pb2.RESOURCE_EXHAUSTED),
    "STORE_MISSING": (grpc.StatusCode.UNAVAILABLE, code_pb2.UNAVAILABLE),
    "STORE_BROKEN": (grpc.StatusCode.UNAVAILABLE, code_pb2.UNAVAILABLE),
}


async def refuse(context: grpc.aio.ServicerContext[Any, Any], error: SegueError) -> NoReturn:
    """Ends a call with the status of an error."""
    code, number = _STATUS.get(error.code, (grpc.StatusCode.INVALID_ARGUMENT, code_pb2.INVALID_ARGUMENT))
    details = [error_details_pb2.ErrorInfo(reason=error.code, domain=DOMAIN)]
    packed = []
    for detail in details:
        wrapped = any_pb2.Any()
        wrapped.Pack(detail)
        packed.append(wrapped)
    if isinstance(error, Refusal) and error.retry_after_ms:
        wrapped = any_pb2.Any()
        delay = duration_pb2.Duration(
            nanos=error.retry_after_ms % 1000 * 1_000_000, seconds=error.retry_after_ms // 1000
        )
        wrapped.Pack(error_details_pb2.RetryInfo(retry_delay=delay))
        packed.append(wrapped)
    status = status_pb2.Status(code=number, message=str(error), details=packed)
    trailer = (("grpc-status-details-bin", status.SerializeToString()),)
    await context.abort(code, str(error), trailing_metadata=trailer)
    raise AssertionError("abort raises")
