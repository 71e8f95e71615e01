"""What the other party of an order may fetch from this node, as the books say after a start."""

from __future__ import annotations

from openstall.app.services.custom.hand_in import delivered_blobs
from openstall.app.services.orders.blob_access import BlobAccess
from openstall.app.services.orders.channel_desk import ChannelDesk
from openstall.app.services.orders.desk import OpenOrder, OrderDesk
from openstall.app.services.selling import Stock
from openstall.store.orders import Orders


async def restore_access(
    desk: OrderDesk,
    orders: Orders,
    stock: Stock,
    access: BlobAccess,
    channel: ChannelDesk,
) -> None:
    """Grants follow from the books: packages sold or handed in, inputs of jobs, artefacts of ended ones."""
    workers = stock.workers
    for cid in await workers.store(stock.package_cids):
        access.make_public(cid)
    for order_id in await workers.store(lambda: orders.list_ids(kind="compute")):
        await grant_again(await desk.load(order_id), access=access, channel=channel)
    for order_id in await workers.store(lambda: orders.list_ids(kind="custom", role="seller")):
        for cid in delivered_blobs(await desk.load(order_id)):
            access.make_public(cid)


async def grant_again(order: OpenOrder, *, access: BlobAccess, channel: ChannelDesk) -> None:
    """Inputs of a job that is open, artefacts and checkpoints of one that was run here."""
    if order.role == "buyer" and not order.final:
        for item in order.contract.compute.inputs:
            access.grant(item.blob.cid, order.other)
    elif order.role == "seller" and (order.data.get("artefacts") or order.data.get("checkpoints")):
        access.note_paid(order.order_id, await channel.highest(order))
        cids = [*order.data.get("artefacts", []), *order.data.get("checkpoints", [])]
        access.grant_artefacts(order.order_id, order.other, cids, int(order.data["owed_micro"]))
