"""The buyer's side of a delivery: learn what was handed in, fetch it, open it once its key is there."""

from __future__ import annotations

from dataclasses import dataclass

from openstall.app.services.catalogue import Catalogue
from openstall.app.services.custom.sealed_model import delivery_in
from openstall.app.services.custom.talk import Talk
from openstall.app.services.orders.desk import OpenOrder, OrderDesk
from openstall.app.services.orders.unpacking import Package, Unpacking
from openstall.market.errors import ChainError

DELIVERY = "delivery"


@dataclass(slots=True, kw_only=True)
class Receiving:
    """From the hash on the chain to files in the library."""

    desk: OrderDesk
    talk: Talk
    unpacking: Unpacking
    catalogue: Catalogue
    me: str
    """This node's own peer id."""

    async def hear(self, order: OpenOrder) -> OpenOrder:
        """Learn what was handed in for the present try; so two books have it, should the developer's be lost.

        Raises:
            PeerError: the developer cannot be reached now.
            InvalidOrder: what it shows is not what it put on the chain.
        """
        known = order.data.get(DELIVERY)
        if known is None or known["model_hash"] != order.data["model_hash"]:
            answer = await self.talk.delivery(order)
            kept = {
                "doc": answer.delivery.as_dict(),
                "model_hash": order.data["model_hash"],
                "salt": answer.salt,
            }
            await self.desk.patch(order.order_id, **{DELIVERY: kept})
            order = await self.desk.load(order.order_id)
        return order

    async def fetch(self, order: OpenOrder) -> OpenOrder:
        """Bring the encrypted package of the present try onto this disk, before its key is there.

        Raises:
            PeerError: the developer cannot be reached now.
            InvalidOrder: what it shows is not what it put on the chain.
            StoreError: not enough room on the disk.
        """
        order = await self.hear(order)
        named = [await self.catalogue.peer_of(wallet) for wallet in order.contract.custom.evaluators]
        sources = [order.other, *(peer for peer in named if peer is not None and peer != self.me)]
        await self.unpacking.fetch(order, _package(order), sources)
        return order

    async def unpack(self, order: OpenOrder, sealed_key: bytes | None) -> None:
        """Open the package into the library and check every file.

        Raises:
            ChainError: the chain does not show the key (yet): no fault of the developer's.
            InvalidOrder: the key or a file is not what was measured.
        """
        if sealed_key is None:
            raise ChainError("no_key_yet", "The chain does not show the delivered key.", "It is read again.")
        order = await self.fetch(order)
        await self.unpacking.unpack(order, sealed_key, _package(order))


def _package(order: OpenOrder) -> Package:
    terms = order.contract.custom
    found = delivery_in(order.data[DELIVERY])
    return Package(
        origin=terms.request,
        title=terms.title,
        files=found.files,
        blob=found.blob,
        key_sha256=found.key_sha256,
        paid=True,
    )
