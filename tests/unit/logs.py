"""Random customers for the laws: short logs full of ties, deadlines met to the microsecond, and odd keys.

Owns hypothesis strategies only. Runs are derandomised: the same code draws the same examples on every machine, and a
failure prints the blob that reproduces it.
"""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from segue.domain.context import Context
from segue.domain.fact import (
    ACTION,
    CHOICE,
    CLAIM,
    CONSENT,
    DECISION,
    EVENT,
    EXPOSURE,
    LINK,
    RESERVATION,
    SUBSCRIPTION,
    TRAIT,
    Fact,
    derived_id,
    properties_bytes,
)
from segue.domain.identifier import Identifier
from segue.domain.interaction import InteractionRef

from tests.building import BEGIN, DAY, HOUR, MINUTE


def law(examples: int = 150) -> settings:
    """Settings of a law: the same examples every time, a blob where one fails."""
    return settings(
        max_examples=examples, derandomize=True, deadline=None, print_blob=True, database=None,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip


STEPS = (
    0, 0, 1, MINUTE, 5 * MINUTE - 1, 5 * MINUTE, 15 * MINUTE - 1, 15 * MINUTE, HOUR, HOUR + 1, 4 * HOUR, 11 * HOUR,
    DAY, 3 * DAY - 1, 3 * DAY, 8 * DAY,
)  # fmt: skip
"""Gaps between facts: those at which the realistic plan's windows and deadlines end, and one microsecond beside."""
PEOPLE = (
    Identifier("account", "A-1"), Identifier("email", "a@x.org"), Identifier("cookie", "c1"),
    Identifier("cookie", "c2"),
    Identifier("cookie", "null"),
)  # fmt: skip
TOUCHPOINTS = ("test", "desk", "mailer")
KEYS = ("T1", "T2", "T3", 7, 7.0, 7.5, True, "", None)
TRANSFERS = ("started", "details_entered", "confirmed", "completed", "rejected", "failed")
INCIDENTS = ("opened", "diagnosed", "resolved", "given_up")
ACTIVATIONS = ("started", "verified", "completed")


def _value(*values: Any) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({"value": st.sampled_from(values)})


_details: st.SearchStrategy[tuple[str, str, dict[str, Any]]] = st.one_of(
    st.tuples(
        st.just(EVENT), st.sampled_from([f"transfer.{name}" for name in TRANSFERS]),
        st.one_of(
            st.fixed_dictionaries({"transfer_id": st.sampled_from(KEYS)}, optional={"reversed": st.booleans()}),
            st.just({}),
        ),
    ),
    st.tuples(
        st.just(EVENT), st.sampled_from([f"incident.{name}" for name in INCIDENTS] + ["complaint.sent"]),
        st.fixed_dictionaries({"number": st.integers(1, 20)}),
    ),
    st.tuples(st.just(EVENT), st.sampled_from([f"activation.{name}" for name in ACTIVATIONS]), st.just({})),
    st.tuples(
        st.just(EVENT), st.sampled_from(["help.searched", "call.started", "mail.opened", "interaction.ended"]),
        st.just({}),
    ),
    st.tuples(st.just(TRAIT), st.just("value_tier"), _value("low", "high")),
    st.tuples(st.just(TRAIT), st.just("in_arrears"), _value(False, True)),
    st.tuples(st.just(TRAIT), st.just("balance"), _value(-1, 0, 2.5, "?")),
    st.tuples(
        st.just(TRAIT), st.just("time_zone"),
        st.fixed_dictionaries({"value": st.sampled_from(["Europe/Berlin", "America/New_York", "nowhere", "+05:30"])}),
    ),
    st.tuples(
        st.just(CONSENT), st.sampled_from(["marketing", "analytics"]),
        st.fixed_dictionaries({"state": st.sampled_from(["granted", "denied", "withdrawn"])}),
    ),
    st.tuples(
        st.just(SUBSCRIPTION), st.sampled_from(["offers", "news"]),
        st.fixed_dictionaries({"state": st.sampled_from(["opted_in", "opted_out"])}),
    ),
    st.tuples(
        st.just(ACTION), st.sampled_from(["offer.upsell", "mail.news"]),
        st.fixed_dictionaries(
            {
                "status": st.sampled_from(["completed", "completed", "failed"]),
                "purpose": st.sampled_from(["marketing", "service"]), "topic": st.sampled_from(["offers", "news", ""]),
            }
        ),
    ),
    st.tuples(st.just(DECISION), st.just("chat.route"), _value("bot", "human")),
    st.tuples(
        st.just(RESERVATION), st.sampled_from(["offer.upsell", "mail.news"]),
        st.fixed_dictionaries(
            {
                "status": st.sampled_from(["granted", "granted", "released"]),
                "slots": st.sampled_from([["contact_pressure"], ["by_topic:offers"], ["contact_pressure", "daily"]]),
                "expires_at": st.sampled_from([5 * MINUTE, HOUR, DAY]), "frees": st.booleans(),
            }
        ),
    ),
    st.tuples(
        st.just(CLAIM), st.sampled_from(["conversation", "case"]),
        st.fixed_dictionaries(
            {
                "status": st.sampled_from(["held", "held", "offered", "accepted", "declined", "released"]),
                "until": st.sampled_from([MINUTE, HOUR, DAY]), "to": st.sampled_from(TOUCHPOINTS),
            }
        ),
    ),
    st.tuples(
        st.just(EXPOSURE), st.sampled_from(["control_group", "other"]),
        st.fixed_dictionaries({"arm": st.sampled_from(["held_out", "treated"])}),
    ),
    st.tuples(
        st.just(CHOICE), st.sampled_from(["topic:offers", "channel:email", "journey:money_transfer"]),
        st.fixed_dictionaries({"choice": st.sampled_from(["no", "left", ""])}),
    ),
    st.tuples(
        st.just(CHOICE), st.just("channel"), st.fixed_dictionaries({"choice": st.sampled_from(["sms", "email", ""])})
    ),
    st.tuples(st.just(LINK), st.just("link"), st.just({})),
)  # fmt: skip


def reservation_id(number: int) -> bytes:
    """The id of a reservation that is fact `number` of a log, known before its time is."""
    return derived_id(BEGIN, "reservation", str(number))


@st.composite
def logs(draw: st.DrawFn, least: int = 0, most: int = 30) -> list[Fact]:
    """A customer's facts, in their order."""
    at, facts = BEGIN, []
    for number in range(draw(st.integers(least, most))):
        at += draw(st.sampled_from(STEPS))
        kind, type_, drawn = draw(_details)
        properties = dict(drawn)
        for instant in {"expires_at", "until"} & properties.keys():
            properties[instant] += at
        if kind in (ACTION, RESERVATION) and properties.get("status") in ("completed", "released"):
            # Of a grant before or after it, of one given back already, of one that never was.
            about = draw(st.sampled_from([-1, *range(max(0, number - 4), number + 3)]))
            if about >= 0 or kind == RESERVATION:
                properties["reservation"] = reservation_id(about).hex()
        channel = draw(st.sampled_from(["web", "ivr", "voice", "chat", "email", ""]))
        names = draw(st.lists(st.sampled_from(PEOPLE), min_size=1, max_size=2, unique=True))
        visit = draw(st.sampled_from([None, "V1", "V2", "V3"])) if kind == EVENT else None
        seq = draw(st.sampled_from([0, 0, number]))
        facts.append(
            Fact(
                reservation_id(number) if kind == RESERVATION else derived_id(at, "logs", str(number)),
                kind,
                type_,
                at,
                seq,
                tuple(names),
                channel,
                draw(st.sampled_from(TOUCHPOINTS)),
                InteractionRef(visit) if visit else None,
                properties_bytes(properties),
            )
        )
    return sorted(facts, key=lambda fact: fact.order)


delays = st.one_of(
    st.sampled_from([0, 1, 15 * MINUTE, HOUR - 1, HOUR, 2 * HOUR, DAY, 3 * DAY, 7 * DAY]), st.integers(0, 9 * DAY)
)  # fmt: skip
"""How long after the last fact something is asked."""

QUESTIONS: tuple[Any, ...] = (
    lambda c: c.seen("ivr", "1h"),
    lambda c: c.seen("web"),
    lambda c: c.count("call.started", "24h"),
    lambda c: c.count("voice"),
    lambda c: c.last("transfer.failed"),
    lambda c: c.trait("value_tier"),
    lambda c: c.trait("balance"),
    lambda c: c.known("in_arrears"),
    lambda c: c.journey("money_transfer").stalled,
    lambda c: c.journey("money_transfer").stage,
    lambda c: c.journey("activation").active,
    lambda c: c.journey("incident").progress_at,
    lambda c: c.journey("money_transfer").completed_at,
    lambda c: [(j.map, j.key, j.stage, j.stalls, dict(j.interactions)) for j in c.journeys()],
    lambda c: c.in_audience("stuck_in_transfer"),
    lambda c: c.in_audience("frequent_caller"),
    lambda c: c.in_audience("gone_quiet"),
    lambda c: c.in_audience("evening_person"),
    lambda c: c.consents_to("marketing"),
    lambda c: c.subscribed("email", "offers"),
    lambda c: [(f.id, f.type, f.properties) for f in c.timeline()],
    lambda c: len(c.decisions("chat.route")),
    lambda c: [f.properties for f in c.actions()],
    lambda c: c.interactions(),
    lambda c: [(c.claim(s).holder, c.claim(s).offered_to, c.claim(s).until) for s in ("conversation", "case")],
    lambda c: (c.choice("topic:offers"), c.choice("channel"), c.choice("journey:money_transfer")),
    lambda c: c.holdout("control_group"),
    lambda c: (c.effort.score, c.effort.switches, c.effort.abandoned),
    lambda c: str(c.brief()),
    lambda c: c.trait("valu_tier"),
    lambda c: 1 // c.count("ivr"),
)


@st.composite
def functions(draw: st.DrawFn) -> Any:
    """A decision function: asks some questions, answers with what it heard or with actions."""
    from segue.domain.action import Action

    asked = draw(st.lists(st.sampled_from(QUESTIONS), max_size=5))
    proposes = draw(
        st.lists(
            st.builds(
                Action, kind=st.sampled_from(["offer.upsell", "mail.news", "call.back"]),
                topic=st.sampled_from(["offers", "news", ""]), purpose=st.sampled_from(["marketing", "service"]),
                channel=st.sampled_from(["email", "sms", ""]),
            ),
            max_size=3,
        )
    )  # fmt: skip

    def function(context: Context) -> Any:
        heard = [question(context) for question in asked]
        if not proposes:
            return heard
        return proposes if len(heard) % 2 else proposes[0]

    return function
