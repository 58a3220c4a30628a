"""Peers of P1, in their own environment: GrowthBook, LaunchDarkly, Unleash, flagd; prebuilt, everything in memory.

Unleash starts from a bootstrapped cache and asks no server; flagd evaluates in this process, from a file.

Run by `workers.Worker("flags_peer", peer=True)`.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

from growthbook import GrowthBook
from ldclient import Context, LDClient
from ldclient.config import Config
from ldclient.integrations.test_data import TestData
from openfeature import api
from openfeature.client import OpenFeatureClient
from openfeature.contrib.provider.flagd import FlagdProvider
from openfeature.contrib.provider.flagd.config import ResolverType
from openfeature.evaluation_context import EvaluationContext
from UnleashClient import UnleashClient
from UnleashClient.cache import FileCache

from .workers import serve

_CONDITION = {"journey_money_transfer": "active", "seen_ivr_seconds": {"$lt": 3600}, "value_tier": "high"}
_FEATURES = {"route": {"defaultValue": False, "rules": [{"condition": _CONDITION, "force": True}]}}
_MATCHES = {"id": "A-1", "journey_money_transfer": "active", "seen_ivr_seconds": 60, "value_tier": "high"}


def _growthbook(**changed: Any) -> GrowthBook:
    return GrowthBook(attributes={**_MATCHES, **changed}, features=_FEATURES)


def _launchdarkly() -> LDClient:
    data = TestData.data_source()
    flag = data.flag("route").boolean_flag().fallthrough_variation(False)
    data.update(flag.if_match("journey", "active").and_match("value_tier", "high").then_return(True))
    return LDClient(config=Config("offline", update_processor_class=data, send_events=False, diagnostic_opt_out=True))


def _customer(**changed: str) -> Context:
    builder = Context.builder("A-1").set("journey", "active").set("value_tier", "high")
    for name, value in changed.items():
        builder.set(name, value)
    return builder.build()


_CONSTRAINTS = [
    {"contextName": "journey", "operator": "IN", "values": ["active"], "inverted": False},
    {"contextName": "seen", "operator": "NUM_LT", "value": "3600", "values": [], "inverted": False},
    {"contextName": "value_tier", "operator": "IN", "values": ["high"], "inverted": False},
]
_STRATEGY = {"name": "default", "parameters": {}, "constraints": _CONSTRAINTS}
_TOGGLES = {
    "version": 1,
    "features": [{"name": "route", "type": "release", "enabled": True, "stale": False, "strategies": [_STRATEGY]}],
}
_TARGETING = {"if": [{"and": [
    {"==": [{"var": "journey"}, "active"]}, {"<": [{"var": "seen"}, 3600]}, {"==": [{"var": "value_tier"}, "high"]}
]}, "on", "off"]}  # fmt: skip
_FLAGS = {"flags": {"route": {
    "state": "ENABLED", "variants": {"on": True, "off": False}, "defaultVariant": "off", "targeting": _TARGETING
}}}  # fmt: skip
_FACTS = {"journey": "active", "seen": "60", "value_tier": "high"}
_FOLDER = tempfile.TemporaryDirectory(prefix="segue-flags-")


def _unleash() -> UnleashClient:
    cache = FileCache("bench", directory=_FOLDER.name)
    cache.bootstrap_from_dict(_TOGGLES)
    client = UnleashClient(
        "http://127.0.0.1:1/api", "bench", disable_metrics=True, disable_registration=True, cache=cache,
        refresh_interval=3600,
    )  # fmt: skip
    client.initialize_client(fetch_toggles=False)
    return client


def _flagd() -> OpenFeatureClient:
    path = Path(_FOLDER.name) / "flags.json"
    path.write_text(json.dumps(_FLAGS), encoding="utf-8")
    api.set_provider_and_wait(FlagdProvider(resolver_type=ResolverType.FILE, offline_flag_source_path=str(path)))
    return api.get_client()


BOOK, CLIENT, CUSTOMER = _growthbook(), _launchdarkly(), _customer()
TOGGLES, FLAGD = _unleash(), _flagd()


def verify() -> list[str]:
    """Every condition counts on both sides."""
    assert BOOK.is_on("route") is True
    for changed in ({"journey_money_transfer": ""}, {"seen_ivr_seconds": 7200}, {"value_tier": "low"}):
        assert _growthbook(**changed).is_on("route") is False, changed
    assert CLIENT.variation("route", CUSTOMER, False) is True
    assert CLIENT.variation("route", _customer(journey="no"), False) is False
    assert CLIENT.variation("route", _customer(value_tier="low"), False) is False
    assert TOGGLES.is_enabled("route", {"properties": _FACTS}) is True
    assert FLAGD.get_boolean_value("route", False, EvaluationContext("A-1", {**_FACTS, "seen": 60})) is True
    for name, other in (("journey", ""), ("seen", "7200"), ("value_tier", "low")):
        facts: dict[str, Any] = {**_FACTS, name: other}
        assert TOGGLES.is_enabled("route", {"properties": facts}) is False, name
        numbered = EvaluationContext("A-1", {**facts, "seen": int(facts["seen"])})
        assert FLAGD.get_boolean_value("route", False, numbered) is False, name
    packages = ("growthbook", "launchdarkly-server-sdk", "UnleashClient", "openfeature-provider-flagd")
    return [f"{package} {version(package)}" for package in packages]


def _timed(count: int, ask: Callable[[], Any]) -> float:
    right = 0
    began = time.perf_counter()
    for _ in range(count):
        right += ask()
    took = time.perf_counter() - began
    assert right == count
    return took / count * 1e6


def growthbook(count: int) -> float:
    """Microseconds of one `is_on`."""
    ask = BOOK.is_on
    return _timed(count, lambda: ask("route"))


def launchdarkly(count: int) -> float:
    """Microseconds of one `variation`."""
    ask, customer = CLIENT.variation, CUSTOMER
    return _timed(count, lambda: ask("route", customer, False))


def unleash(count: int) -> float:
    """Microseconds of one `is_enabled`."""
    ask, context = TOGGLES.is_enabled, {"properties": _FACTS}
    return _timed(count, lambda: ask("route", context))


def flagd(count: int) -> float:
    """Microseconds of one `get_boolean_value`, evaluated in this process."""
    ask, context = FLAGD.get_boolean_value, EvaluationContext("A-1", {**_FACTS, "seen": 60})
    return _timed(count, lambda: ask("route", False, context))


if __name__ == "__main__":
    serve(
        {"verify": verify, "growthbook": growthbook, "launchdarkly": launchdarkly, "unleash": unleash, "flagd": flagd}
    )
