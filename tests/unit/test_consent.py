"""Consents and subscriptions (semantics ID4): whom they bind, and what holds for a customer of several identifiers."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from segue.domain.consent import allows, in_force
from segue.domain.fact import Fact
from segue.domain.fold import fold
from segue.domain.identifier import Identifier
from segue.domain.projection import project, receive

from tests.building import consent, fact, link, plan, seen_by, subscription, who
from tests.unit.logs import law

PLAN = plan()
ACCOUNT, COOKIE, PHONE = "account=A-1", "cookie=c1", "phone=+4930"


def marketing(*facts: Fact) -> str:
    return in_force(fold(PLAN, facts).consents.get("marketing"))


class TestWhomAConsentBinds:
    """ID4: the identifiers linked at its `occurred_at`."""

    def test_the_one_that_it_names(self) -> None:
        content = fold(PLAN, [fact("x", "0s", COOKIE), consent("marketing", "granted", "1m", ACCOUNT)])
        assert set(content.consents["marketing"]) == set(who(ACCOUNT))

    def test_and_those_that_are_linked_to_it_by_then(self) -> None:
        content = fold(PLAN, [link("0s", ACCOUNT, COOKIE), consent("marketing", "granted", "1m", ACCOUNT)])
        assert set(content.consents["marketing"]) == set(who(ACCOUNT, COOKIE))

    def test_also_over_two_links(self) -> None:
        log = [link("0s", ACCOUNT, COOKIE), link("1m", COOKIE, PHONE), consent("marketing", "denied", "2m", PHONE)]
        assert set(fold(PLAN, log).consents["marketing"]) == set(who(ACCOUNT, COOKIE, PHONE))

    def test_and_those_that_it_names_together(self) -> None:
        content = fold(PLAN, [consent("marketing", "granted", "1m", ACCOUNT, COOKIE)])
        assert set(content.consents["marketing"]) == set(who(ACCOUNT, COOKIE))

    def test_but_not_one_that_is_linked_later(self) -> None:
        content = fold(PLAN, [consent("marketing", "granted", "1m", ACCOUNT), link("2m", ACCOUNT, COOKIE)])
        assert set(content.consents["marketing"]) == set(who(ACCOUNT))

    def test_a_link_that_arrives_late_but_happened_before_counts(self) -> None:
        """Arrival does not matter: the link of minute 0, told last, binds the cookie to the consent of minute 1."""
        log = [consent("marketing", "granted", "1m", ACCOUNT), link("0s", ACCOUNT, COOKIE)]
        assert set(fold(PLAN, log).consents["marketing"]) == set(who(ACCOUNT, COOKIE))

    def test_blocked_values_link_nobody_and_are_bound_by_nothing(self) -> None:
        log = [
            link("0s", ACCOUNT, "cookie=null"), link("1m", COOKIE, "cookie=null"),
            consent("marketing", "granted", "2m", ACCOUNT),
        ]  # fmt: skip
        assert set(fold(PLAN, log).consents["marketing"]) == set(who(ACCOUNT))

    def test_a_consent_of_nobody_binds_nobody_and_breaks_no_projection(self) -> None:
        """Counterexample: it left an empty table, on which the projection failed for ever."""
        content = fold(PLAN, [consent("marketing", "granted", "0s", "cookie=null")])
        assert content.consents == {}
        held = receive(project(content, PLAN, PLAN.grant("desk"), "service", content.at)[0])
        assert not allows(held.content.consents.get("marketing"))


class TestWhatHolds:
    """ID4: the most restrictive of the latest of each identifier."""

    def test_nothing_said_is_nothing_granted(self) -> None:
        assert (marketing(fact("x", "0s")), allows(None)) == ("", False)

    def test_the_latest_of_one_identifier(self) -> None:
        said = [("granted", "0s"), ("withdrawn", "1m"), ("granted", "2m")]
        assert marketing(*[consent("marketing", state, at) for state, at in said]) == "granted"

    def test_a_merge_never_widens_it(self) -> None:
        log = [
            consent("marketing", "denied", "0s", COOKIE), consent("marketing", "granted", "1m", ACCOUNT),
            link("2m", ACCOUNT, COOKIE),
        ]  # fmt: skip
        assert marketing(*log) == "denied"

    def test_nor_does_it_where_the_refusal_is_the_older_or_of_the_stronger(self) -> None:
        log = [
            consent("marketing", "withdrawn", "0s", ACCOUNT), consent("marketing", "granted", "1m", COOKIE),
            link("2m", ACCOUNT, COOKIE),
        ]  # fmt: skip
        assert marketing(*log) == "withdrawn"

    def test_once_they_are_one_a_new_grant_speaks_for_all(self) -> None:
        log = [
            consent("marketing", "denied", "0s", COOKIE), consent("marketing", "granted", "1m", ACCOUNT),
            link("2m", ACCOUNT, COOKIE), consent("marketing", "granted", "3m", ACCOUNT),
        ]  # fmt: skip
        assert marketing(*log) == "granted"

    def test_purposes_are_apart(self) -> None:
        context = seen_by(PLAN, [consent("analytics", "granted", "0s")], "1m")
        assert (context.consents_to("analytics"), context.consents_to("marketing")) == (True, False)

    def test_a_subscription_is_no_consent_and_no_other_channels_subscription(self) -> None:
        context = seen_by(PLAN, [subscription("offers", "opted_in", "0s", channel="email")], "1m")
        assert context.subscribed("email", "offers")
        assert not context.subscribed("sms", "offers")
        assert not context.subscribed("email", "news")
        assert not context.consents_to("marketing")

    def test_an_unknown_state_allows_nothing(self) -> None:
        assert not allows({Identifier("account", "A-1"): ("perhaps", 0), Identifier("cookie", "c"): ("granted", 1)})

    @law()
    @given(
        st.lists(
            st.tuples(st.sampled_from([ACCOUNT, COOKIE, PHONE]), st.sampled_from(["granted", "denied", "withdrawn"]))
        ),
        st.lists(st.tuples(st.sampled_from([ACCOUNT, COOKIE, PHONE]), st.sampled_from([ACCOUNT, COOKIE, PHONE]))),
    )
    def test_linking_afterwards_changes_nothing_that_holds(
        self, said: list[tuple[str, str]], links: list[tuple[str, str]]
    ) -> None:
        """Whatever was said, a later merge of those it was said of leaves the customer's value where it was."""
        log = [consent("marketing", state, f"{n}m", name) for n, (name, state) in enumerate(said)]
        merges = [link(f"{n}h", *sorted(set(pair))) for n, pair in enumerate(links, start=1)]
        assert marketing(*log, *merges) == marketing(*log)


def test_what_is_sent_tells_the_value_but_not_of_whom() -> None:
    content = fold(PLAN, [link("0s", ACCOUNT, COOKIE), consent("marketing", "granted", "1m", ACCOUNT)])
    sections = {s.name: s.data for s in project(content, PLAN, PLAN.grant("desk"), "service", content.at)[0]}
    assert b"A-1" not in sections["consents"]
    assert b"granted" in sections["consents"]
