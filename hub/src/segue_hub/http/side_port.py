"""The side port: /metrics for Prometheus, /healthz, POST /v1/events for CloudEvents, POST /v1/decide, and
/v1/reserve, /v1/confirm, /v1/release for places under strict caps.

Owns HTTP and the names of the metrics. Listens beside gRPC on the same address.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import orjson
from aiohttp import web
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from segue.domain.grant import Grant
from segue.errors import FactError

from ..limits import Limits
from ..services.admission import misfit
from ..services.decisions import Decisions
from ..services.failure import Refusal
from ..services.ingest import Ingest
from ..services.overview import Overview
from ..services.plans import Plans
from ..services.reservations import Reservations
from ..services.touchpoints import ADMIN, Touchpoints
from . import reserve
from .cloud_events import fact_of
from .decide import STATUS, answer_plain, asked_of
from .log import server_log


class _Figures:
    """What Prometheus reads, taken from the overview when asked."""

    def __init__(self, overview: Overview) -> None:
        self._overview = overview

    def collect(self) -> Iterator[Metric]:
        plain = self._overview.plain()
        facts = CounterMetricFamily("segue_facts", "Facts by what became of them.", labels=["result"])
        for result, count in plain["facts_since_start"].items():
            facts.add_metric([result.lower()], count)
        yield facts
        folds = CounterMetricFamily("segue_folds", "Folds by kind: step, late, refold, load.", labels=["kind"])
        for kind, count in plain["folds"].items():
            folds.add_metric([kind], count)
        yield folds
        stored = GaugeMetricFamily("segue_store", "What the store holds, by sort.", labels=["sort"])
        for sort, count in plain["store"].items():
            stored.add_metric([sort], count)
        yield stored
        refused = GaugeMetricFamily(
            "segue_links_refused", "Links that hold nothing together, by verdict.", labels=["verdict"]
        )
        for verdict, count in plain["links_refused"].items():
            refused.add_metric([verdict], count)
        yield refused
        yield from _blocked(plain["blocked_since_start"])
        asked = CounterMetricFamily("segue_decisions", "Decisions run by the hub, by what became.", labels=["result"])
        for result in ("answered", "overdue", "refused", "failed", "recorded"):
            asked.add_metric([result], plain["decisions"][result])
        yield asked
        yield from _ordinals(plain["sequences"]["touchpoints"])
        yield from _limits(plain["limits"])
        yield GaugeMetricFamily("segue_position", "Last position of the change log.", plain["position"])
        yield GaugeMetricFamily("segue_folded", "Position up to which contexts are folded.", plain["folded"])
        yield GaugeMetricFamily("segue_instances", "Connected SDK instances.", len(plain["instances"]))
        yield GaugeMetricFamily("segue_subscriptions", "Subscriptions of all streams.", plain["subscriptions"])
        yield CounterMetricFamily(
            "segue_audience_resets", "Streams given an audience anew, since they did not read.",
            plain["audiences"]["resets"],
        )  # fmt: skip
        yield GaugeMetricFamily("segue_timers_pending", "Wake-ups armed.", plain["timers"]["pending"])
        yield CounterMetricFamily("segue_timers_fired", "Wake-ups fired.", plain["timers"]["fired"])
        ledger = plain["ledger"]
        yield GaugeMetricFamily(
            "segue_wake_ups_pending", "Customers whose membership is asked again.", ledger["wake_ups"]
        )
        yield CounterMetricFamily("segue_wake_ups_fired", "Memberships asked again.", ledger["fired"])
        yield GaugeMetricFamily("segue_tellings_waiting", "Joiners and leavers to be heard.", ledger["tellings"])
        unknown = CounterMetricFamily("segue_unknown_events", "Events the vocabulary does not know.", labels=["type"])
        for entry in plain["unknown_events"]:
            unknown.add_metric([entry["type"]], entry["count"])
        yield unknown
        traits = CounterMetricFamily("segue_unknown_traits", "Traits the vocabulary does not know.", labels=["name"])
        for entry in plain["unknown_traits"]:
            traits.add_metric([entry["name"]], entry["count"])
        yield traits
        yield GaugeMetricFamily("segue_serving", "1 while the store takes facts.", int(plain["serving"]))


def _blocked(plain: dict[str, Any]) -> Iterator[Metric]:
    known = "Identifiers that facts came in without, since they stand for nobody."
    family = CounterMetricFamily("segue_identifiers_blocked", known, labels=["touchpoint", "kind", "value"])
    for entry in plain["identifiers"]:
        family.add_metric([entry["touchpoint"], entry["kind"], entry["value"]], entry["count"])
    yield family
    yield CounterMetricFamily("segue_links_blocked", "Links never made, since one end is blocked.", plain["links"])


def _limits(limits: dict[str, Any]) -> Iterator[Metric]:
    refused = CounterMetricFamily("segue_refused_for_room", "Refused for want of room, by limit.", labels=["limit"])
    for limit, count in limits["refused"].items():
        refused.add_metric([limit], count)
    yield refused
    yield GaugeMetricFamily("segue_calls", "Calls under way.", limits["calls"])
    yield GaugeMetricFamily("segue_streams", "Streams open.", limits["streams"])
    yield GaugeMetricFamily("segue_queue_bytes", "Bytes of facts that wait to be written.", limits["queue_bytes"])
    yield CounterMetricFamily("segue_slow_readers", "Streams ended since they did not read.", limits["slow_readers"])
    yield CounterMetricFamily("segue_abandoned", "Batches dropped: nobody waited any more.", limits["abandoned"])


def _ordinals(touchpoints: dict[str, Any]) -> Iterator[Metric]:
    known = "Ordinals of producers by what became of them: arrived, missing, doubtful, untracked, or lost by reason."
    family = GaugeMetricFamily("segue_ordinals", known, labels=["touchpoint", "state", "reason"])
    producers = GaugeMetricFamily("segue_producers", "Producers that books are kept of.", labels=["touchpoint"])
    known = "What the books amounted to that were forgotten: producers, and ordinals by state."
    forgotten = GaugeMetricFamily("segue_ordinals_forgotten", known, labels=["touchpoint", "state"])
    for touchpoint, sums in touchpoints.items():
        for state in ("arrived", "missing", "doubtful", "untracked"):
            family.add_metric([touchpoint, state, ""], sums[state])
        for reason, count in sums["lost"].items():
            family.add_metric([touchpoint, "lost", reason], count)
        producers.add_metric([touchpoint], sums["producers"])
        for state, count in sums["forgotten"].items():
            forgotten.add_metric([touchpoint, state], count)
    yield from (family, producers, forgotten)


class SidePort:
    """HTTP beside gRPC."""

    def __init__(
        self, ingest: Ingest, plans: Plans, touchpoints: Touchpoints, overview: Overview, decisions: Decisions,
        reservations: Reservations, limits: Limits,
    ) -> None:  # fmt: skip
        self._ingest = ingest
        self._plans = plans
        self._touchpoints = touchpoints
        self._overview = overview
        self._decisions = decisions
        self._reservations = reservations
        self._limits = limits
        self._registry = CollectorRegistry()
        self._registry.register(_Figures(overview))
        self._runner: web.AppRunner | None = None

    async def start(self, host: str, port: int) -> int:
        """Listens; returns the port."""
        app = web.Application(client_max_size=self._limits.message_bytes)
        app.router.add_get("/metrics", self._metrics)
        app.router.add_get("/healthz", self._healthz)
        app.router.add_post("/v1/events", self._events)
        app.router.add_post("/v1/decide", self._decide)
        app.router.add_post("/v1/reserve", self._reserve)
        app.router.add_post("/v1/confirm", self._confirm)
        app.router.add_post("/v1/release", self._release)
        self._runner = web.AppRunner(app, access_log=None, logger=server_log())
        await self._runner.setup()
        await web.TCPSite(self._runner, host, port).start()
        return int(self._runner.addresses[0][1])

    async def stop(self) -> None:
        """Stops listening."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _metrics(self, request: web.Request) -> web.Response:
        return web.Response(body=generate_latest(self._registry), content_type="text/plain", charset="utf-8")

    async def _healthz(self, request: web.Request) -> web.Response:
        serving = self._ingest.accepting
        return web.json_response({"serving": serving}, status=200 if serving else 503)

    async def _decide(self, request: web.Request) -> web.Response:
        owner = self._owner(request)
        if owner is None:
            return _error(401, "KEY_INVALID", "no valid touchpoint key: send Authorization: Bearer $SEGUE_KEY")
        try:
            body = orjson.loads(await request.read())
            answer = await self._decisions.decide(asked_of(body), self._plans.current.grant(owner))
        except orjson.JSONDecodeError as error:
            return _error(400, "INPUT_INVALID", f"body: no JSON: {error}")
        except Refusal as error:
            return _error(STATUS.get(error.code, 400), error.code, str(error))
        return web.json_response(answer_plain(answer))

    async def _reserve(self, request: web.Request) -> web.Response:
        async def work(question: reserve.Question, grant: Grant) -> Any:
            answer = await self._reservations.reserve(question.asked, grant)
            return reserve.answer_plain(question.asked, answer)

        return await self._place(request, "reserve", work)

    async def _confirm(self, request: web.Request) -> web.Response:
        async def work(question: reserve.Question, grant: Grant) -> Any:
            await self._reservations.confirm(question.asked, question.status, grant)
            return {"id": question.asked.id.hex(), "confirmed": True}

        return await self._place(request, "confirm", work)

    async def _release(self, request: web.Request) -> web.Response:
        async def work(question: reserve.Question, grant: Grant) -> Any:
            asked = question.asked
            return {"id": asked.id.hex(), "released": await self._reservations.release(asked.id, asked.names, grant)}

        return await self._place(request, "release", work)

    async def _place(
        self, request: web.Request, what: str, work: Callable[[reserve.Question, Grant], Awaitable[Any]]
    ) -> web.Response:
        """One question about a place under strict caps."""
        owner = self._owner(request)
        if owner is None:
            return _error(401, "KEY_INVALID", "no valid touchpoint key: send Authorization: Bearer $SEGUE_KEY")
        try:
            body = orjson.loads(await request.read())
            plan = self._plans.current
            grant = plan.grant(owner)
            question = reserve.question_of(what, body, grant, plan)
            answer = await asyncio.wait_for(work(question, grant), question.seconds)
        except orjson.JSONDecodeError as error:
            return _error(400, "INPUT_INVALID", f"body: no JSON: {error}")
        except TimeoutError:
            cure = "Ask again with the same id" + (", or release it" if what == "reserve" else "")
            return _error(504, "DEADLINE_EXCEEDED", f"deadline_ms: nobody knows by then. {cure}")
        except Refusal as error:
            return _error(STATUS.get(error.code, 400), error.code, str(error))
        return web.json_response(answer)

    def _owner(self, request: web.Request) -> str | None:
        """The touchpoint whose key it is; None where there is none, or it is the admin's."""
        owner = self._touchpoints.owner(request.headers.get("Authorization", "").removeprefix("Bearer "))
        return owner if owner != ADMIN else None

    async def _events(self, request: web.Request) -> web.Response:
        owner = self._owner(request)
        if owner is None:
            return _error(401, "KEY_INVALID", "no valid touchpoint key: send Authorization: Bearer $SEGUE_KEY")
        try:
            body = orjson.loads(await request.read())
        except orjson.JSONDecodeError as error:
            return _error(400, "FACT_INVALID", f"body: no JSON: {error}")
        events = body if isinstance(body, list) else [body]
        if len(events) > self._limits.batch:
            told = f"body: {len(events)} events in one batch. Send at most {self._limits.batch}"
            return _error(413, "BATCH_TOO_LARGE", told)
        facts = [self._read(event) for event in events]
        try:
            # The times are foreign: where an event is sent again without one, the first arrival counts.
            results = await self._ingest.publish(facts, self._plans.current.grant(owner), self._overview.now())
        except Refusal as error:
            refused = _error(429 if error.code == "OVERLOADED" else 503, error.code, str(error))
            if error.retry_after_ms:
                refused.headers["Retry-After"] = str(-(-error.retry_after_ms // 1000))
            return refused
        answer = [{"status": r.status, "code": r.code, "reason": r.reason} for r in results]
        status = 200 if all(r.status != "REJECTED" for r in results) else 422
        return web.json_response({"results": answer}, status=status)

    def _read(self, event: Any) -> Any:
        try:
            return fact_of(event, self._overview.now())
        except FactError as error:
            return misfit(error)


def _error(status: int, code: str, message: str) -> web.Response:
    return web.json_response({"error": {"code": code, "message": message}}, status=status)
