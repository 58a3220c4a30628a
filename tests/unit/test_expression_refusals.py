"""What a plan's expression may not say, and what its author is told: the name, the line and column, and what to write.

Holds that whatever would fail or never hold once the plan runs is refused when the plan is checked: names that mean
nothing, constants that are no duration or zone, moments that move in ways nothing is known of, and the parts of CEL
that Segue leaves out.
"""

from __future__ import annotations

import pytest
from segue.domain.vocabulary import Channel, EventName, TraitName, Vocabulary
from segue_hub.checking.expression import Checker, ExpressionFlawed, Flaw

CHECKER = Checker(
    Vocabulary(
        channels={"web": Channel(), "ivr": Channel()},
        events={"call.started": EventName()},
        traits={"tier": TraitName(), "balance": TraitName(type="double")},
        purposes=("marketing",),
    ),
    ("transfer",),
    ("stuck",),
)


def flaws(text: str, place: str = "audience", result: str = "bool") -> list[Flaw]:
    """What the checker says of a text; nothing where it may be asked."""
    try:
        CHECKER.check(text, place, result)
    except ExpressionFlawed as error:
        return error.flaws
    return []


def flaw(text: str, place: str = "audience") -> Flaw:
    found = flaws(text, place)
    assert found, f"{text} was not refused"
    return found[0]


def at(text: str, place: str = "audience") -> tuple[int, int]:
    found = flaw(text, place)
    return found.line, found.column


@pytest.mark.parametrize(
    "text",
    [
        'trait.tier == "gold"', 'seen("web", "90s") && !seen("ivr")', 'count("call.started", "2w") >= 64',
        'now - last("web") > duration("30d")', 'now.getHours("Europe/Berlin") >= 18', "now > last(\"web\")",
        'journeys("transfer").exists(j, j.stalled && now - j.started_at > duration("1h"))', 'known("tier")',
        'journey.transfer.stage == "details"', 'last("web") - last("ivr") > duration("1h")',
        'now - last("web") > now - last("ivr")', 'consents_to("marketing") || subscribed("email", "offers")',
    ],
)  # fmt: skip
def test_what_a_plan_needs_may_be_said(text: str) -> None:
    assert not flaws(text)


class TestLeftOut:
    @pytest.mark.parametrize("text", ['trait.tier.matches("g.*")', 'matches(trait.tier, "g.*")'])
    def test_regular_expressions_are_refused_with_what_to_write_instead(self, text: str) -> None:
        assert "regular expressions are not supported" in flaw(text).message
        assert "startsWith" in flaw(text).message

    def test_a_regular_expression_is_found_on_its_line(self) -> None:
        text = 'seen("web") &&\n  trait.tier.matches("g.*")'
        assert at(text) == (2, text.splitlines()[1].index("(") + 1)

    def test_messages_are_refused_by_their_name(self) -> None:
        found = flaw('seen("web") ||\n  google.protobuf.Timestamp{seconds: 1} == now')
        assert "messages (google.protobuf.Timestamp) are not supported" in found.message
        assert found.line == 2

    def test_has_of_a_variable_is_refused_since_it_is_always_true(self) -> None:
        found = flaw('seen("web") &&\n  has(trait.tier)')
        assert "has(trait.tier) is always true" in found.message
        assert "known(" in found.cure
        assert (found.line, found.column) == (2, 6)

    @pytest.mark.parametrize("text", ["has(journey.transfer.active)", "has( trait . tier )", "has (trait.tier)"])
    def test_has_is_refused_however_it_is_written(self, text: str) -> None:
        assert "is always true" in flaw(text).message

    def test_has_of_a_property_is_what_it_is_for(self) -> None:
        assert not flaws("has(event.properties.amount)", "map")


class TestMovingTime:
    @pytest.mark.parametrize(
        "text",
        [
            '(now - last("web")) + (now - last("ivr")) > duration("1h")',
            'now - last("web") > last("ivr") - now',
            'last("web") - now < now - last("ivr")',
        ],
    )
    def test_now_counts_once(self, text: str) -> None:
        assert "`now` may count once" in flaw(text).message

    @pytest.mark.parametrize(
        ("text", "function"),
        [
            ('string(now) == "a"', "string"), ("int(now) > 5", "int"), ('now in [last("web")]', "in"),
            ('dyn(now) > last("web")', "dyn"), ('type(now) == type(last("web"))', "type"),
        ],
    )  # fmt: skip
    def test_a_moving_moment_may_only_be_compared_added_to_or_taken_apart(self, text: str, function: str) -> None:
        message = flaw(text).message
        assert function in message
        assert "cannot be applied to a moment that moves with `now`" in message

    @pytest.mark.parametrize(
        "text",
        [
            '[now].exists(t, t > last("web"))', '{"a": now}.a > last("web")',
            'journeys("transfer").map(j, now - j.started_at).exists(d, d > duration("1h"))',
        ],
    )  # fmt: skip
    def test_a_moving_moment_may_not_be_kept(self, text: str) -> None:
        assert "compare it first" in flaw(text).message

    def test_a_moving_moment_may_not_be_a_branch(self) -> None:
        assert "compare inside the branches" in flaw('(seen("web") ? now : last("web")) > last("ivr")').message

    def test_a_moment_that_runs_backwards_may_not_be_taken_apart(self) -> None:
        assert "runs backwards" in flaw('(last("web") - now).getSeconds() > 1').message

    def test_the_refused_part_is_found_on_its_line(self) -> None:
        assert at('seen("web") &&\n  string(now) == "a"') == (2, 9)


class TestConstants:
    @pytest.mark.parametrize(
        ("text", "named"),
        [
            ('now - last("web") > duration("30x")', "30x"), ('now - last("web") > duration("nope")', "nope"),
            ('now > timestamp("2026-13-01T00:00:00Z")', "2026-13-01"), ('now > timestamp("tomorrow")', "tomorrow"),
            ('now.getHours("Europe/Berln") > 5', "Europe/Berln"), ('now.getHours("+24:00") > 5', "+24:00"),
            ('now.getHours("localtime") > 5', "localtime"), ('now.getHours("../etc/passwd") > 5', "../etc/passwd"),
        ],
    )  # fmt: skip
    def test_a_constant_that_would_fail_when_asked_is_refused(self, text: str, named: str) -> None:
        assert repr(named)[1:-1] in flaw(text).message
        assert at(text) == (1, text.index(named) + (0 if text[text.index(named) - 1] == '"' else 1))

    def test_a_bad_constant_is_found_on_its_line(self) -> None:
        assert at('seen("web") &&\n\n  now.getHours("Nowhere") > 5') == (3, 16)

    def test_the_same_text_elsewhere_is_not_blamed(self) -> None:
        assert at('trait.tier == "nope" &&\n  now - last("web") > duration("nope")') == (2, 32)

    @pytest.mark.parametrize(
        "text",
        [
            'count("call.started", "1d") >= 65', 'count("call.started", "1d") > 64',
            'count("call.started", "1d") <= 64', 'count("call.started", "1d") < 65',
            '65 <= count("call.started", "1d")',
        ],
    )  # fmt: skip
    def test_more_than_is_kept_cannot_be_counted(self, text: str) -> None:
        assert "a count is kept up to 64" in flaw(text).message

    def test_a_count_of_all_time_may_be_any_number(self) -> None:
        assert not flaws('count("call.started") > 100')

    @pytest.mark.parametrize(
        ("window", "cause"), [("1x", "is no duration"), ("0s", "is empty"), ("-1h", "is negative"), ("", "")]
    )
    def test_a_window_is_a_positive_duration(self, window: str, cause: str) -> None:
        found = flaws(f'seen("web", "{window}")')
        assert cause in found[0].message if cause else not found

    @pytest.mark.parametrize("text", ["seen(trait.tier)", 'count("call.started", trait.tier) > 1'])
    def test_names_and_windows_are_constants(self, text: str) -> None:
        assert "takes constant texts" in flaw(text).message

    @pytest.mark.parametrize(
        ("text", "place"),
        [
            ('known("ti" + "er")', "audience"), ('in_audience("st" + "uck")', "guardrail"),
            ('seen("we" + "b", "1h")', "audience"), ('count("web", "1" + "h") > 1', "audience"),
            ('journeys("trans" + "fer").exists(j, j.stalled)', "audience"),
        ],
    )  # fmt: skip
    def test_names_are_written_out(self, text: str, place: str) -> None:
        """Counterexample: a guardrail on `in_audience("st" + "uck")` was taken to read nothing, so that where what it
        reads is hidden it let everything out.
        """
        assert "takes texts that are written out" in flaw(text, place).message


class TestNames:
    @pytest.mark.parametrize(
        ("text", "wrong", "right"),
        [
            ('trait.teir == "gold"', "trait.teir", "trait.tier"),
            ("journey.transfr.active", "journey.transfr.active", "journey.transfer.active"),
            ("journey.transfer.stagge", "journey.transfer.stagge", "journey.transfer.stage"),
            ('sean("web")', "sean", "seen"),
            ('seen("iwr")', "iwr", "ivr"),
            ('count("call.startet") > 1', "call.startet", "call.started"),
            ('known("teir")', "teir", "tier"),
            ('journeys("transfr").exists(j, j.stalled)', "transfr", "transfer"),
            ('consents_to("markting")', "markting", "marketing"),
        ],
    )
    def test_a_misspelt_name_is_refused_with_the_nearest_one(self, text: str, wrong: str, right: str) -> None:
        found = flaw(text)
        assert repr(wrong) in found.message
        assert f"Did you mean {right!r}?" in f"{found.message} {found.cure}"

    def test_a_name_like_no_other_is_refused_with_those_that_are_known(self) -> None:
        found = flaw("nothing(1) == 1")
        assert "'nothing'" in found.message
        assert "Known: " in found.cure

    def test_each_unknown_name_is_found_on_its_line(self) -> None:
        found = flaws('trait.tier == "gold" &&\n  trait.teir == "b" ||\n    sean("web")')
        assert [(each.line, each.column) for each in found] == [(2, 8), (3, 9)]

    def test_an_unknown_channel_is_found_on_its_line(self) -> None:
        assert at('seen("web") &&\n  seen("iwr")') == (2, 7)

    @pytest.mark.parametrize(
        ("text", "place"),
        [('event.type == "x"', "audience"), ('action.kind == "x"', "map"), ("now > now", "action"),
         ('seen("web")', "action")],
    )  # fmt: skip
    def test_a_name_of_another_place_is_refused(self, text: str, place: str) -> None:
        assert flaws(text, place)

    def test_only_guardrails_ask_for_audiences(self) -> None:
        assert not flaws('in_audience("stuck")', "guardrail")
        assert "'in_audience' cannot be asked here" in flaw('in_audience("stuck")').message
        assert "Did you mean 'stuck'?" in flaw('in_audience("stcuk")', "guardrail").message


class TestTypes:
    def test_values_of_two_types_are_not_compared(self) -> None:
        found = flaw("trait.tier == 5")
        assert "(string, int)" in found.message
        assert found.cure
        assert (found.line, found.column) == (1, 12)

    @pytest.mark.parametrize("text", ["trait.tier", 'count("web")', "now", 'now - last("web")'])
    def test_a_condition_gives_a_bool(self, text: str) -> None:
        assert "gives no bool" in flaw(text).message

    def test_a_key_may_give_anything(self) -> None:
        assert not flaws("event.properties.id", "map", "any")

    @pytest.mark.parametrize(
        ("text", "counts"), [("seen()", "1 or 2"), ('seen("web", "1h", "x") ', "1 or 2"), ("last() < now", "1")]
    )
    def test_a_function_says_how_many_texts_it_takes(self, text: str, counts: str) -> None:
        assert f"takes {counts} texts" in flaw(text).message


class TestSyntax:
    @pytest.mark.parametrize("text", ['seen("web") &&', '(seen("web")', "1 + ", ""])
    def test_an_expression_that_ends_too_early_says_so(self, text: str) -> None:
        assert any("ends too early" in each.message for each in flaws(text))

    @pytest.mark.parametrize("text", ['"abc', "a b", "trait.tier = 5", "#", "(" * 60 + "true" + ")" * 60])
    def test_whatever_is_wrong_is_told_and_never_crashes(self, text: str) -> None:
        found = flaw(text)
        assert found.message
        assert found.line >= 1
        assert found.column >= 1
