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


class Choice(Body):
    """`auto`, `on` or `off`."""

    mode: Annotated[str, Field(min_length=1, max_length=8)]


class Switch(Body):
    """On or off."""

    on: bool


def router(node: Node) -> APIRouter:
    """The routes, bound to one node."""
    routes = APIRouter(prefix="/v1/peers")

    @routes.get("")
    async def show() -> dict[str, Any]:
        """This node and the peers that it is connected to."""
        found = node.network.peers()
        names = await node.catalogue.peer_names([peer.peer_id for peer in found])
        about = await node.names.about(names)
        items = [{**peer_dict(peer), "name": names[peer.peer_id], **about[peer.peer_id]} for peer in found]
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

    @routes.get("/reach")
    async def reach() -> dict[str, Any]:
        """Whether and how others can reach this node, and the way to each peer."""
        return await _reach(node)

    @routes.post("/relay")
    async def relay(body: Choice) -> dict[str, Any]:
        """Relay for others: always, never, or when this node is reached directly."""
        await node.network.reach_service.set_relay(body.mode)
        return await _reach(node)

    @routes.post("/upnp")
    async def upnp(body: Switch) -> dict[str, Any]:
        """Allow or forbid asking the router for a port."""
        await node.network.reach_service.set_upnp(on=body.on)
        return await _reach(node)

    return routes


async def _reach(node: Node) -> dict[str, Any]:
    shown = await node.network.reach_service.show()
    names = await node.catalogue.peer_names([one["peer_id"] for one in shown["peers"] + shown["relays"]])
    for part in ("peers", "relays"):
        shown[part] = [{**one, "name": names[one["peer_id"]]} for one in shown[part]]
        await node.names.dress_named(shown[part])
    return shown
