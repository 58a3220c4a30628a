"""Peers of P1, in their own environment: GrowthBook and LaunchDarkly, prebuilt, everything in memory.

Run by `workers.Worker("flags_peer", peer=True)`.
"""

from __future__ import annotations

import time
from importlib.metadata import version
from typing import Any

from growthbook import GrowthBook
from ldclient import Context, LDClient
from ldclient.config import Config
from ldclient.integrations.test_data import TestData

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


BOOK, CLIENT, CUSTOMER = _growthbook(), _launchdarkly(), _customer()


def verify() -> list[str]:
    """Every condition counts on both sides."""
    assert BOOK.is_on("route") is True
    for changed in ({"journey_money_transfer": ""}, {"seen_ivr_seconds": 7200}, {"value_tier": "low"}):
        assert _growthbook(**changed).is_on("route") is False, changed
    assert CLIENT.variation("route", CUSTOMER, False) is True
    assert CLIENT.variation("route", _customer(journey="no"), False) is False
    assert CLIENT.variation("route", _customer(value_tier="low"), False) is False
    return [f"growthbook {version('growthbook')}", f"launchdarkly-server-sdk {version('launchdarkly-server-sdk')}"]


def growthbook(count: int) -> float:
    """Microseconds of one `is_on`."""
    ask, right = BOOK.is_on, 0
    began = time.perf_counter()
    for _ in range(count):
        right += ask("route")
    took = time.perf_counter() - began
    assert right == count
    return took / count * 1e6


def launchdarkly(count: int) -> float:
    """Microseconds of one `variation`."""
    ask, customer, right = CLIENT.variation, CUSTOMER, 0
    began = time.perf_counter()
    for _ in range(count):
        right += ask("route", customer, False)
    took = time.perf_counter() - began
    assert right == count
    return took / count * 1e6


if __name__ == "__main__":
    serve({"verify": verify, "growthbook": growthbook, "launchdarkly": launchdarkly})
