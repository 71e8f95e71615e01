"""Routes of the network: whom this node is connected to, and by what addresses it can be reached."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import Field

from openstall.app.api.requests import Body
from openstall.app.node import Node
from openstall.app.services.network import peer_dict


class Connect(Body):
    """A multiaddress that ends in `/p2p/<peer id>`, or the id of a known peer."""

    addr: Annotated[str, Field(min_length=1, max_length=300)]


def router(node: Node) -> APIRouter:
    """The routes, bound to one node."""
    routes = APIRouter(prefix="/v1/peers")

    @routes.get("")
    async def show() -> dict[str, Any]:
        """This node and the peers that it is connected to."""
        found = node.network.peers()
        names = await node.catalogue.peer_names([peer.peer_id for peer in found])
        items = [{**peer_dict(peer), "name": names[peer.peer_id]} for peer in found]
        return {
            "self": {
                "peer_id": node.identity.peer_id,
                "addrs": node.network.addrs,
                "name": node.identity.name,
            },
            "items": items,
            "total": len(items),
            "catalogue": await node.catalogue.counts(),
            "bootstrap": [*node.config.bootstrap, *await node.network.bootstrap()],
        }

    @routes.post("/connect")
    async def connect(body: Connect) -> dict[str, Any]:
        """Connect, and do so again at every start."""
        return await node.network.connect(body.addr.strip())

    return routes
