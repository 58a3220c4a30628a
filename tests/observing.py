"""Every stream of the SDK in this process, held against the six watch checks; `tests/conftest.py` puts it in place.

Owns what each stream of a `Runtime` said and heard, and what its replica held after every message. While it runs and
when it ends: ordered, unique, atomic, and the replica holds what was told last. When its touchpoint closes while its
hub, one that this process knows, is there: reliable, resumable and bookmarked too, against cold reads with the
touchpoint's own key. The product knows nothing of it: it is called through what `Runtime` is called by anyway.
"""

from __future__ import annotations

import functools
import threading
import time
import weakref
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import grpc
from segue.domain.fact import STATEMENTS
from segue.domain.plan import Plan
from segue.runtime import Runtime
from segue.sync import GAPPED, READY
from segue.transport import Transport
from segue.v1 import sync_pb2
from segue.wire import fact_from_bytes, identifier_from_wire
from segue_hub.services.ingest import Ingest
from segue_hub.storage.sqlite import SqliteStore
from segue_hub.testing import RunningHub

from tests import watch_checks
from tests.calling import Caller, calling
from tests.faults.histories.rule import Rule
from tests.serving import Serving
from tests.watch_checks import History, Log, Whose

SETTLES = 10.0
"""Seconds that a stream has for what is on its way to it."""
Held = tuple[int, str, str]
_hubs: weakref.WeakValueDictionary[str, RunningHub | Serving] = weakref.WeakValueDictionary()
_streams: list[ObservedStream] = []
_current: weakref.WeakKeyDictionary[Runtime, ObservedStream] = weakref.WeakKeyDictionary()
_ends: weakref.WeakKeyDictionary[Ingest, list[int]] = weakref.WeakKeyDictionary()
"""Where the units of writing end, of each hub in this process."""
judged: Counter[str] = Counter()
"""How many streams were held against what, in this process: `at every moment`, `atomic`, `settled`."""


class ObservedStream:
    """One stream of one runtime.

    Attributes:
        history: what it was told, of all that it ever subscribed.
        purposes: of what is subscribed now, by number.
        wrong: what was found already.
    """

    def __init__(self, runtime: Runtime, call: Any) -> None:
        self.runtime, self._call = weakref.ref(runtime), call
        self.touchpoint, self.address, self.key = runtime.config.touchpoint, runtime.config.hub, runtime.config.key
        self.hub = _hubs.get(self.address)
        self.history, self.purposes = History(), dict[int, str]()
        self.wrong: list[str] = []
        self._plan = runtime.machine.plan
        self.over = False
        self._incarnation = ""
        self._seen = 0
        self._stated_again: set[int] = set()

    # -- what a runtime asks of a call ---------------------------------------------------------------------------------

    def send(self, request: sync_pb2.SyncRequest) -> None:
        """As of `SyncCall`; what is subscribed is noted."""
        kind = request.WhichOneof("body")
        if kind == "hello":
            self._incarnation = request.hello.incarnation
        elif kind == "subscribe":
            asked = request.subscribe
            if asked.subscription in self.history.identifiers:
                self._stated_again.add(asked.subscription)
            if asked.subscription not in self.history.identifiers and asked.version:
                self.history.held[asked.subscription] = (asked.version, asked.view, asked.customer)
            self.history.identifiers[asked.subscription] = identifier_from_wire(asked.identifier)
            self.purposes[asked.subscription] = asked.purpose
        elif kind == "unsubscribe":
            self.purposes.pop(request.unsubscribe.subscription, None)
        self._call.send(request)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._call, name)

    # -- what was heard ------------------------------------------------------------------------------------------------

    def hears(self, response: sync_pb2.SyncResponse) -> None:
        """A message comes in."""
        self.history.messages.append(response)
        if response.WhichOneof("body") == "welcome" and self._incarnation not in ("", response.welcome.incarnation):
            self.history.held.clear()  # another history: nothing of before is stated any more

    def heard(self, runtime: Runtime, response: sync_pb2.SyncResponse) -> None:
        """It was taken in: the replica holds what it says, unless the machine gave the stream up, or cannot read it."""
        self._plan = runtime.machine.plan
        if runtime.machine.state == GAPPED:
            return
        for number in dict.fromkeys(update.subscription for update in watch_checks.updates(response)):
            held = runtime.machine.replica.numbered(number)
            if held is None or any(error.startswith("FRAME_UNREADABLE") for error in runtime.machine.errors):
                continue
            shown, told = (held.version, held.view, held.customer), self.history.last(number)
            if shown != told:
                self.wrong.append(f"subscription {number} shows {shown}, told last was {told}")

    # -- the checks ----------------------------------------------------------------------------------------------------

    def at_every_moment(self) -> list[str]:
        """What must hold whenever anybody looks; what was found before is found once."""
        if len(self.history.messages) != self._seen:
            self._seen = len(self.history.messages)
            judged["at every moment"] += 1
            found = watch_checks.ordered(self.history) + watch_checks.unique(self._stated_once())
            self.wrong += [one for one in found if one not in self.wrong]
        return [f"{self.touchpoint} at {self.address}: {one}" for one in self.wrong]

    def _stated_once(self) -> History:
        """Without what was stated again amid the stream, as it is after a bookmark: the answer may be one that was on
        its way already.
        """
        once = {n: name for n, name in self.history.identifiers.items() if n not in self._stated_again}
        return History(once, self.history.held, self.history.messages)

    def atomic(self) -> None:
        """Every context that came was whole, by the log; of a process of its own once that has ended."""
        history = self._now(dict.fromkeys(self.history.identifiers))  # what comes from here on, the log may not have
        log = _log_of(self.hub)
        if log is None:
            return
        if isinstance(self.hub, Serving) and any(fact.kind in STATEMENTS for _, fact in log):
            return  # nobody here knows where the units of writing end, which decide who is who in between
        judged["atomic"] += 1
        found = watch_checks.atomic(history, log, _whose(log, self._plan, self.hub))
        self.wrong += [one for one in found if one not in self.wrong]

    def settled(self, runtime: Runtime) -> None:
        """Its touchpoint closes: once nothing is on its way it holds what a cold read gives."""
        if self.over or self.hub is None or not self.history.messages or runtime.machine.refused[0]:
            return
        deadline = time.monotonic() + SETTLES
        with calling(self.address, self.key) as caller:
            while True:
                if self.over or runtime.machine.state != READY:
                    return  # it ended meanwhile
                truth = self._truth(caller)
                found = self._unsettled(runtime, truth) if truth is not None else []
                if not found or time.monotonic() > deadline:
                    break
                time.sleep(0.005)  # between looks at that condition
        if truth is None:
            return  # the hub cannot be asked any more, or not with this key
        judged["settled"] += 1
        self.wrong += found
        self.atomic()

    def _now(self, numbers: dict[int, Any]) -> History:
        """The history of what is subscribed now, as far as somebody can say what is true."""
        mine = self.history
        held = {number: name for number, name in mine.held.items() if number in numbers}
        return History({number: mine.identifiers[number] for number in numbers}, held, list(mine.messages))

    def _unsettled(self, runtime: Runtime, truth: dict[int, Held]) -> list[str]:
        history = self._now(truth)
        found = watch_checks.reliable(history, truth) + watch_checks.resumable(history, truth)
        for number, wanted in truth.items():
            held = runtime.machine.replica.numbered(number)
            if held is not None and (held.version, held.view, held.customer) != wanted:
                found.append(f"subscription {number} shows {held.version}, the store says {wanted}")
        marks = [m for m in history.messages if m.WhichOneof("body") == "bookmark"]
        newest = marks and history.messages[-1] is marks[-1] and set(truth) == set(self.purposes)
        return found + (watch_checks.bookmarked(history) if newest else [])

    def _truth(self, caller: Caller) -> dict[int, Held] | None:
        refused = {m.error.subscription for m in self.history.messages if m.WhichOneof("body") == "error"}
        found: dict[int, Held] = {}
        for number, purpose in list(self.purposes.items()):
            if number in refused:
                continue
            try:
                context = caller.context(self.history.identifiers[number], purpose)
                found[number] = (context.version, context.view, context.customer)
            except grpc.RpcError as error:
                if error.code() is grpc.StatusCode.NOT_FOUND:
                    found[number] = (0, "", "")
                elif error.code() is not grpc.StatusCode.PERMISSION_DENIED:
                    return None
        return found


# -- whose facts they are ----------------------------------------------------------------------------------------------


def _log_of(hub: RunningHub | Serving | None) -> Log | None:
    """The log of a hub in this process, or of one that has ended."""
    if isinstance(hub, RunningHub):
        with suppress(Exception):  # its store is closed already
            return [(place, fact_from_bytes(body)) for place, body in hub.hub.store.log(0, 10_000_000) if body]
    if isinstance(hub, Serving) and hub.process is not None and hub.process.poll() is not None and hub.store.exists():
        return _log_in(hub.store)
    return None


def _log_in(store: Path) -> Log:
    opened = SqliteStore(store)
    try:
        return [(place, fact_from_bytes(body)) for place, body in opened.log(0, 10_000_000) if body is not None]
    finally:
        opened.close()


def _whose(log: Log, plan: Plan, hub: RunningHub | Serving | None) -> Whose:
    """Whose facts are whose, by the naive rule."""
    named = [(position, fact) for position, fact in log if fact.identifiers]
    ends = sorted(_ends.get(hub.hub.ingest, [])) if isinstance(hub, RunningHub) else [position for position, _ in named]
    return Rule(named, ends, plan.kinds).whose


# -- where it is put ---------------------------------------------------------------------------------------------------


def _begin(original: Callable[..., Any]) -> Callable[..., Any]:
    def began(runtime: Runtime, call: Any) -> None:
        if runtime._connect is not Transport:  # a simulated line loses on purpose; the simulation has its own watchers
            original(runtime, call)
            return
        stream = _current[runtime] = ObservedStream(runtime, call)
        _streams.append(stream)
        original(runtime, stream)

    return began


def _hear(original: Callable[..., Any]) -> Callable[..., Any]:
    def heard(runtime: Runtime, response: sync_pb2.SyncResponse) -> Any:
        stream = _current.get(runtime)
        if stream is None:
            return original(runtime, response)
        stream.hears(response)
        goes_on = original(runtime, response)
        stream.heard(runtime, response)
        return goes_on

    return heard


def _hang_up(original: Callable[..., Any]) -> Callable[..., Any]:
    def hung_up(runtime: Runtime, call: Any) -> Any:
        if (stream := _current.get(runtime)) is not None:
            stream.over = True
        return original(runtime, call)

    return hung_up


def _close(original: Callable[..., Any]) -> Callable[..., Any]:
    def closed(runtime: Runtime) -> Any:
        stream = _current.get(runtime)
        if stream is not None and threading.current_thread() is threading.main_thread():
            stream.settled(runtime)
        return original(runtime)

    return closed


def _know(original: Callable[..., Any]) -> Callable[..., Any]:
    def made(hub: Any, *arguments: Any, **more: Any) -> None:
        original(hub, *arguments, **more)
        _hubs[hub.address] = hub

    return made


def _write(original: Callable[..., Any]) -> Callable[..., Any]:
    def written(ingest: Ingest, *arguments: Any) -> Any:
        done = original(ingest, *arguments)
        _ends.setdefault(ingest, []).append(done.position)
        return done

    return written


def _written_alone(original: Callable[..., Any]) -> Callable[..., Any]:
    """What has no facts, as a plan or an incident, has a place in the log: what comes after it is another unit."""

    async def written(ingest: Ingest, *arguments: Any) -> Any:
        position = await original(ingest, *arguments)
        _ends.setdefault(ingest, []).append(position)
        return position

    return written


_AROUND: list[tuple[type, str, Callable[[Callable[..., Any]], Callable[..., Any]]]] = [
    (Runtime, "begin", _begin), (Runtime, "hear", _hear), (Runtime, "hang_up", _hang_up), (Runtime, "close", _close),
    (RunningHub, "__init__", _know), (Serving, "__init__", _know), (Ingest, "_write", _write),
    (Ingest, "_written_alone", _written_alone),
]  # fmt: skip


@functools.cache
def install() -> None:
    """Watches every runtime and knows every hub of this process, from here on."""
    for owner, name, wrap in _AROUND:
        original = getattr(owner, name)
        setattr(owner, name, functools.wraps(original)(wrap(original)))


def stream_of(runtime: Runtime) -> ObservedStream:
    """The newest stream of a runtime."""
    return _current[runtime]


def found() -> list[str]:
    """What was found since this was asked last; streams that are over are forgotten."""
    wrong: list[str] = []
    for stream in list(_streams):
        if stream.over and isinstance(stream.hub, Serving):
            stream.atomic()
        wrong += stream.at_every_moment()
        stream.wrong.clear()
        if stream.over or stream.runtime() is None:
            _streams.remove(stream)
    return wrong


@contextmanager
def caught() -> Iterator[list[str]]:
    """What is found of the streams of a block is for the block's test, and not its failure."""
    wrong: list[str] = []
    before = found()
    assert not before, before
    yield wrong
    wrong += found()
