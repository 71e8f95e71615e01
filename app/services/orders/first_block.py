"""From which block on the chain can show anything of an order, so that its logs are not read from the start.

The block is noted at the first look at which the contracts hold nothing under the order's name. An order that
was paid for before this node first looked, and one from before this was noted, are read from block 0.
"""

from __future__ import annotations

from openstall.app.services.orders.desk import OpenOrder, OrderDesk
from openstall.ledger.chain import Chain

LAG_BLOCKS = 64
"""How far behind its own head an endpoint of many machines may answer the next question."""
_NAME = "from_block"


def first_block(order: OpenOrder) -> int:
    """The block from which this order's logs are asked for."""
    return int(order.data.get(_NAME, 0))


def mark(chain: Chain, order: OpenOrder) -> int | None:
    """To be taken before the contracts are asked; None where the order has its block already.

    What a later block holds in place of the newest ones still lies after it, for blocks that are less than
    `confirmations` deep may be replaced.
    """
    if _NAME in order.data:
        return None
    return max(0, chain.head().number - chain.params.confirmations - LAG_BLOCKS)


async def note(desk: OrderDesk, order: OpenOrder, block: int | None) -> None:
    """Keep the mark after the contracts held nothing of the order; None is nothing to keep.

    The order in hand has it at once, for it may be looked at again in this very step.
    """
    if block is None:
        return
    known = (await desk.load(order.order_id)).data.get(_NAME)
    if known is None:
        await desk.patch(order.order_id, **{_NAME: block})
    order.data[_NAME] = block if known is None else known
