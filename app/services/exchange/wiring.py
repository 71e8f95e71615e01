"""Builds the exchange by file from what the node and its trading part have."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from openstall.app.services.exchange.coming_in import ComingIn
from openstall.app.services.exchange.going_out import GoingOut
from openstall.app.services.mailbox.wiring import PostOffice
from openstall.p2p.blobs import BlobStore
from openstall.store.disputes import Messages
from openstall.store.records import Records

if TYPE_CHECKING:
    from openstall.app.node import Node
    from openstall.app.trade import Trade


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """Both directions."""

    out: GoingOut
    into: ComingIn


def make_exchange(node: Node, trade: Trade, office: PostOffice, blobs: BlobStore) -> Exchange:
    """For as long as this trading part runs."""
    network, peer_id = node.group.membership.network, node.identity.peer_id
    return Exchange(
        out=GoingOut(
            network=network,
            peer_id=peer_id,
            desk=trade.desk,
            messages=Messages(node.store),
            records=Records(node.store),
            catalogue=node.catalogue,
            courier=office.courier,
            blobs=blobs,
            host=node.network,
            group=node.group,
            workers=node.workers,
            signed_objects=trade.recovery.signed_objects,
        ),
        into=ComingIn(
            network=network,
            peer_id=peer_id,
            desk=trade.desk,
            catalogue=node.catalogue,
            negotiation=trade.negotiation,
            post=office.post,
            inbox=office.inbox,
            mailbox=node.mailbox,
            blobs=blobs,
            workers=node.workers,
            wake=trade.orders.engine.watch,
            take_objects=trade.recovery.take_objects,
        ),
    )
