"""Calling the arbiter: what is shown is frozen first, then the chain is told, at once or when it is back."""

from __future__ import annotations

from dataclasses import dataclass

from openstall.app.services.custom.model_desk import ModelDesk
from openstall.app.services.disputes.evidence import EvidenceDesk
from openstall.app.services.orders.desk import OpenOrder, OrderDesk
from openstall.app.services.orders.escrow_desk import EscrowDesk
from openstall.market.errors import ChainError

CALL = "call_arbiter"
"""In an order's private data: over which state, entered when, its owner called the arbiter."""
_AWAY = frozenset({"chain_unreachable", "not_final_yet"})


@dataclass(slots=True, kw_only=True)
class Calling:
    """Opens disputes, in sales and in models made to order."""

    desk: OrderDesk
    evidence: EvidenceDesk
    escrow: EscrowDesk
    models: ModelDesk

    async def call(self, order: OpenOrder, reason: str) -> bool:
        """Call the arbiter; whether the chain knows. Where it is away the call waits, and goes by itself.

        Raises:
            ChainError: the contract refuses: no dispute is possible (any more).
        """
        call = {"state": order.state, "since": order.entered_at}
        await self.desk.patch(order.order_id, **{CALL: call, "dispute_reason": reason})
        try:
            await self._send(order, reason)
        except ChainError as error:
            if error.code not in _AWAY:
                await self.desk.patch(order.order_id, **{CALL: None})
                raise
            self.desk.set_trouble(order.order_id, error)
            return False
        return True

    async def call_again(self, order: OpenOrder) -> bool:
        """Send a call that waits for the chain, while its time lasts; whether there was one.

        Raises:
            ChainError: the chain is still away.
        """
        overdue = order.deadline_at is not None and self.desk.now() > order.deadline_at
        if overdue or not waits_to_call(order):
            return False
        await self._send(order, str(order.data["dispute_reason"]))
        return True

    async def waiting(self) -> list[OpenOrder]:
        """Orders whose arbiter was called while the chain was away."""
        found = [await self.desk.load(order_id) for order_id in await self.desk.open_order_ids()]
        return [order for order in found if waits_to_call(order)]

    async def _send(self, order: OpenOrder, reason: str) -> None:
        root = await self.evidence.opening(order, reason)
        if order.kind == "custom":
            await self.models.dispute(order, root)
        else:
            await self.escrow.dispute(order, root)


def waits_to_call(order: OpenOrder) -> bool:
    """Whether the owner has called the arbiter over the present state, and the chain does not know yet."""
    return order.data.get(CALL) == {"state": order.state, "since": order.entered_at}
