"""What each party does in an order of a model made for one buyer, step by step.

Each `step` first brings the order up to what the chain shows as final, then does the one thing that is
due in that state. Nobody has to click: a model that passed is handed over and paid, one that failed is
refunded, and whoever is silent is passed by when the deadline of the state has come.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress

from openstall.app.services.custom.evaluating import Evaluating
from openstall.app.services.custom.hand_in import HandIn
from openstall.app.services.custom.model_desk import ModelDesk, ModelView
from openstall.app.services.custom.opening import Opener
from openstall.app.services.custom.receiving import Receiving
from openstall.app.services.disputes.calling import Calling
from openstall.app.services.disputes.gathering import Gathering
from openstall.app.services.orders.desk import OpenOrder, OrderDesk
from openstall.app.services.orders.negotiation import Negotiation
from openstall.market.errors import InvalidOrder, PeerError
from openstall.market.orders.machine import CUSTOM

AFTER_THE_BUYER_S = 15
"""What anybody may send, the developer leaves to the buyer for so long: else both pay for it."""
_PATIENCE_TENTHS = 6
"""The tenths of the review time in which a package may stay away before the arbiter is called."""

_SEEN: dict[str, tuple[str, str]] = {
    "fund": ("The price is in escrow; the rest of the budget went back.", "auction"),
    "expire": ("The price was never moved into escrow. The buyer has all of it back.", "clock"),
    "submit": ("A model was handed in.", "seller"),
    "pass": ("The evaluators signed: it reached what was asked for.", "evaluators"),
    "fail": ("The evaluators signed: it missed what was asked for.", "evaluators"),
    "hand_over": ("The key was handed over through the escrow.", "seller"),
    "complete": ("The buyer confirmed. The developer is paid.", "buyer"),
    "claim": ("The review time ended without a dispute. The developer is paid.", "clock"),
    "refund": ("The deadline passed. The buyer has the whole price back.", "clock"),
    "cancel": ("The developer gave the whole price back.", "seller"),
    "call_buyer": ("The buyer opened a dispute.", "buyer"),
    "call_seller": ("The developer opened a dispute.", "seller"),
    "rule": ("The arbiter ruled and the escrow was split.", "arbiter"),
    "settle_silent": ("The arbiter stayed silent. Each side has half.", "clock"),
}


class CustomWatch:
    """Brings an order up to what the chain shows."""

    def __init__(self, *, desk: OrderDesk, models: ModelDesk) -> None:
        self._desk = desk
        self._models = models

    async def catch_up(self, order: OpenOrder) -> tuple[OpenOrder, ModelView]:
        """The order after every final step of the chain was entered, and what the chain shows."""
        view = await self._models.look(order)
        for number, seen in enumerate(view.steps, 1):
            if number <= int(order.data.get("seen", 0)):
                continue
            if not CUSTOM.allows(order.state, seen.event):
                break  # another task was first; the next look goes on
            words, cause = _SEEN[seen.event]
            order = await self._desk.advance(
                order,
                seen.event,
                actor=_actor(order, cause),
                words=words,
                tx=seen.tx_hash,
                at=seen.at,
                data={**seen.data, "seen": number, **_words_of(order, seen.data)},
            )
        return order, view

    async def after_deadline(
        self, order: OpenOrder, event: str, send: Callable[[OpenOrder], Awaitable[object]]
    ) -> None:
        """Take the timed exit of a state once its deadline has passed."""
        overdue = order.deadline_at is not None and self._desk.now() > order.deadline_at
        if CUSTOM.allows(order.state, event) and overdue:
            await send(order)
            await self.catch_up(order)

    async def timed_exits(self, order: OpenOrder) -> None:
        """Whatever the deadline of the state opens to anybody."""
        way_out = CUSTOM.exits.get(order.state)
        if way_out is not None:
            await self.after_deadline(order, way_out.event, getattr(self._models, way_out.event))


def _words_of(order: OpenOrder, seen: Mapping[str, object]) -> dict[str, object]:
    """What the party that called the arbiter had said before the arbiter saw the call."""
    said = order.data.get(f"reason_{seen.get('called_by')}")
    return {"dispute_reason": said} if said is not None else {}


def _hex(view: ModelView) -> str:
    return (view.sealed_key or b"").hex()


def _actor(order: OpenOrder, cause: str) -> str:
    """Who did it, as the owner of these books sees it; for arbiter and evaluators both parties are others."""
    if cause == order.role:
        return "you"
    return "other" if cause in ("buyer", "seller") and order.role in ("buyer", "seller") else cause


class CustomBuyer:
    """The buyer's side."""

    def __init__(
        self,
        *,
        desk: OrderDesk,
        models: ModelDesk,
        watch: CustomWatch,
        negotiation: Negotiation,
        evaluating: Evaluating,
        receiving: Receiving,
        calling: Calling,
        opener: Opener,
    ) -> None:
        self._desk = desk
        self._models = models
        self._watch = watch
        self._negotiation = negotiation
        self._evaluating = evaluating
        self._receiving = receiving
        self._calling = calling
        self._opener = opener

    async def step(self, order: OpenOrder) -> None:
        """Do what is due; see `Handler.step`."""
        order, view = await self._watch.catch_up(order)
        if order.state in ("submitted", "delivered") and await self._calling.call_again(order):
            order, view = await self._watch.catch_up(order)
        if order.state == "proposed" and not self._overdue(order):
            await self._negotiation.propose(order)
            return
        try:
            await self._act(order, view)
        finally:
            await self._after_verdict(await self._desk.load(order.order_id))
            await self._make_known(await self._desk.load(order.order_id))

    async def _act(self, order: OpenOrder, view: ModelView) -> None:
        if order.state in ("agreed", "submitted", "passed") and not self._overdue(order):
            await self._go_on(order)
        elif order.state in ("delivered", "completed", "disputed"):
            await self._take_in(order, view)
        await self._watch.timed_exits(await self._desk.load(order.order_id))

    async def _make_known(self, order: OpenOrder) -> None:
        """Give the judges their copies; a winner that does not sign cannot keep them from it."""
        if order.state not in CUSTOM.exits:
            return
        try:
            if not order.seller_signature:  # the price was moved before the answer was on this disk
                await self._negotiation.propose(order)
                await self._desk.patch(order.order_id, has_copy=None)
        finally:
            await self._negotiation.copy_to_others(await self._desk.load(order.order_id))

    async def _after_verdict(self, order: OpenOrder) -> None:
        """What it owes as an evaluator, where it is one."""
        if order.final:
            await self._opener.forget(order)
        else:
            await self._evaluating.tell_late(order)

    async def _go_on(self, order: OpenOrder) -> None:
        """What moves an order on that no deadline has ended."""
        match order.state:
            case "agreed":
                await self._models.award(order)
            case "submitted":
                await self._evaluating.step(order)
                with suppress(PeerError):  # it is asked again when the model has passed
                    await self._receiving.hear(order)
            case "passed":
                # Before its key is there, so that nobody can hand over a key to nothing.
                await self._receiving.fetch(order)
                return
        await self._watch.catch_up(order)

    async def _take_in(self, order: OpenOrder, view: ModelView) -> None:
        """Open what was handed over, and complain where it is not what was measured."""
        if order.state == "disputed":
            await self._negotiation.tell_reason(order)
            if not view.sealed_key or self._overdue(order):
                return
        # In a dispute the developer may hand over another key; should the arbiter pay for it, it is here.
        another = order.state == "disputed" and order.data.get("tried_key", _hex(view)) != _hex(view)
        if "verified" not in order.data or (order.data["verified"] is False and another):
            await self._receive(order, view)
        elif order.data["verified"] is False:
            await self._complain(order, str(order.data["fault"]["message"]))

    def _overdue(self, order: OpenOrder) -> bool:
        return order.deadline_at is not None and self._desk.now() > order.deadline_at

    async def _receive(self, order: OpenOrder, view: ModelView) -> None:
        """Open the package; a key or file that is not what was measured goes to the arbiter by itself.

        So does a package that cannot be fetched while most of the review time goes by.
        """
        try:
            await self._receiving.unpack(order, view.sealed_key)
        except InvalidOrder as error:
            await self._desk.patch(
                order.order_id, verified=False, fault=error.as_dict(), tried_key=_hex(view)
            )
            await self._complain(order, error.message)
            raise
        except PeerError:
            patience_s = order.contract.custom.review_s * _PATIENCE_TENTHS // 10
            if self._desk.now() > order.entered_at + patience_s:
                await self._complain(order, "The model that is paid for cannot be fetched.")
            raise
        await self._desk.patch(order.order_id, verified=True, fault=None)
        self._desk.rest(order.order_id)

    async def _complain(self, order: OpenOrder, reason: str) -> None:
        possible = order.contract.arbiter and not self._overdue(order) and order.state == "delivered"
        if possible and await self._calling.call(order, reason):
            await self._watch.catch_up(order)


class CustomSeller:
    """The developer's side."""

    def __init__(
        self,
        *,
        desk: OrderDesk,
        models: ModelDesk,
        watch: CustomWatch,
        negotiation: Negotiation,
        evaluating: Evaluating,
        hand_in: HandIn,
        calling: Calling,
    ) -> None:
        self._desk = desk
        self._models = models
        self._watch = watch
        self._negotiation = negotiation
        self._evaluating = evaluating
        self._hand_in = hand_in
        self._calling = calling

    async def step(self, order: OpenOrder) -> None:
        """Do what is due; see `Handler.step`."""
        order, _view = await self._watch.catch_up(order)
        if order.state in ("submitted", "failed") and await self._calling.call_again(order):
            order, _view = await self._watch.catch_up(order)
        late = order.deadline_at is not None and self._desk.now() > order.deadline_at
        match order.state:
            case "agreed" if not late and self._desk.now() > order.entered_at + AFTER_THE_BUYER_S:
                await self._models.award(order)
                order, _view = await self._watch.catch_up(order)
            case "funded" | "failed":
                await self._submit(order)
            case "submitted":
                await self._evaluating.bring(order)
            case "passed" if not late:
                await self._models.hand_over(order, await self._hand_in.sealed_key(order))
                order, _view = await self._watch.catch_up(order)
            case "disputed":
                await self._negotiation.tell_reason(order)
        await self._watch.timed_exits(await self._desk.load(order.order_id))
        if order.state in CUSTOM.exits:
            await self._negotiation.copy_to_others(order)

    async def _submit(self, order: OpenOrder) -> None:
        """Say on the chain which model is handed in, once there is one for the next try."""
        attempt = int(order.data.get("attempt", 0)) + 1
        waiting = self._hand_in.waiting(order, attempt)
        if waiting is not None and self._desk.now() <= order.contract.custom.deliver_by:
            await self._models.submit(order, waiting.model_hash, attempt)
            await self._watch.catch_up(order)


class CustomEvaluator:
    """An evaluator measures what is handed in, and signs; nothing else of the order is its business."""

    def __init__(self, *, watch: CustomWatch, evaluating: Evaluating, opener: Opener) -> None:
        self._watch = watch
        self._evaluating = evaluating
        self._opener = opener

    async def step(self, order: OpenOrder) -> None:
        """Do what is due; see `Handler.step`."""
        order, _view = await self._watch.catch_up(order)
        if order.state == "submitted":
            await self._evaluating.step(order)
            order, _view = await self._watch.catch_up(order)
        if order.final:
            await self._opener.forget(order)
        else:
            await self._evaluating.tell_late(order)


class CustomArbiter:
    """The arbiter follows every order that names it; it rules only when asked to by a dispute."""

    def __init__(self, *, watch: CustomWatch, gathering: Gathering) -> None:
        self._watch = watch
        self._gathering = gathering

    async def step(self, order: OpenOrder) -> None:
        """Follow the chain; see `Handler.step`."""
        order, _view = await self._watch.catch_up(order)
        await self._watch.timed_exits(order)
        if order.state == "disputed":
            self._gathering.want(order)


class CustomActions:
    """What a person may do in such an order, by button or command."""

    def __init__(self, *, models: ModelDesk, watch: CustomWatch, calling: Calling) -> None:
        self._models = models
        self._watch = watch
        self._calling = calling

    async def dispute(self, order: OpenOrder, reason: str) -> None:
        """Either party: ask the arbiter."""
        CUSTOM.target(order.state, f"call_{order.role}")
        if await self._calling.call(order, reason):
            await self._watch.catch_up(order)

    async def rule(self, order: OpenOrder, buyer_bps: int) -> None:
        """Arbiter: split the escrow; `buyer_bps` of 10,000 go to the buyer."""
        CUSTOM.target(order.state, "rule")
        await self._models.rule(order, buyer_bps)
        await self._watch.catch_up(order)

    async def do(self, order: OpenOrder, event: str) -> None:
        """One of `complete`, `cancel`, `claim`, `refund`: what needs no more words."""
        CUSTOM.target(order.state, event)
        send = {
            "complete": self._models.complete,
            "cancel": self._models.cancel,
            "claim": self._models.claim,
            "refund": self._models.refund,
        }[event]
        await send(order)
        await self._watch.catch_up(order)
