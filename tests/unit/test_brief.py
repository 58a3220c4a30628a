"""The brief: golden texts in both languages, and that nothing is told which cannot be seen."""

# ruff: noqa: RUF001  # Chinese has its own punctuation
from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from segue.domain.brief import Brief, brief
from segue.domain.claim import HELD
from segue.domain.content import Content
from segue.domain.fact import CHOICE, CLAIM, DECISION, Fact
from segue.domain.fold import advance, fold
from segue.domain.grant import SECTIONS, Grant
from segue.domain.instant import instant_text
from segue.domain.projection import project, receive

from tests.building import BEGIN, HOUR, action, fact, moment, plan
from tests.unit.logs import delays, law, logs

PLAN = plan()

ANN = [
    fact("transfer.started", "0m", channel="app", transfer_id="T-1"),
    fact("transfer.details_entered", "1m", channel="app", transfer_id="T-1"),
    fact("transfer.failed", "2m", channel="app", transfer_id="T-1", error="E42"),
    fact("help.searched", "4m", channel="web", query="limit", visit="W-1"),
    fact("transfer.failed", "6m", channel="app", transfer_id="T-1", error="E42"),
    fact("interaction.started", "10m", channel="ivr", visit="C-1"),
    fact("interaction.queued", "14m", channel="ivr", visit="C-1", seconds=240),
    fact("interaction.ended", "15m", channel="ivr", visit="C-1", outcome="abandoned"),
    fact("promise.made", "16m", channel="chat", what="a call back", due=instant_text(BEGIN + 3 * HOUR)),
    fact("chat.route", "16m", kind=DECISION, touchpoint="chat", value="bot", reason="RULE"),
    fact("email.upsell", "17m", kind=DECISION, touchpoint="email", value="offer.upsell", reason="HELD_BACK"),
    action("offer.callback", "18m", channel="voice", touchpoint="desk"),
    fact("topic:offers", "19m", kind=CHOICE, choice="no"),
    fact("conversation", "19m", kind=CLAIM, touchpoint="chat", status=HELD, until=BEGIN + HOUR, note="she is angry"),
]

ENGLISH = [
    "The customer wants to: send money to another account (stalled at details, begun 30 min ago).",
    "So far: transfer started on app, 30 min ago; transfer details entered on app, 29 min ago; "
    "transfer failed (E42) on app, 28 min ago; help searched (limit) on web, 26 min ago; "
    "transfer failed (E42) on app, 24 min ago.",
    "Failed 2 times, last: transfer failed (E42) on app, 24 min ago.",
    "Offered: offer.callback by desk (completed, 12 min ago); promised: a call back (on chat, due in 2 h); "
    "decided: bot by chat (chat.route), offer.upsell of email (held back by a guardrail); "
    'the customer\'s choice: nothing about offers; note: "she is angry".',
    "Effort of late: came to us twice, changed the channel once, gave up once, 4 minutes in queues.",
]
CHINESE = [
    "客户想要：Send money to another account（30分钟前开始，在 details 阶段停滞）。",
    "到目前为止：30分钟前在 app：transfer started；29分钟前在 app：transfer details entered；"
    "28分钟前在 app：transfer failed (E42)；26分钟前在 web：help searched (limit)；"
    "24分钟前在 app：transfer failed (E42)。",
    "共失败2次，最近一次：24分钟前在 app：transfer failed (E42)。",
    "已提供：desk 的 offer.callback（已完成，12分钟前）；已承诺：a call back（在 chat，2小时后到期）；"
    "已决定：chat 选定 bot（chat.route）、email 的 offer.upsell（被共享规则拦下）；"
    "客户的选择：不想收到关于 offers 的信息；备注：“she is angry”。",
    "客户近期的付出：联系2次，更换渠道1次，中途放弃1次，排队4分钟。",
]


def told(facts: list[Fact], at: str = "30m", language: str = "en") -> Brief:
    content = fold(PLAN, facts)
    advance(content, PLAN, moment(at))
    return brief(content, PLAN, moment(at), language)


def test_the_whole_story_in_english_and_in_chinese() -> None:
    assert told(ANN).sentences() == ENGLISH
    assert told(ANN, language="zh").sentences() == CHINESE
    assert str(told(ANN)) == " ".join(ENGLISH)
    assert str(told(ANN, language="zh")) == "".join(CHINESE)
    assert told(ANN).sentences("zh-CN") == CHINESE
    assert told(ANN, language="tlh").sentences() == ENGLISH, "an unknown language is English, never an error"


def test_nobody_known() -> None:
    assert told([]).sentences() == ["Nothing is known of this customer yet."]
    assert told([], language="zh").sentences() == ["目前没有关于该客户的任何信息。"]


def test_no_journey_is_said() -> None:
    assert told([fact("help.searched", "0m")]).sentences()[0] == "No journey of this customer is under way."
    assert told([fact("help.searched", "0m")], language="zh").sentences()[0] == "该客户目前没有进行中的旅程。"


def test_what_is_hidden_is_said_and_not_told() -> None:
    grant = Grant(touchpoint="kiosk", reads={"service": ("activity", "interactions")})
    sections, _ = project(fold(PLAN, ANN), PLAN, grant, "service", moment("30m"))
    seen = brief(receive(sections).content, PLAN, moment("30m"))
    assert seen.sentences() == [
        "The customer's choice: nothing about offers.",
        "Effort of late: came to us twice, changed the channel once, gave up once, 4 minutes in queues; "
        "not visible here: timeline, journeys, decisions, actions.",
    ]
    assert seen.sentences("zh")[-1].endswith("此处不可见：timeline、journeys、decisions、actions。")
    none, _ = project(fold(PLAN, ANN), PLAN, Grant(touchpoint="x"), "service", moment("30m"))
    assert (
        "Not visible here: timeline, journeys, interactions, decisions, actions."
        in brief(receive(none).content, PLAN, moment("30m")).sentences()
    )


class TestPromises:
    MADE = fact("promise.made", "0m", channel="chat", what="a refund", due=instant_text(BEGIN + 2 * HOUR))

    def test_due_and_overdue(self) -> None:
        assert "promised: a refund (on chat, due in 2 h)" in told([self.MADE], "1m").sentences()[1].lower()
        assert "a refund (on chat, overdue for 3 h)" in told([self.MADE], "5h").sentences()[1]
        assert "a refund（在 chat，已逾期3小时）" in told([self.MADE], "5h", "zh").sentences()[1]

    def test_a_kept_one_is_told_no_more(self) -> None:
        kept = fact("promise.kept", "30m", what="a refund")
        assert told([self.MADE, kept]).promised == ()
        assert told([self.MADE, fact("promise.kept", "30m", what="another")]).promised != ()

    @pytest.mark.parametrize("due", [None, 5, "soon", ""])
    def test_one_without_an_instant_has_no_time(self, due: Any) -> None:
        (promise,) = told([fact("promise.made", "0m", channel="chat", what="a refund", due=due)]).promised
        assert promise.due_in == 0
        assert (
            "Promised: a refund (on chat)."
            in told([fact("promise.made", "0m", channel="chat", what="a refund")]).sentences()
        )


def test_one_failure_is_one_and_every_choice_is_said_in_words() -> None:
    failed = fact("transfer.failed", "0m", channel="app", transfer_id="T-1", error="E42")
    assert "Failed once: transfer failed (E42) on app, 60 s ago." in told([failed], "1m").sentences()
    assert "失败1次：60秒前在 app：transfer failed (E42)。" in told([failed], "1m", "zh").sentences()
    chose = [
        fact(about, "0m", kind=CHOICE, choice=choice)
        for about, choice in (("channel", "sms"), ("channel:email", "no"), ("journey:activation", "left"))
    ]
    said = "prefers sms, nothing by email, left the journey activation"
    assert f"The customer's choice: {said}." in told(chose).sentences()
    assert (
        "客户的选择：首选 sms、不要通过 email 联系、已退出旅程 activation。" in told(chose, language="zh").sentences()
    )
    assert (
        "The customer's choice: no marketing."
        in told([fact("purpose:marketing", "0m", kind=CHOICE, choice="no")]).sentences()
    )


def test_the_note_of_a_claim_is_passed_on() -> None:
    offered = fact("conversation", "1m", kind=CLAIM, touchpoint="chat", status="offered", until=BEGIN + HOUR, to="desk",
                   note="she is in a hurry")  # fmt: skip
    held = fact("conversation", "0m", kind=CLAIM, touchpoint="chat", status=HELD, until=BEGIN + HOUR)
    assert told([held, offered]).sentences()[-1] == 'Note: "she is in a hurry".'
    assert told([held, offered], "2h").note == "", "the claim has run out"


def test_the_structured_form_is_json_and_says_the_same() -> None:
    plain = json.loads(json.dumps(told(ANN).plain()))
    assert plain["sentences"] == ENGLISH
    assert plain["wanted"] == [
        {"title": "Send money to another account", "stalled": True, "stage": "details", "begun_s": 1800.0}
    ]
    assert plain["promised"][0]["due_in_s"] == 9000.0
    assert plain["effort"] == {"interactions": 2, "switches": 1, "abandoned": 1, "queue_minutes": 4}
    assert plain["tried"][0]["fact"] == ANN[0].id.hex()
    assert plain["hidden"] == []


GRANTS = st.builds(
    lambda sections: Grant(touchpoint="x", channel="chat", reads={"service": tuple(sections)}),
    st.lists(st.sampled_from(SECTIONS), unique=True),
)
TOLD_BY = {"tried": "timeline", "failed": "timeline", "promised": "timeline", "wanted": "journeys",
           "answered": "decisions", "offered": "actions", "effort": "interactions"}  # fmt: skip


@law(200)
@given(facts=logs(), delay=delays, grant=GRANTS, promised=st.booleans())
def test_no_fact_is_told_that_is_not_in_the_visible_timeline(
    facts: list[Fact], delay: int, grant: Grant, promised: bool
) -> None:
    more = [fact("promise.made", "1m", channel="chat", what="x"), fact("chat.x", "1m", kind=DECISION, value="secret")]
    log = sorted([*facts, *(more if promised else ())], key=lambda f: f.order)
    at = max([BEGIN, *(f.occurred_at for f in log)]) + delay
    sections, _ = project(fold(PLAN, log), PLAN, grant, "service", at)
    content = receive(sections).content
    found = brief(content, PLAN, at)
    sentences = found.sentences()
    assert len(sentences) <= 5
    assert found.facts <= visible(content)
    for part, section in TOLD_BY.items():
        if not grant.may_read(section, "service"):
            assert not getattr(found, part), f"{part} is told without {section}"
    for section in ("timeline", "journeys", "interactions", "decisions", "actions"):
        assert (section in found.hidden) == (not grant.may_read(section, "service"))
    assert all(name in sentences[-1] for name in found.hidden)
    # What is not told of adds nothing: without it, the same is said.
    less = content.fork()
    less.timeline = [f for f in content.timeline if f.id in found.facts or _counts(f, found)]
    assert brief(less, PLAN, at).sentences() == sentences


def visible(content: Content) -> set[bytes]:
    return {f.id for f in (*content.timeline, *content.decisions, *content.actions)}


def _counts(f: Fact, found: Brief) -> bool:
    """Failures before the last one are counted, not told one by one; a promise that was kept ends another."""
    return f.id in {step.fact for step in found.failed} or f.type == "promise.kept"


@law(60)
@given(facts=logs(), delay=delays)
def test_both_languages_tell_the_same_facts_and_any_age_reads_well(facts: list[Fact], delay: int) -> None:
    at = max([BEGIN, *(f.occurred_at for f in facts)]) + delay
    found = brief(fold(PLAN, facts), PLAN, at)
    english, chinese = found.sentences(), found.sentences("zh")
    assert len(english) == len(chinese)
    assert all(sentence.endswith(".") for sentence in english)
    assert all(sentence.endswith("。") for sentence in chinese)
    assert replace(found, language="zh").sentences() == chinese
