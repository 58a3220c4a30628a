"""A touchpoint: the SDK's front door for one team on one channel.

Owns the life of the runtime (lazy, rebuilt after a fork) and the registration of decision functions. A thin shell.
"""

from __future__ import annotations

import atexit
import logging
import os
import threading
import weakref
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from .config import load
from .domain.context import Context
from .domain.decision import Question
from .domain.fact import ENDING, INCIDENT, LINK, RETRACTION, SEPARATION, Fact, check
from .domain.grant import SERVICE
from .domain.identifier import Identifier, parse_identifier
from .domain.incident import FIXED, OPENED, check_incident, incident_fact
from .domain.instant import SECOND, from_datetime, span
from .domain.plan import Plan
from .domain.ranking import Scorer
from .domain.statement import statement_fact
from .domain.telling import Telling
from .errors import ConfigError
from .last_call import last_call
from .last_words import LastWords
from .naming import normal
from .outbox import MUST
from .runtime import Runtime
from .session import Session
from .sync import READY
from .wake import Latch

log = logging.getLogger("segue")
Who = Identifier | str
"""An identifier, or its text: `account=A-1009`."""
REFUSED_KEPT = 1000
"""Names of refused facts that are counted one by one."""
_open: weakref.WeakSet[Touchpoint] = weakref.WeakSet()
_working: set[Touchpoint] = set()
"""Those with a runtime: what a host told is kept at the end, also where it let go of the touchpoint long before."""
LAST_MOMENT = 0.25
"""Seconds that the end of a process may wait for a hub that is there."""
_over = Latch()
"""Set once the end of the process has begun: what is told from then on nobody will close."""
_left_behind: list[Runtime] = []
"""A parent's runtimes, in a forked child: never used, never let go; their channels and files are the parent's."""


class Touchpoint:
    """One member of the federation. Making one connects nothing and starts nothing.

    Args:
        name: as in the plan's touchpoints.yaml.
        channel: of its facts; what the plan grants, or the name, where not given.
        hub, key, ca, state, persist_contexts, strict: see `config.Config`; from the environment where not given.

    Raises:
        ConfigError: the configuration makes no sense.
    """

    def __init__(
        self,
        name: str,
        *,
        channel: str | None = None,
        hub: str | None = None,
        key: str | None = None,
        ca: str | None = None,
        state: str | Path | None = None,
        persist_contexts: bool | None = None,
        strict: bool | None = None,
    ) -> None:
        self.name = name
        self._channel = channel
        self._config = load(
            name, hub=hub, key=key, ca=ca, state=state, persist_contexts=persist_contexts, strict=strict
        )
        self._renew()
        self._runtime: Runtime | None = None
        self.questions: dict[str, Question] = {}
        self.refused: dict[str, int] = {}
        self.listeners: list[Callable[[Fact], None]] = []
        _open.add(self)

    @property
    def channel(self) -> str:
        """The channel of its facts."""
        runtime = self._runtime
        return self.channel_by(runtime.plan if runtime is not None else None)

    def channel_by(self, plan: Plan | None) -> str:
        """The channel of its facts by a plan; where none is known, the one given, or its name."""
        if self._channel is not None:
            return self._channel
        granted = plan.grants.get(self.name) if plan is not None else None
        return granted.channel if granted is not None else self.name

    @property
    def started(self) -> bool:
        """Whether it has begun to work in this process."""
        return self._runtime is not None

    def runtime(self) -> Runtime:
        """The machinery of this process; made on first use, and anew in a forked child."""
        runtime = self._runtime
        if runtime is not None and runtime.pid == os.getpid():
            return runtime
        with self._lock:
            runtime = self._runtime
            if runtime is None or runtime.pid != os.getpid():
                made = (LastWords if _over.is_set() else Runtime)(self._config)
                if self._runtime is not runtime and self._runtime is not None:
                    return self._runtime  # a signal handler or a destructor came between, and made one
                if runtime is not None:
                    _left_behind.append(runtime)
                self._runtime = runtime = made
                _working.add(self)
                made.start()
                last_call(_close_all)
        return runtime

    def _renew(self) -> None:
        # Reentrant: a host's signal handler may come while this thread makes a runtime; and anew in a forked child,
        # where the thread that made one is not.
        self._lock = threading.RLock()

    def use(self, runtime: Runtime) -> None:
        """Works with a runtime made elsewhere: the test kit's."""
        self.close()
        self._runtime = runtime

    def decision(
        self, name: str, *, default: Any = None, record: str = "changed", scorer: Scorer | None = None,
        shadow: Callable[[Context], Any] | None = None,
    ) -> Callable[[Any], Question]:  # fmt: skip
        """Registers a decision function: `@chat.decision("chat.route", default="bot")`.

        Args:
            name: of the question.
            default: the answer where the function has none, fails, or may not read what it asks for.
            record: when the answer becomes a fact: `changed`, `always` or `never`.
            scorer: gives several candidate actions their scores, `scorer(action, context)`: the larger, the better.
            shadow: a new version of the function, asked beside it; see `shadow`.
        """
        if record not in ("changed", "always", "never"):
            raise ConfigError(f"record={record!r} is not known: changed, always or never")

        def register(function: Callable[[Context], Any]) -> Question:
            question = Question(name, function, default, record, scorer, shadow)
            self.questions[name] = question
            return question

        return register

    def shadow(self, name: str, function: Callable[[Context], Any]) -> Question:
        """Sets a new version of a decision function beside the one that acts; returns the question with both.

        It is asked whatever the old one is asked, off the host's time, and never acts. What both answered is recorded:
        `segue-hub decision compare`.

        Args:
            name: of the question, registered before.
            function: the new version.

        Raises:
            ConfigError: no such question is registered.
        """
        if name not in self.questions:
            known = ", ".join(sorted(self.questions)) or "none yet"
            raise ConfigError(f"no question is called {name!r}: register it first. There is: {known}")
        question = self.questions[name]
        new = function.function if isinstance(function, Question) else function
        object.__setattr__(question, "shadow", new)  # whoever holds the question asks both from here on
        return question

    def session(
        self, *, wait: str | float = "150ms", purpose: str = SERVICE, keep: str = "5m", **identifiers: str
    ) -> Session:
        """Opens a session with a customer: `chat.session(account="A-1009", wait="150ms")`.

        Args:
            wait: how long to wait for the first context at most; the first session of a process also waits until what
                a connection needs is loaded (tens of milliseconds), unless it waits for nothing.
            purpose: why it reads, as granted in the plan.
            keep: how long the customer stays held after the session.
            identifiers: who she is; the strongest is held.

        Raises:
            ConfigError: nobody is named.
        """
        if not identifiers:
            raise ConfigError('name the customer, e.g. session(account="A-1009")')
        kinds = self.runtime().plan.kinds
        named = tuple(
            sorted((normal(kinds, Identifier(k, str(v))) for k, v in identifiers.items()), key=kinds.strength)
        )
        session = Session(self, named, purpose, span(keep))
        timeout = wait if isinstance(wait, int | float) else span(wait) / SECOND
        if session.waits and timeout > 0:
            session.wait(timeout)
        return session

    def watch_audience(
        self, audience: str, tell: Callable[[list[tuple[str, list[Identifier], bool]], bool], None],
        purpose: str = SERVICE,
    ) -> None:  # fmt: skip
        """Keeps the members of an audience: `tell([(customer, identifiers, left)], reset)`, from the SDK's own thread.

        After every end of a stream all members come anew, with `reset`. Who acts on joiners and leavers: see `watch`.
        """
        self.runtime().watch(audience, purpose, tell)

    def watch(
        self, audience: str, tell: Callable[[list[Telling]], object], *, cursor: str, purpose: str = SERVICE
    ) -> None:
        """Hears of every joiner and leaver of an audience: `crm.watch("stuck_in_transfer", tell, cursor="export")`.

        The hub keeps for this cursor who was told what. Whatever ends in between, this process or the hub, it goes on
        where it stopped: each change of a member with its own instant, in order; a retraction reaches who was told.
        What `tell` returned from is not told again while this process lives; after its end the last may be, with the
        same ids. A new cursor is told of all members first. Of several processes with one cursor one hears, the others
        stand by. `tell` is called from a thread of the SDK; where it raises it is told the same again, a little later.

        Args:
            audience: its name.
            tell: gets the next tellings, in order.
            cursor: names the place, for this touchpoint: 1 to 100 printable characters.
            purpose: why it reads, as granted in the plan.

        Raises:
            ConfigError: the cursor has no name, or is used here already.
        """
        if not 0 < len(cursor) <= 100 or not cursor.isprintable():
            raise ConfigError(f"cursor={cursor!r} is no name: give 1 to 100 printable characters")
        self.runtime().watch(audience, purpose, tell, cursor)

    def open_incident(
        self, id: str, *, title: str = "", workaround: str = "", occurred_at: datetime | None = None
    ) -> None:
        """Tells everybody that something is broken: `ops.open_incident("IOS-481", title="Uploads fail in 4.2")`.

        Returns at once; never raises. The plan has to grant it: `writes: ["incident:*"]`.

        Args:
            id: for example `IOS-481`.
            title: what is broken, for people; as told before where not given.
            workaround: what to do meanwhile, likewise.
            occurred_at: aware; now where not given. One that is to come opens it then.
        """
        self._tell_incident(id, OPENED, occurred_at, title, workaround)

    def fix_incident(self, id: str, *, occurred_at: datetime | None = None) -> None:
        """Tells everybody that an incident is fixed, as `open_incident`."""
        self._tell_incident(id, FIXED, occurred_at)

    def _tell_incident(
        self, id: str, state: str, occurred_at: datetime | None, title: str = "", workaround: str = ""
    ) -> None:
        runtime = self.runtime()
        try:
            at = from_datetime(occurred_at) if occurred_at is not None else runtime.now()
            fact = incident_fact(
                runtime.ids.next(), id, state, at, runtime.next_seq(), title=title, workaround=workaround,
                touchpoint=self.name,
            )  # fmt: skip
            check_incident(fact)
        except Exception as error:  # noqa: BLE001  # the host's own values: whatever they raise is counted, never raised
            self.count_refused(INCIDENT, id, error)
            return
        self.told(fact)
        runtime.offer(fact, MUST, None)

    def link(self, one: Who, other: Who, *, reason: str = "", occurred_at: datetime | None = None) -> None:
        """Tells that two identifiers are one customer: `desk.link("account=A-1", "email=ann@example.com")`.

        Returns at once; never raises.

        Args:
            one: an identifier, or its text.
            other: likewise.
            reason: for people.
            occurred_at: aware; now where not given.
        """
        self._say(LINK, (one, other), reason, occurred_at)

    def retract(
        self, one: Who, other: Who, *, fact: str = "", reason: str = "", occurred_at: datetime | None = None
    ) -> None:
        """Tells that two identifiers never were one customer, as `link`: undoes a wrong merge.

        All links of the two until `occurred_at` are taken back; or what one `fact` said, by its id, be it a link, an
        ending or a separation. The plan has to grant it: `writes: ["retraction:*"]`.
        """
        self._say(RETRACTION, (one, other), reason, occurred_at, fact)

    def end(self, one: Who, other: Who, *, reason: str = "", occurred_at: datetime | None = None) -> None:
        """Tells that two identifiers are one customer no longer, from `occurred_at` on: a recycled phone number.

        As `link`. The plan has to grant it: `writes: ["ending:*"]`.
        """
        self._say(ENDING, (one, other), reason, occurred_at)

    def separate(self, one: Who, other: Who, *, reason: str = "", occurred_at: datetime | None = None) -> None:
        """Tells that two identifiers are never one customer, whatever links them, now or later.

        As `link`. The plan has to grant it: `writes: ["separation:*"]`.
        """
        self._say(SEPARATION, (one, other), reason, occurred_at)

    def _say(
        self, kind: str, names: tuple[Who, Who], reason: str, occurred_at: datetime | None, target: str = ""
    ) -> None:
        runtime = self.runtime()
        try:
            kinds = runtime.plan.kinds
            found = [normal(kinds, n if isinstance(n, Identifier) else parse_identifier(n)) for n in names]
            at = from_datetime(occurred_at) if occurred_at is not None else runtime.now()
            fact = statement_fact(
                runtime.ids.next(), kind, found, at, runtime.next_seq(), target=bytes.fromhex(target), reason=reason,
                touchpoint=self.name, channel=self.channel,
            )  # fmt: skip
            check(fact)
        except Exception as error:  # noqa: BLE001  # the host's own values: whatever they raise is counted, never raised
            self.count_refused(kind, kind, error)
            return
        self.told(fact)
        runtime.offer(fact, MUST, None)

    def wait_ready(self, timeout: float = 5.0) -> bool:
        """Connects and waits for the plan; returns whether the hub answered in time. `timeout` in seconds."""
        runtime = self.runtime()
        runtime.need()
        return runtime.ready.wait(timeout)

    def flush(self, timeout: float = 5.0) -> bool:
        """Waits until all facts were acknowledged; returns whether they were. `timeout` in seconds."""
        return self._runtime is None or self._runtime.flush(timeout)

    def status(self) -> Mapping[str, Any]:
        """How it is: connection, plan, counts, losses."""
        plain = self.runtime().status()
        plain["refused_here"] = dict(self.refused)
        return plain

    def told(self, fact: Fact) -> None:
        """Tells listeners (test kits, ledgers) of a fact that is being offered."""
        for listener in self.listeners:
            listener(fact)

    def count_refused(self, kind: str, type_: str, error: Exception) -> None:
        """A fact that cannot be one: counted and logged, never raised into the host (but for strict ones)."""
        name = f"{kind}:{type_ if isinstance(type_, str) else type(type_).__name__}"
        if name not in self.refused and len(self.refused) >= REFUSED_KEPT:
            name = f"{kind}:*"
        self.refused[name] = self.refused.get(name, 0) + 1
        log.warning("segue: %r was not taken: %s", name, error)
        if self.runtime().config.strict:
            raise error

    def leave(self, moment: float) -> None:
        """Closes; where the hub is there, it gets a moment (seconds) to take what waits."""
        runtime = self._runtime
        if runtime is not None and runtime.pid == os.getpid() and runtime.machine.state == READY:
            runtime.flush(moment)
        self.close()

    def close(self) -> None:
        """Journals what was offered and stops. What the hub has not acknowledged goes out next time."""
        runtime, self._runtime = self._runtime, None
        _working.discard(self)
        if runtime is not None and runtime.pid == os.getpid():
            runtime.close()


def _close_all() -> None:
    """At the end of the process: the last facts get a moment to go out, where a hub is there to take them."""
    _over.set()
    for touchpoint in list(_working):
        touchpoint.leave(LAST_MOMENT)


def _renew_all() -> None:
    for touchpoint in list(_open):
        touchpoint._renew()


atexit.register(_close_all)
os.register_at_fork(after_in_child=_renew_all)
