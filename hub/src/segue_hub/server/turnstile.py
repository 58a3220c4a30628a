"""The turnstile: how many calls and streams are under way, and that every call says how long it waits.

Owns admission by number, behind the gate: a call that finds no place is refused before its message is read. gRPC's own
`maximum_concurrent_rpcs` counts what is queued and not what runs, so it is not used.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final

import grpc
from grpc.aio import ServerInterceptor

from ..limits import Limits
from ..services.failure import Refusal
from ..services.pressure import Pressure
from ..services.touchpoints import ADMIN
from .gate import OPEN, Gate, bearer
from .status import refuse

Places = list[tuple[str, str, int]]
_CHECK: Final = "/grpc.health.v1.Health/Check"


class Turnstile(ServerInterceptor):
    """Lets in as many as there is room for.

    Args:
        gate: who calls.
        limits: how many.
        pressure: counts them.
    """

    def __init__(self, gate: Gate, limits: Limits, pressure: Pressure) -> None:
        self._gate = gate
        self._limits = limits
        self._pressure = pressure

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        """Refuses where no place is free; holds one while a call runs."""
        handler = await continuation(handler_call_details)
        method = handler_call_details.method
        if handler is None or method == _CHECK:
            return handler
        if method.startswith(OPEN):
            places: Places = [("anonymous_streams", "", self._limits.anonymous_streams)]
            return self._stream(handler, places) if handler.response_streaming else handler
        owner = self._gate.owner(bearer(handler_call_details.invocation_metadata))
        streams = handler.response_streaming
        places = self._stream_places(owner) if streams else self._call_places(owner)
        refusal = self._pressure.full(places)
        if refusal is not None:
            return _refused(handler, refusal)
        return self._stream(handler, places) if streams else self._call(handler, places)

    def _call_places(self, owner: str) -> Places:
        limits = self._limits
        if owner == ADMIN:
            return [("admin_calls", "", limits.admin_calls)]
        return [("calls", "", limits.calls), ("calls_per_touchpoint", owner, limits.calls_per_touchpoint)]

    def _stream_places(self, owner: str) -> Places:
        limits = self._limits
        return [("streams", "", limits.streams), ("streams_per_touchpoint", owner, limits.streams_per_touchpoint)]

    def _call(self, handler: Any, places: Places) -> Any:
        async def unary(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
            if context.time_remaining() is None:
                self._pressure.refused["deadline"] += 1
                await refuse(context, _NO_DEADLINE)
            try:
                with self._pressure.taken(places):
                    return await handler.unary_unary(request, context)
            except Refusal as error:
                await refuse(context, error)

        return grpc.unary_unary_rpc_method_handler(unary, handler.request_deserializer, handler.response_serializer)

    def _stream(self, handler: Any, places: Places) -> Any:
        inner = handler.stream_stream if handler.request_streaming else handler.unary_stream
        make = (
            grpc.stream_stream_rpc_method_handler if handler.request_streaming else grpc.unary_stream_rpc_method_handler
        )

        def held(context: grpc.aio.ServicerContext[Any, Any]) -> Any:
            connection = ("streams_per_connection", context.peer(), self._limits.streams_per_connection)
            return self._pressure.taken([*places, connection])

        async def writing(asked: Any, context: grpc.aio.ServicerContext[Any, Any]) -> None:
            try:
                with held(context):
                    await inner(asked, context)
            except Refusal as error:
                await refuse(context, error)

        async def yielding(asked: Any, context: grpc.aio.ServicerContext[Any, Any]) -> AsyncIterator[Any]:
            try:
                with held(context):
                    answers = inner(asked, context)
                    try:
                        async for answer in answers:
                            yield answer
                    finally:
                        await answers.aclose()
            except Refusal as error:
                await refuse(context, error)

        wrapped = yielding if inspect.isasyncgenfunction(inner) else writing
        return make(wrapped, handler.request_deserializer, handler.response_serializer)


_NO_DEADLINE: Final = Refusal(
    "DEADLINE_REQUIRED", "this call has no deadline: say how long you wait (in Python: timeout=10), at most what you do"
)


def _refused(handler: Any, refusal: Refusal) -> Any:
    """A handler that reads no message and refuses."""

    async def refusing(asked: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
        await refuse(context, refusal)

    if handler.request_streaming:
        return grpc.stream_stream_rpc_method_handler(refusing)
    if handler.response_streaming:
        return grpc.unary_stream_rpc_method_handler(refusing)
    return grpc.unary_unary_rpc_method_handler(refusing)
