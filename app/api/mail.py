"""Routes of what waits to be sent, and of the mailboxes that keep letters."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import Field

from openstall.app.api.requests import Body
from openstall.app.node import Node


class Serve(Body):
    """Whether this node keeps letters for others."""

    on: bool


class Use(Body):
    """Peer ids of mailboxes; none means the host of the group."""

    peers: Annotated[list[Annotated[str, Field(min_length=1, max_length=64)]], Field(max_length=3)]


def router(node: Node) -> APIRouter:
    """The routes, bound to one node."""
    routes = APIRouter(prefix="/v1")

    @routes.get("/outbox")
    async def outbox() -> dict[str, Any]:
        """Everything that waits to reach somebody, oldest first."""
        calls = await node.trade.disputes.calling.waiting() if node.trading else []
        items = await node.outgoing.items(calls)
        return {"items": items, "total": len(items)}

    @routes.post("/outbox/{item_id}/drop")
    async def drop(item_id: str) -> dict[str, Any]:
        """Take back what nobody may have seen yet."""
        return await node.outgoing.drop(item_id, lambda order_id: node.trade.orders.act(order_id, "cancel"))

    @routes.get("/mailbox")
    async def mailbox() -> dict[str, Any]:
        """What this node keeps for others, and who keeps its own letters."""
        return await node.mailbox.as_dict()

    @routes.post("/mailbox/serve")
    async def serve(body: Serve) -> dict[str, Any]:
        """Keep letters for members of the group that are off, or not."""
        return await node.mailbox.serve(on=body.on)

    @routes.post("/mailbox/use")
    async def use(body: Use) -> dict[str, Any]:
        """Name the mailboxes that others leave letters in; your own record says so."""
        return await node.mailbox.use(body.peers)

    return routes
