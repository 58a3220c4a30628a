"""The command line's connection to a hub.

Owns address, key and TLS of the client side, from options and environment.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click
import grpc
from segue.domain.identifier import Identifier, parse_identifier
from segue.errors import FactError
from segue.v1 import (
    admin_service_pb2_grpc,
    decision_service_pb2_grpc,
    event_service_pb2_grpc,
    identity_service_pb2_grpc,
    ledger_service_pb2_grpc,
    plan_service_pb2_grpc,
    store_service_pb2_grpc,
    sync_pb2_grpc,
)

from ..settings import is_loopback
from .output import fail

TIMEOUT = 60.0


@dataclass(frozen=True, slots=True)
class Client:
    """Stubs of one hub."""

    address: str
    admin: Any
    plans: Any
    events: Any
    sync: Any
    identities: Any
    decisions: Any
    stores: Any
    ledger: Any


def connect(address: str, key: str, ca: str) -> Client:
    """Connects lazily; nothing is sent yet."""
    # A hub that comes back is found within seconds, however long it was away.
    options = [("grpc.max_receive_message_length", 64 * 1024 * 1024), ("grpc.max_reconnect_backoff_ms", 2000)]
    if ca or not is_loopback(address.rpartition(":")[0]):
        roots = Path(ca).read_bytes() if ca else None
        channel = grpc.secure_channel(address, grpc.ssl_channel_credentials(roots), options=options)
    else:
        channel = grpc.insecure_channel(address, options=options)
    channel = grpc.intercept_channel(channel, _Bearer(key))
    return Client(
        address,
        admin_service_pb2_grpc.AdminServiceStub(channel),
        plan_service_pb2_grpc.PlanServiceStub(channel),
        event_service_pb2_grpc.EventServiceStub(channel),
        sync_pb2_grpc.SyncServiceStub(channel),
        identity_service_pb2_grpc.IdentityServiceStub(channel),
        decision_service_pb2_grpc.DecisionServiceStub(channel),
        store_service_pb2_grpc.StoreServiceStub(channel),
        ledger_service_pb2_grpc.LedgerServiceStub(channel),
    )


class _Bearer(
    grpc.UnaryUnaryClientInterceptor, grpc.UnaryStreamClientInterceptor, grpc.StreamStreamClientInterceptor
):  # fmt: skip
    """Puts the key on every call."""

    def __init__(self, key: str) -> None:
        self._metadata = [("authorization", f"Bearer {key}")] if key else []

    def _with_key(self, details: Any) -> Any:
        metadata = [*(details.metadata or []), *self._metadata]
        return _Details(details.method, details.timeout, metadata, details.credentials)

    def intercept_unary_unary(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        details = self._with_key(client_call_details)
        return continuation(details if details.timeout else replace(details, timeout=TIMEOUT), request)

    def intercept_unary_stream(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        return continuation(self._with_key(client_call_details), request)

    def intercept_stream_stream(self, continuation: Any, client_call_details: Any, request_iterator: Any) -> Any:
        return continuation(self._with_key(client_call_details), request_iterator)


@dataclass(frozen=True, slots=True)
class _Details(grpc.ClientCallDetails):
    method: str
    timeout: float | None
    metadata: Any
    credentials: Any
    wait_for_ready: bool | None = None
    compression: Any = None


def hub_options(key_variable: str = "SEGUE_ADMIN_KEY") -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Adds --hub, --key and --ca, and passes a `Client` as the first argument."""

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(hub: str, key: str, ca: str, **arguments: Any) -> Any:
            # Whoever acts in the name of a touchpoint does so with the admin's key.
            variable = "SEGUE_ADMIN_KEY" if arguments.get("touchpoint") else key_variable
            return function(connect(hub, key or os.environ.get(variable, ""), ca), **arguments)

        wrapped.__name__, wrapped.__doc__ = function.__name__, function.__doc__
        wrapped.__click_params__ = getattr(function, "__click_params__", [])  # type: ignore[attr-defined]
        for option in (
            click.option("--ca", envvar="SEGUE_CA", default="", help="Authority of the hub's certificate (PEM)."),
            click.option("--key", default="", help=f"Key; {key_variable} where not given."),
            click.option("--hub", envvar="SEGUE_HUB", default="127.0.0.1:7171", show_default=True, help="host:port"),
        ):
            wrapped = option(wrapped)
        return wrapped

    return decorate


def identifier_argument(text: str) -> Identifier:
    """An identifier from the command line."""
    try:
        return parse_identifier(text)
    except FactError as error:
        fail(str(error), 2)
        raise
