"""F7: the network fails in every way it can, and effects are exactly once.

Promises 2 (once), 3 (ordered), 6 (never silent) and 7 (never in the way). A touchpoint and a bare stream talk to a hub
through a proxy that delays, swallows, resets, cuts after some bytes, or hands on requests and no answers. After each,
what was offered is in the log, once, and all that the stream was told passes the six watch checks.
Sizes are how often each fault is done, and how many streams come back at once after the hub was killed.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
import segue
from segue.domain.identifier import parse_identifier

from tests.calling import Caller, calling, event
from tests.faults.crowd import Crowd
from tests.faults.trial import Trial, within
from tests.faults.watched import anomalies, caught_up, log_in
from tests.faults.wire_cutter import WireCutter, wire_cutter
from tests.serving import serving
from tests.streaming import Stream
from tests.waiting import eventually

pytestmark = [pytest.mark.fault, pytest.mark.trial, within(600)]

PER_CYCLE = 20


def latency(cutter: WireCutter, chance: random.Random) -> None:
    cutter.delay = chance.uniform(0.02, 0.15)


def black_hole(cutter: WireCutter, chance: random.Random) -> None:
    cutter.hold(flows=False)


def reset(cutter: WireCutter, chance: random.Random) -> None:
    cutter.cut()


def cut_after(cutter: WireCutter, chance: random.Random) -> None:
    cutter.cut_after = chance.randrange(200, 4000)


def answers_only(cutter: WireCutter, chance: random.Random) -> None:
    cutter.cut_answers = True


def mend(cutter: WireCutter) -> None:
    """The line is good again; what was swallowed is gone with its connections."""
    cutter.delay, cutter.cut_after, cutter.cut_answers = 0.0, 0, False
    cutter.cut()
    cutter.hold(flows=True)


@pytest.mark.parametrize("fault", [latency, black_hole, reset, cut_after, answers_only])
def test_f7_effects_are_exactly_once(fault: Callable[[WireCutter, random.Random], None], tmp_path: Path) -> None:
    trial = Trial(f"F7 {fault.__name__}", small=3, ci=10, long=200)
    chance, worst = trial.chance, 0.0
    with serving(tmp_path) as hub, wire_cutter(hub.port) as cutter:
        key = hub.key("chat")
        app = segue.Touchpoint("app", hub=f"127.0.0.1:{cutter.port}", key=hub.key("app"), state=tmp_path / "app")
        offered: list[str] = []
        app.listeners.append(lambda fact: offered.append(fact.id.hex()))
        session = app.session(account="N-1", wait="2s")
        streams: list[Stream] = []
        held = (0, "", "")

        def listening(port: int) -> Stream:
            caller = Caller(f"127.0.0.1:{port}", key)
            stack.callback(caller.close)
            stream = Stream(caller)
            stack.callback(stream.close)
            stream.subscribe(1, "account=N-1", held=held)
            streams.append(stream)
            return stream

        with ExitStack() as stack:
            session.track("transfer.started", transfer_id="T")
            assert app.flush(30)
            stream = listening(cutter.port)
            stream.frame(1)
            for _ in range(trial.size):
                fault(cutter, chance)
                for _ in range(PER_CYCLE):
                    session.track("transfer.started", transfer_id="T")
                app.flush(chance.uniform(0.05, 0.5))
                mend(cutter)
                began = time.monotonic()
                assert app.flush(60), app.status()
                worst = max(worst, time.monotonic() - began)
                if stream.ended.wait(0.2):
                    held = stream.history.last(1)  # as a client resumes: it states what it holds
                    stream = listening(cutter.port)
            eventually(lambda: session.context().count("transfer.started") == len(offered), 60)
            status = app.status()
            last = streams[-1] if not streams[-1].ended.is_set() else listening(cutter.port)
            truth = caught_up(last, hub.address, key)
        app.close()
        assert hub.stop() == 0
        log = log_in(hub.store)
        counted = Counter(fact.id.hex() for _, fact in log)
        lost = [id_ for id_ in offered if not counted[id_]]
        doubled = [id_ for id_, count in counted.items() if count > 1]
        # An earlier stream was cut short: what it did hear must be in order, once and whole, not complete.
        wrong = anomalies(last.history, truth, log)
        for one in streams:
            if one is not last:
                wrong += anomalies(one.history, {1: one.history.last(1)}, log, whole=False)
        trial.report(
            cycles=trial.size, cuts=cutter.cuts, offered=len(offered), lost=len(lost),
            doubled=len(doubled), streams=len(streams), anomalies=len(wrong), worst_back_s=round(worst, 2),
        )  # fmt: skip
        assert (lost, doubled, wrong) == ([], [], [])
        assert (status["losses"], status["delivered"]) == ({}, len(offered))


def test_f7_a_line_that_is_dead_without_a_word_is_found_by_both_ends(tmp_path: Path) -> None:
    trial = Trial("F7 half-open", small=1, ci=1, long=1)
    """Half-open: bytes go nowhere, and nobody says so. Keepalive has to find it; asked for are 30 s."""
    with serving(tmp_path) as hub, wire_cutter(hub.port) as cutter:
        chat = segue.Touchpoint("chat", hub=f"127.0.0.1:{cutter.port}", key=hub.key("chat"), state=tmp_path / "chat")
        with chat.session(account="N-2", wait="2s"):
            eventually(lambda: chat.status()["connection"] == "READY")
            eventually(lambda: len(hub.status()["instances"]) == 1)
            began = time.monotonic()
            cutter.hold(flows=False)
            found: dict[str, float] = {}

            def both() -> bool:
                since = time.monotonic() - began
                if "sdk" not in found and chat.status()["connection"] != "READY":
                    found["sdk"] = since
                if "hub" not in found and not hub.status()["instances"]:
                    found["hub"] = since
                return len(found) == 2

            eventually(both, 120)
            mend(cutter)
            eventually(lambda: chat.status()["connection"] == "READY", 60)
            trial.report(**{f"found_by_{end}_s": round(took, 1) for end, took in sorted(found.items())})
        chat.close()


def test_f7_all_streams_come_back_at_once_after_the_hub_was_killed(tmp_path: Path) -> None:
    trial = Trial("F7 reconnect", small=1_500, ci=2_000, long=6_000)
    names = [f"account=B-{number % 50}" for number in range(trial.size)]
    with serving(tmp_path) as hub, ExitStack() as stack:
        key, app_key = hub.key("chat"), hub.key("app")
        with calling(hub.address, app_key) as app:
            app.send(*(event("transfer.started", f"account=B-{n % 50}", transfer_id="T") for n in range(200)))
        first = Crowd(hub.address, key, names, [(0, "", "")] * trial.size)
        stack.callback(first.close)
        first.answered(240)
        assert first.ended == 0, first.errors[:3]
        hub.kill()
        eventually(lambda: first.ended == trial.size, 60)
        held = [history.last(1) for history in first.histories]
        hub.start()
        with calling(hub.address, app_key) as app:
            app.send(*(event("transfer.started", f"account=B-{n}", transfer_id="T") for n in range(25)))
        began = time.monotonic()
        again = Crowd(hub.address, key, names, held)
        stack.callback(again.close)
        again.answered(240)
        took, refused = time.monotonic() - began, again.ended
        with calling(hub.address, key) as reader:
            true = {name: reader.context(parse_identifier(name)) for name in set(names)}
        truths = [{1: (true[name].version, true[name].view, true[name].customer)} for name in names]
        with suppress(AssertionError):  # the checks say what is wrong
            pairs = list(zip(again.histories, truths, strict=True))
            eventually(lambda: all(history.last(1) == truth[1] for history, truth in pairs), 30)
        again.close()
        assert hub.stop() == 0
        log = log_in(hub.store)
        wrong = [
            w for history, truth in zip(again.histories, truths, strict=True) for w in anomalies(history, truth, log)
        ]
        unchanged = sum(history.frames(1)[0].unchanged for history in again.histories if history.frames(1))
        trial.report(
            streams=trial.size, refused=refused, all_answered_s=round(took, 2), unchanged=unchanged,
            anomalies=len(wrong),
        )  # fmt: skip
        assert (refused, wrong) == (0, [])
        assert unchanged > 0
