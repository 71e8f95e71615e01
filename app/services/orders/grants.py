"""What the other party of an order may fetch from this node, as the books say after a start."""

from __future__ import annotations

from openstall.app.services.orders.blob_access import BlobAccess
from openstall.app.services.orders.channel_desk import ChannelDesk
from openstall.app.services.orders.desk import OpenOrder


async def grant_again(order: OpenOrder, *, access: BlobAccess, channel: ChannelDesk) -> None:
    """Inputs of a job that is open, artefacts and checkpoints of one that was run here."""
    if order.role == "buyer" and not order.final:
        for item in order.contract.compute.inputs:
            access.grant(item.blob.cid, order.other)
    elif order.role == "seller" and (order.data.get("artefacts") or order.data.get("checkpoints")):
        access.note_paid(order.order_id, await channel.highest(order))
        cids = [*order.data.get("artefacts", []), *order.data.get("checkpoints", [])]
        access.grant_artefacts(order.order_id, order.other, cids, int(order.data["owed_micro"]))
