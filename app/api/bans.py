"""Routes of who is shut out of this node."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import Field

from openstall.app.api.requests import Body
from openstall.app.node import Node
from openstall.app.services import bans


class Who(Body):
    """The id of a peer, or a network of addresses such as `192.0.2.0/24`."""

    what: Annotated[str, Field(min_length=1, max_length=100)]


class Shut(Who):
    """With a reason for oneself; `for_s` 0 is for good."""

    reason: Annotated[str, Field(max_length=200)] = ""
    for_s: Annotated[int, Field(ge=0, le=bans.MOST_FOR_S)] = 0


def router(node: Node) -> APIRouter:
    """The routes, bound to one node."""
    routes = APIRouter(prefix="/v1/peers")

    @routes.get("/banned")
    async def banned() -> dict[str, Any]:
        """Who is shut out, why, by whom and for how long."""
        return await bans.banned(node.network, node.catalogue, node.names)

    @routes.post("/ban")
    async def ban(body: Shut) -> dict[str, Any]:
        """Shut a peer or a network out, and hang up."""
        return await bans.ban(node.network, body.what, reason=body.reason, for_s=body.for_s)

    @routes.post("/unban")
    async def unban(body: Who) -> dict[str, Any]:
        """Let it in again."""
        return await bans.unban(node.network, body.what)

    return routes
