"""A decision that is asked again gives the answer that was given, byte for byte, whatever went on around it (VE8).

Random work on a hub by real SDKs: facts of now and of earlier, merges, statements, incidents and plans in between,
decisions on what is held while own facts are still on their way. Nothing is waited for but the end.
"""

from __future__ import annotations

import os
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import segue
from segue.domain.fact import ENDING, LINK, RETRACTION, SEPARATION, TRAIT, Fact, derived_id
from segue_hub.testing import RunningHub, run_hub

from tests.building import SKETCH, document
from tests.calling import calling, event, now
from tests.joining import joined
from tests.replaying import replayed, unlike

MINUTE = 60_000_000
ACCOUNTS = [f"A-{n}" for n in range(6)]
COOKIES = [f"c-{n}" for n in range(8)]


def desk_reads(c: segue.Context) -> Any:
    """Reads whatever there is."""
    c.decisions()
    c.actions("offer.gold")
    c.timeline()
    c.interactions("web")
    c.traits()
    c.incident("IOS-1").open  # noqa: B018  # reading is what counts
    c.incidents()
    if c.journey("money_transfer").stalled or c.in_audience("in_trouble"):
        return [segue.Action("offer.gold", topic="gold"), segue.Action("mail.help", topic="help", channel="email")]
    if c.count("help.searched", "1h") >= 2 and c.trait("value_tier") == "high":
        return segue.Action("offer.silver", purpose="marketing", properties={"price": 9})
    if c.seen("call.started", within="30m"):
        return {"route": c.journey("money_transfer").stage or "none", "n": len(c.journeys())}
    return c.trait("value_tier") or None


def kiosk_reads(c: segue.Context) -> Any:
    """Sees little: what depends on the rest comes as outcomes over time."""
    if c.in_audience("frequent_caller"):
        return segue.Action("offer.gold", topic="gold")
    if c.seen("transfer.failed", within="2h"):
        return segue.Action("mail.sorry", purpose="marketing", channel="email")
    return "nothing" if c.last("call.started") else c.trait("balance")  # which it may not read


def plans() -> list[dict[str, Any]]:
    """Two plans: the later has another map and another audience, and reads incidents."""
    kiosk = {**SKETCH["touchpoints"]["kiosk"], "writes": ["*"]}
    kiosk["reads"] = {"service": ["activity", "traits.general", "audiences"]}
    first = {**SKETCH, "touchpoints": {**SKETCH["touchpoints"], "kiosk": kiosk}}
    maps = {**first["maps"], "help": {
        "position": 3, "starts": 'event.type == "help.searched"', "reaches_goal": 'event.type == "call.started"',
        "fails": 'event.type == "transfer.failed" && incident("IOS-1").open', "abandons": {"after": "1h"},
    }}  # fmt: skip
    audiences = {
        **first["audiences"],
        "in_trouble": {"when": 'incident("IOS-1").open || seen("transfer.failed", "1h")'},
    }
    return [document(first), document({**first, "maps": maps, "audiences": audiences})]


class Work:
    """What goes on at one hub.

    Args:
        seed: of everything random in it.
    """

    def __init__(self, hub: RunningHub, folder: Path, seed: int) -> None:
        self.hub = hub
        self.folder = folder
        self.random = random.Random(seed)
        self.sent: list[Fact] = []

    def one(self) -> tuple[str, str]:
        """Somebody, by an account or a cookie."""
        return self.random.choice([("account", self.random.choice(ACCOUNTS)), ("cookie", self.random.choice(COOKIES))])

    def happens(self) -> Fact:
        """Something, now or a while ago, of one or two identifiers."""
        names = sorted({"=".join(self.one()) for _ in range(self.random.choice([1, 1, 1, 2]))})
        at = now() - self.random.choice([0, 0, 0, 5, 20, 90]) * MINUTE
        if self.random.random() < 0.15:
            return event("value_tier", *names, at=at, kind=TRAIT, value=self.random.choice(["low", "high"]))
        type_ = self.random.choice([
            "transfer.started", "transfer.failed", "transfer.completed", "help.searched", "call.started",
        ])  # fmt: skip
        return event(type_, *names, at=at, transfer_id=self.random.choice(["T1", "T2"]))

    def states(self) -> Fact | None:
        """Something about who is one with whom."""
        linking = [fact for fact in self.sent if len(fact.identifiers) == 2]
        if not linking:
            return None
        about = self.random.choice(linking)
        kind = self.random.choice([RETRACTION, ENDING, SEPARATION])
        id_ = derived_id(now(), "said", str(self.random.random()))
        return Fact(id_, kind, kind, now(), 0, about.identifiers)

    def goes_on(self, desk: segue.Touchpoint, kiosk: segue.Touchpoint, steps: int) -> None:
        """So many steps of whatever comes."""
        questions = {
            desk: desk.decision("desk.next", default="wait", record="always")(desk_reads),
            kiosk: kiosk.decision("kiosk.next", default="wait", record="always")(kiosk_reads),
        }
        with calling(self.hub.address, self.hub.key("desk")) as caller:
            for _ in range(steps):
                roll = self.random.random()
                if roll < 0.45:
                    self.sent.append(self.happens())
                    assert caller.statuses(self.sent[-1]) == ["ACCEPTED"]
                elif roll < 0.5:
                    said = self.states()
                    if said is not None:
                        assert caller.statuses(said) == ["ACCEPTED"]
                elif roll < 0.53:
                    names = f"account={self.random.choice(ACCOUNTS)}", f"cookie={self.random.choice(COOKIES)}"
                    link = event("link", *names, at=now() - self.random.choice([0, 10]) * MINUTE, kind=LINK)
                    self.sent.append(link)
                    assert caller.statuses(link) == ["ACCEPTED"]
                elif roll < 0.56:
                    incident = self.random.choice(["IOS-1", "WEB-7"])
                    self.random.choice([desk.open_incident, desk.fix_incident])(incident)
                elif roll < 0.565:
                    self.hub.call(self.hub.hub.plans.push(self.random.choice(plans()), {}, "test", ""))
                else:
                    self.meets(self.random.choice([desk, kiosk]), questions)

    def meets(self, touchpoint: segue.Touchpoint, questions: dict[segue.Touchpoint, Any]) -> None:
        """A customer comes to a touchpoint, which tells and decides, in whatever order, and may act."""
        kind, value = self.one()
        wait = self.random.choice([0, 0.2])
        with touchpoint.session(wait=wait, keep=self.random.choice(["0s", "5m"]), **{kind: value}) as customer:
            for _ in range(self.random.randint(1, 3)):
                if self.random.random() < 0.6:
                    customer.track(self.random.choice(["transfer.failed", "help.searched"]), transfer_id="T1")
                if self.random.random() < 0.1:
                    customer.identify(account=self.random.choice(ACCOUNTS))
                decision = customer.decide(questions[touchpoint])
                if decision.allowed and self.random.random() < 0.7:
                    with decision.act():
                        pass


@pytest.mark.parametrize("run", range(2))
def test_unchanged_code_gives_unchanged_answers_byte_for_byte(tmp_path: Path, run: int) -> None:
    seed = int(os.environ.get("SEGUE_SEED") or random.SystemRandom().randrange(10**6)) + run
    print(f"SEGUE_SEED={seed - run}")
    with run_hub(store=tmp_path / "hub" / "segue.db") as hub:
        hub.call(hub.hub.plans.push(plans()[0], {}, "test", ""))
        work = Work(hub, tmp_path, seed)
        with joined(hub, "desk", tmp_path, strict=False) as desk, joined(hub, "kiosk", tmp_path, strict=False) as kiosk:
            work.goes_on(desk, kiosk, 400)
            assert desk.flush(20)
            assert kiosk.flush(20)
            seen = Counter[str]()
            for touchpoint in (desk, kiosk):
                (question,) = touchpoint.questions.values()
                again = replayed(hub.address, hub.key(touchpoint.name), question)
                assert len(again) == touchpoint.status()["decisions"]
                assert unlike(again) == []
                for moment, _, _ in again:
                    seen["overlay"] += bool(moment.overlay)
                    seen["known"] += bool(moment.version)
                    seen["late"] += bool(moment.late)
                    seen["outcomes"] += bool(moment.basis.outcomes_at)
            # Of what makes it hard, everything was there.
            assert all(seen[name] for name in ("overlay", "known", "late", "outcomes")), seen
