"""Builds both sides of a sale, and its arbiter's, from what trading stands on."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from openstall.app.services.disputes.wiring import Disputes
from openstall.app.services.orders.desk import OrderDesk
from openstall.app.services.orders.engine import Handler
from openstall.app.services.orders.escrow_desk import EscrowDesk
from openstall.app.services.orders.negotiation import Negotiation
from openstall.app.services.orders.sale import SaleActions, SaleArbiter, SaleBuyer, SaleSeller, SaleWatch
from openstall.app.services.orders.unpacking import Unpacking
from openstall.app.services.selling import Stock
from openstall.market.errors import InvalidRecord
from openstall.market.records import Listing
from openstall.p2p.blob_transfer import FileServer
from openstall.p2p.mirrors import Mirror
from openstall.store.library import Library

if TYPE_CHECKING:
    from openstall.app.ground import Ground


@dataclass(frozen=True, slots=True, kw_only=True)
class Sale:
    """What drives sales, and what a person may do in one."""

    handlers: dict[tuple[str, str], Handler]
    actions: SaleActions
    unpacking: Unpacking


def make_escrow(ground: Ground, desk: OrderDesk) -> EscrowDesk:
    """The escrow of sales, for one open wallet on one chain."""
    return EscrowDesk(
        desk=desk,
        chain=ground.chain,
        transactions=ground.transactions,
        wallet=ground.wallet,
        workers=ground.workers,
    )


async def mirrors_of(ground: Ground, listing: str) -> list[FileServer]:
    """The web servers that a listing names, and the owner's IPFS gateway; none where it is not known here."""
    try:
        found = await ground.catalogue.held(listing)
    except InvalidRecord:
        return []
    if found is None or not isinstance(found.body, Listing):
        return []
    mirrors = [Mirror(url, web=ground.web) for url in found.body.mirrors]
    return [*mirrors, *ground.ipfs.sources(found.body.ipfs)]


def make_sale(
    ground: Ground,
    *,
    desk: OrderDesk,
    escrow: EscrowDesk,
    negotiation: Negotiation,
    stock: Stock,
    library: Library,
    disputes: Disputes,
) -> Sale:
    """All of it, for one open wallet on one chain."""
    watch = SaleWatch(desk=desk, escrow=escrow)
    unpacking = Unpacking(
        desk=desk,
        blobs=ground.blobs,
        transfer=ground.transfer,
        library=library,
        folder=ground.home.library,
        seed=ground.seed,
        workers=ground.workers,
        mirrors=partial(mirrors_of, ground),
    )
    calling = disputes.calling
    buyer = SaleBuyer(
        desk=desk,
        escrow=escrow,
        watch=watch,
        negotiation=negotiation,
        unpacking=unpacking,
        calling=calling,
    )
    seller = SaleSeller(desk=desk, escrow=escrow, watch=watch, stock=stock, negotiation=negotiation)
    return Sale(
        handlers={
            ("sale", "buyer"): buyer,
            ("sale", "seller"): seller,
            ("sale", "arbiter"): SaleArbiter(desk=desk, watch=watch, gathering=disputes.gathering),
        },
        actions=SaleActions(desk=desk, escrow=escrow, watch=watch, negotiation=negotiation, calling=calling),
        unpacking=unpacking,
    )
