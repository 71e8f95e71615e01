"""Routes of reliability: of this machine for its buyers, and of a provider for this node."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path

from openstall.app.node import Node


def router(node: Node) -> APIRouter:
    """The routes, bound to one node."""
    routes = APIRouter(prefix="/v1/compute/reliability")

    @routes.get("")
    async def own() -> dict[str, Any]:
        """This machine's own figure, with each change explained and dated, the newest first."""
        return await node.trade.reliability.own()

    @routes.get("/{peer_id}")
    async def of(peer_id: Annotated[str, Path(pattern=r"^[A-Za-z0-9]{40,70}$")]) -> dict[str, Any]:
        """What this node itself has seen of a provider, by the same rule."""
        return await node.trade.reliability.of(peer_id)

    return routes
