"""Recovery between the parties of the labs in one process, and the loss of one party's books."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from damage import Copy, copy_of, set_back
from trade_lab import Side

from openstall.app.services.orders.recovery import Recovery
from openstall.app.services.orders.recovery_wiring import make_recovery


async def nothing(_order_id: str) -> bool:
    return False


NO_MODELS = SimpleNamespace(
    watch=None, evaluating=None, hand_in=None, models=None, auctions=SimpleNamespace(write_again=nothing)
)
"""In a lab without models made to order."""


def recovery_of(side: Side, custom: Any = None) -> Recovery:
    """The recovery of one side, with what its node would have; it answers others from now on."""
    lab = side.chain_lab
    ground = SimpleNamespace(
        chain=lab.chain,
        workers=side.workers,
        host=side.host,
        catalogue=getattr(side, "catalogue", side.shelf),
        access=side.access,
    )
    made = make_recovery(
        ground,  # type: ignore[arg-type]  # the parts that are used of it
        engine=side.engine,
        channel=side.channel,
        escrow=side.escrow,
        custom=custom or NO_MODELS,
        negotiation=side.negotiation,
        provider=side.provider,
        talk=side.disputes.talk,
    )
    made.serve()
    return made


async def copy_in(side: Side, order_id: str) -> Copy:
    """The rows of an order in a side's books."""

    def take() -> Copy:
        with side.store.read() as db:
            return copy_of(db, order_id)

    return await side.workers.store(take)


async def lose(side: Side, order_id: str, copy: Copy | None = None) -> None:
    """The side's node was down, and its books have lost the order, or hold an older copy of it."""

    def change() -> None:
        with side.store.write() as db:
            set_back(db, order_id, copy)

    await side.workers.store(change)
    side.desk.born.discard(order_id)
