"""What buyer, seller and arbiter do in a sale, step by step.

Each `step` first brings the order up to what the chain shows as final, then does the one thing that is
due in that state. The buyer has the whole encrypted package before paying; the key comes through the
escrow contract itself, so no seller can vanish between "delivered" and the key.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import trio

from openstall.app.services.disputes.calling import Calling
from openstall.app.services.disputes.gathering import Gathering
from openstall.app.services.orders.desk import OpenOrder, OrderDesk
from openstall.app.services.orders.escrow_desk import EscrowDesk, EscrowView
from openstall.app.services.orders.negotiation import Negotiation
from openstall.app.services.orders.unpacking import Unpacking
from openstall.app.services.selling import Stock
from openstall.market.errors import ChainError, InvalidOrder
from openstall.market.orders.machine import SALE

_MONEY_HELD = SALE.money_held
LAPSE_GRACE_S = 120
"""A buyer's payment may still be on its way to the chain when the time to pay ends."""

_SEEN: dict[str, tuple[str, str]] = {
    "fund": ("The price is in escrow.", "buyer"),
    "deliver": ("The key was released through the escrow.", "seller"),
    "complete": ("The buyer confirmed. The seller is paid.", "buyer"),
    "claim": ("The review time ended without a dispute. The seller is paid.", "clock"),
    "refund": ("Not delivered in time. The buyer has the whole price back.", "clock"),
    "cancel": ("The seller gave the whole price back.", "seller"),
    "dispute": ("The buyer opened a dispute.", "buyer"),
    "rule": ("The arbiter ruled and the escrow was split.", "arbiter"),
    "settle_silent": ("The arbiter stayed silent. The escrow was split as signed.", "clock"),
}


class SaleWatch:
    """Brings a sale up to what the chain shows."""

    def __init__(self, *, desk: OrderDesk, escrow: EscrowDesk) -> None:
        self._desk = desk
        self._escrow = escrow

    async def catch_up(self, order: OpenOrder) -> tuple[OpenOrder, EscrowView]:
        """The order after every final step of the chain was entered, and what the chain shows."""
        view = await self._escrow.look(order)
        for seen in view.steps:
            if not SALE.allows(order.state, seen.event):
                continue
            words, cause = _SEEN[seen.event]
            actor = self._actor(order, cause)
            paid = {} if seen.paid_micro is None else {"paid_micro": seen.paid_micro}
            order = await self._desk.advance(
                order, seen.event, actor=actor, words=words, tx=seen.tx_hash, at=seen.at, data=paid
            )
        return order, view

    @staticmethod
    def _actor(order: OpenOrder, cause: str) -> str:
        """Who did it, as the owner of these books sees it; for an arbiter both parties are others."""
        if cause == order.role:
            return "you"
        return cause if cause in ("clock", "arbiter") or order.role == "arbiter" else "other"

    async def after_deadline(
        self, order: OpenOrder, event: str, send: Callable[[OpenOrder], Awaitable[object]]
    ) -> None:
        """Take the timed exit of a state once its deadline has passed."""
        if (
            SALE.allows(order.state, event)
            and order.deadline_at is not None
            and self._desk.now() > order.deadline_at
        ):
            await send(order)
            await self.catch_up(order)


class SaleBuyer:
    """The buyer's side of a sale."""

    def __init__(
        self,
        *,
        desk: OrderDesk,
        escrow: EscrowDesk,
        watch: SaleWatch,
        negotiation: Negotiation,
        unpacking: Unpacking,
        calling: Calling,
    ) -> None:
        self._desk = desk
        self._escrow = escrow
        self._calling = calling
        self._watch = watch
        self._negotiation = negotiation
        self._unpacking = unpacking

    async def step(self, order: OpenOrder) -> None:
        """Do what is due; see `Handler.step`."""
        if order.state == "proposed":
            await self._negotiation.propose(order)
            return
        if order.state == "agreed" and not await self._escrow.started(order, "fund"):
            order = await self._before_paying(order)
        if order.state == "agreed":
            order = await self._pay(order)
        order, view = await self._caught_up(order)
        match order.state:
            case "funded":
                await self._watch.after_deadline(order, "refund", self._escrow.refund)
            case "delivered" | "completed" if "verified" not in order.data:
                await self._verify(order, view)
            case "delivered" if order.data["verified"] is False:
                await self._complain(order)
            case "disputed":
                await self._negotiation.tell_reason(order)
                await self._watch.after_deadline(order, "settle_silent", self._escrow.settle_silent)
        if order.state in _MONEY_HELD:
            await self._negotiation.copy_to_others(order)

    async def _before_paying(self, order: OpenOrder) -> OpenOrder:
        """Bring the whole package, unless the time is over, or the chain shows a payment unknown here."""
        order, _view = await self._watch.catch_up(order)
        if order.state != "agreed":
            return order
        if self._desk.now() > order.contract.sale.fund_by:
            return await self._desk.advance(order, "lapse", actor="clock", words="The time to pay ran out.")
        await self._unpacking.fetch(order)
        return order

    async def _caught_up(self, order: OpenOrder) -> tuple[OpenOrder, EscrowView]:
        """The order as the chain shows it, with the arbiter called where that had to wait for the chain."""
        order, view = await self._watch.catch_up(order)
        if order.state == "delivered" and await self._calling.call_again(order):
            return await self._watch.catch_up(order)
        return order, view

    async def _pay(self, order: OpenOrder) -> OpenOrder:
        """Pay, unless the buyer stepped back or the time ran out while the package was on its way."""
        async with self._escrow.purse(order.order_id):
            order = await self._desk.load(order.order_id)
            late = self._desk.now() > order.contract.sale.fund_by
            if order.state != "agreed" or (late and not await self._escrow.started(order, "fund")):
                return order
            await self._escrow.fund(order)
            return order

    async def _verify(self, order: OpenOrder, view: EscrowView) -> None:
        """Open the package; a key or file that is not what was signed goes to the arbiter by itself.

        Raises:
            ChainError: the chain does not show the key (yet): no fault of the seller's.
        """
        if view.sealed_key is None:
            raise ChainError("no_key_yet", "The chain does not show the delivered key.", "It is read again.")
        try:
            await self._unpacking.unpack(order, view.sealed_key)
        except InvalidOrder as error:
            await self._desk.patch(order.order_id, verified=False, fault=error.as_dict())
            await self._complain(await self._desk.load(order.order_id))
            raise
        await self._desk.patch(order.order_id, verified=True)

    async def _complain(self, order: OpenOrder) -> None:
        """Call the arbiter about a fault that is in the books, for as long as that is possible."""
        overdue = order.deadline_at is not None and self._desk.now() > order.deadline_at
        possible = order.contract.sale.arbiter and not overdue and SALE.allows(order.state, "dispute")
        if possible and await self._calling.call(order, str(order.data["fault"]["message"])):
            await self._watch.catch_up(order)


class SaleSeller:
    """The seller's side of a sale."""

    def __init__(
        self, *, desk: OrderDesk, escrow: EscrowDesk, watch: SaleWatch, stock: Stock, negotiation: Negotiation
    ) -> None:
        self._desk = desk
        self._escrow = escrow
        self._watch = watch
        self._stock = stock
        self._negotiation = negotiation

    async def step(self, order: OpenOrder) -> None:
        """Do what is due; see `Handler.step`."""
        order, _view = await self._watch.catch_up(order)
        now = self._desk.now()
        match order.state:
            case "proposed" | "agreed" if now > order.contract.sale.fund_by + LAPSE_GRACE_S:
                order = await self._desk.advance(
                    order, "lapse", actor="clock", words="The buyer did not pay in time."
                )
            case "funded" if now <= order.contract.sale.deliver_by:
                await self._escrow.deliver(order, await self._stock.sealed_key(order.contract.sale))
                await self._watch.catch_up(order)
            case "delivered":
                await self._watch.after_deadline(order, "claim", self._escrow.claim)
            case "disputed":
                await self._watch.after_deadline(order, "settle_silent", self._escrow.settle_silent)
        if order.state in _MONEY_HELD:
            # Last, because an arbiter who is away must not hold up what is due.
            await self._negotiation.copy_to_others(order)


class SaleArbiter:
    """The arbiter follows every order that names it; it rules only when asked to by a dispute."""

    def __init__(self, *, desk: OrderDesk, watch: SaleWatch, gathering: Gathering) -> None:
        self._desk = desk
        self._watch = watch
        self._gathering = gathering

    async def step(self, order: OpenOrder) -> None:
        """Follow the chain; see `Handler.step`."""
        order, _view = await self._watch.catch_up(order)
        if (
            order.state in ("proposed", "agreed")
            and self._desk.now() > order.contract.sale.fund_by + LAPSE_GRACE_S
        ):
            await self._desk.advance(order, "lapse", actor="clock", words="The buyer did not pay in time.")
        elif order.state == "disputed":
            self._gathering.want(order)


class SaleActions:
    """What a person may do in a sale, by button or command."""

    def __init__(
        self,
        *,
        desk: OrderDesk,
        escrow: EscrowDesk,
        watch: SaleWatch,
        negotiation: Negotiation,
        calling: Calling,
    ) -> None:
        self._desk = desk
        self._negotiation = negotiation
        self._escrow = escrow
        self._watch = watch
        self._calling = calling

    async def complete(self, order: OpenOrder) -> None:
        """Buyer: pay the seller now."""
        await self._do(order, "complete", lambda: self._escrow.complete(order))

    async def dispute(self, order: OpenOrder, reason: str) -> None:
        """Buyer: ask the arbiter; where the chain is away, it is asked as soon as the chain is back."""
        SALE.target(order.state, "dispute")
        if await self._calling.call(order, reason):
            await self._watch.catch_up(order)

    async def cancel(self, order: OpenOrder) -> None:
        """Buyer before paying: step back. Seller after payment: give the whole price back."""
        if order.role == "buyer":
            await self._step_back(order)
            return
        await self._do(order, "cancel", lambda: self._escrow.cancel(order))

    async def _step_back(self, order: OpenOrder) -> None:
        paid = ChainError(
            "already_paid",
            "The payment is already on its way.",
            "Wait for delivery; late delivery returns the money.",
        )
        purse = self._escrow.purse(order.order_id)
        try:
            purse.acquire_nowait()
        except trio.WouldBlock as error:
            raise paid from error
        try:
            if await self._escrow.started(order, "fund"):
                raise paid
            await self._negotiation.step_back(order, "You stepped back before paying.")
        finally:
            purse.release()

    async def refund(self, order: OpenOrder) -> None:
        """Anybody, after the delivery deadline: the price goes back to the buyer."""
        await self._do(order, "refund", lambda: self._escrow.refund(order))

    async def claim(self, order: OpenOrder) -> None:
        """Seller, after the review time: take the price."""
        await self._do(order, "claim", lambda: self._escrow.claim(order))

    async def rule(self, order: OpenOrder, buyer_bps: int) -> None:
        """Arbiter: split the escrow; `buyer_bps` of 10,000 go to the buyer."""
        await self._do(order, "rule", lambda: self._escrow.rule(order, buyer_bps))

    async def _do(self, order: OpenOrder, event: str, send: Callable[[], Awaitable[object]]) -> None:
        SALE.target(order.state, event)
        await send()
        await self._watch.catch_up(order)
