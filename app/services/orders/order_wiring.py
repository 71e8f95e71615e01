"""Small parts of all kinds of orders, built from what trading stands on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from openstall.app.services.custom.model_desk import ModelDesk
from openstall.app.services.orders.channel_terms import is_paid
from openstall.app.services.orders.desk import OrderDesk
from openstall.app.services.orders.engine import OrderEngine
from openstall.app.services.orders.escrow_desk import EscrowDesk
from openstall.app.services.orders.placing import Party, Placing
from openstall.app.services.orders.transcripts import TranscriptDesk
from openstall.market.orders.documents import Contract
from openstall.store.transcripts import Transcripts

if TYPE_CHECKING:
    from openstall.app.ground import Ground


def make_transcripts(ground: Ground) -> TranscriptDesk:
    """What the parties of this node's orders tell each other."""
    return TranscriptDesk(
        books=Transcripts(ground.store),
        me=ground.host.peer_id,
        seed=ground.seed,
        clock=ground.clock,
        workers=ground.workers,
    )


def make_placing(ground: Ground, *, me: Party, desk: OrderDesk, engine: OrderEngine) -> Placing:
    """The writing of this node's own orders."""
    return Placing(
        me=me,
        desk=desk,
        engine=engine,
        catalogue=ground.catalogue,
        blobs=ground.blobs,
        chain=ground.chain,
        workers=ground.workers,
        connected=lambda peer_id: ground.host.peer(peer_id) is not None,
    )


async def is_funded(ground: Ground, escrow: EscrowDesk, models: ModelDesk, contract: Contract) -> bool:
    """Whether the chain holds, or held, the money of an order of any kind under its signed terms."""
    if contract.order.kind == "compute":
        return await is_paid(ground.chain, ground.workers, contract)
    return await (models if contract.order.kind == "custom" else escrow).is_funded(contract)
