"""The gate: who calls, before a request is read.

Owns authentication by touchpoint key (`authorization: Bearer ...`) and which services need the admin's key.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final

import grpc
from grpc.aio import ServerInterceptor

from ..services.failure import Refusal
from ..services.touchpoints import ADMIN, Touchpoints
from .status import refuse

OPEN: Final = ("/grpc.health.v1.Health/", "/grpc.reflection.")
_ADMIN: Final = (
    "/segue.v1.AdminService/", "/segue.v1.IdentityService/", "/segue.v1.PlanService/", "/segue.v1.LedgerService/",
    "/segue.v1.DecisionService/CompareDecisions",
    "/segue.v1.StoreService/",
)  # fmt: skip
_STREAMING: Final = (
    "/segue.v1.AdminService/TailFacts", "/segue.v1.AdminService/ListMembers", "/segue.v1.ReplayService/Replay",
    "/segue.v1.PlanService/SimulatePlan",
    "/segue.v1.StoreService/BackUpStore",
)  # fmt: skip


def bearer(metadata: Any) -> str:
    """The key in a call's metadata; empty where there is none."""
    for name, value in metadata or ():
        if name == "authorization" and isinstance(value, str) and value.startswith("Bearer "):
            return value.removeprefix("Bearer ")
    return ""


class Gate(ServerInterceptor):
    """Lets nobody in without a valid key.

    Args:
        touchpoints: who a key belongs to.
    """

    def __init__(self, touchpoints: Touchpoints) -> None:
        self._touchpoints = touchpoints

    def owner(self, key: str) -> str:
        """The touchpoint behind a key; empty where there is none."""
        return self._touchpoints.owner(key) or ""

    def caller(self, context: grpc.aio.ServicerContext[Any, Any]) -> str:
        """The touchpoint behind a call that passed the gate.

        Raises:
            Refusal: KEY_INVALID: its key was revoked in the meantime; nothing may be done, or refused for good, in the
                name of nobody.
        """
        key = bearer(context.invocation_metadata())
        owner = self._touchpoints.owner(key)
        if owner is None:
            raise _no_key(key)
        return owner

    def speaks_for_itself(self, context: grpc.aio.ServicerContext[Any, Any]) -> bool:
        """Whether the admin calls, in nobody else's name."""
        return self.caller(context) == ADMIN and not _named(context)

    def writer(self, context: grpc.aio.ServicerContext[Any, Any]) -> str:
        """The touchpoint that a call writes as: its own, or the one that the admin names (`segue-touchpoint`)."""
        owner = self.caller(context)
        if owner != ADMIN:
            return owner
        named = _named(context)
        if not named:
            raise Refusal("NOT_GRANTED", "the admin's key writes in the name of a touchpoint: say which (--as app)")
        return named[0]

    def still_valid(self, context: grpc.aio.ServicerContext[Any, Any]) -> bool:
        """Whether a stream's key has not been revoked meanwhile."""
        return self._touchpoints.owner(bearer(context.invocation_metadata())) is not None

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        """Refuses calls without a key, with an unknown one, or without the admin's where it is needed."""
        method = handler_call_details.method
        if method.startswith(OPEN):
            return await continuation(handler_call_details)
        key = bearer(handler_call_details.invocation_metadata)
        owner = self._touchpoints.owner(key) if key else None
        if owner is None:
            return _refusing(method, _no_key(key))
        if method.startswith(_ADMIN) and owner != ADMIN:
            return _refusing(method, Refusal("NOT_GRANTED", f"{method} needs the admin's key (SEGUE_ADMIN_KEY)"))
        return await continuation(handler_call_details)


def _named(context: grpc.aio.ServicerContext[Any, Any]) -> list[str]:
    """The touchpoints in whose name a call is made."""
    return [str(value) for name, value in context.invocation_metadata() or () if name == "segue-touchpoint"]


def _no_key(key: str) -> Refusal:
    if not key:
        return Refusal("KEY_MISSING", "no key: set SEGUE_KEY to what `segue-hub touchpoint add NAME` printed")
    return Refusal(
        "KEY_INVALID", "this key is not valid (any more): ask for a new one, `segue-hub touchpoint add NAME`"
    )


def _refusing(method: str, error: Refusal) -> Any:
    async def unary(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
        await refuse(context, error)

    if method.endswith("/Sync"):
        return grpc.stream_stream_rpc_method_handler(unary)
    if method in _STREAMING:
        return grpc.unary_stream_rpc_method_handler(unary)
    return grpc.unary_unary_rpc_method_handler(unary)
