"""Updates: what a subscription is told, by what its stream was told of it before.

Owns the choice between a context, "unchanged", "gone" and nothing, and what of the client's own facts it includes. Not
when it is told, nor with what others: that is the stream's.
"""

from __future__ import annotations

from segue.domain.instant import NEVER
from segue.v1 import sync_pb2 as pb

from ..services.contexts import Contexts
from ..services.earlier_plans import EarlierPlans
from ..services.fan_out import FanOut, Subscription
from ..services.head import Head
from ..services.plans import Plans
from ..services.stored_content import Stored
from ..services.timers import Timers
from ..storage.ports import Store
from .context_service import Projections
from .frames import encoded


class Updates:
    """Makes updates, and notes in the subscription what its client holds from then on."""

    def __init__(
        self, fan_out: FanOut, contexts: Contexts, projections: Projections, plans: Plans, earlier: EarlierPlans,
        timers: Timers, store: Store,
    ) -> None:  # fmt: skip
        self._fan_out = fan_out
        self._contexts = contexts
        self._projections = projections
        self._plans = plans
        self._earlier = earlier
        self._timers = timers
        self._store = store

    def of(self, subscription: Subscription) -> bytes | None:
        """What it resolves to now, as an encoded ContextUpdate; None where the client knows already."""
        number, contexts = subscription.number, self._contexts
        grant = self._plans.current.grant(subscription.stream.touchpoint)
        plan = self._earlier.plan_of(subscription.stream)
        view = self._projections.view(grant, subscription.purpose, plan)
        if not self._fan_out.may_show(subscription):
            return None  # it came to her by a unit that is not folded yet: what came with it is told with that
        if not subscription.customer:
            if subscription.answered and not subscription.holds:
                return None
            subscription.answered, subscription.holds, subscription.version = True, "", 0
            included, unknown = self._pending(subscription, 0)
            return encoded(pb.ContextUpdate(subscription=number, gone="NOT_FOUND", included=included, unknown=unknown))
        head: Head | Stored
        if plan is self._plans.current and subscription.answered:  # something came: what is stored is not all
            head = contexts.read(subscription.customer)
        elif plan is self._plans.current:
            head = self._projections.read(subscription.customer, grant, subscription.purpose)
        else:
            head = self._earlier.read(subscription.customer, plan)
        version = contexts.version(head)
        included, unknown = self._pending(subscription, head.position)
        held = (subscription.version, subscription.view, subscription.holds)
        customer = self._projections.name(subscription.customer, head)
        if not customer or not (head.position or contexts.identifiers(subscription.customer)):
            return None  # merged away in a unit that is being folded: the frame of the one it is part of is on its way
        if not contexts.still_resolves(subscription.identifier, subscription.customer, head):
            return None  # moved by a unit that nobody was told of yet: whose it is now comes with that
        if held == (version, view, customer):
            if subscription.answered and not included:
                return None
            subscription.answered = True
            return encoded(pb.ContextUpdate(subscription=number, unchanged=True, included=included, unknown=unknown))
        included = list(dict.fromkeys([*included, *subscription.own]))
        subscription.own.clear()
        context, renew_at = self._projections.encoded(subscription.customer, head, grant, subscription.purpose, plan)
        subscription.version, subscription.view, subscription.holds = version, view, customer
        subscription.answered = True
        subscription.told(head)
        if renew_at < NEVER:
            self._timers.arm(("renew", id(subscription)), renew_at, lambda _: self._renew(subscription))
        return encoded(pb.ContextUpdate(subscription=number, included=included, unknown=unknown), context)

    def forget(self, subscription: Subscription) -> None:
        """It is told nothing any more."""
        self._timers.disarm(("renew", id(subscription)))

    @staticmethod
    def _renew(subscription: Subscription) -> None:
        subscription.version = 0
        subscription.stream.mark(subscription)

    def _pending(self, subscription: Subscription, through: int) -> tuple[list[bytes], list[bytes]]:
        """Own facts that a context folded through a position includes, and those that the hub has not heard of."""
        if not subscription.pending:
            return [], []
        positions = self._store.find(list(subscription.pending))
        included = [id_ for id_, position in positions.items() if position <= through]
        unknown = [id_ for id_ in subscription.pending if id_ not in positions]
        subscription.settle(included)
        return included, unknown
