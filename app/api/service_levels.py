"""Routes of service levels: what this node promises, what others promise, complaints."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import Field

from openstall.app.api.requests import Body
from openstall.app.node import Node
from openstall.app.services.service_levels.promises import Wanted
from openstall.market.fields import DAY_S
from openstall.market.money import MAX_MICRO


class Level(Body):
    """A service level; what is left out is not promised, or taken as the provider promises it."""

    start_s: Annotated[int, Field(ge=0, le=DAY_S)] | None = None
    uptime_bps: Annotated[int, Field(ge=0, le=10_000)] | None = None
    steps_per_1000s: Annotated[int, Field(ge=0, le=10**9)] | None = None
    penalty_micro: Annotated[int, Field(ge=1, le=MAX_MICRO)] | None = None

    def wanted(self) -> Wanted:
        """As the services take it."""
        return Wanted(**self.model_dump())


class Complaint(Body):
    """A job of this node as buyer."""

    order_id: Annotated[str, Field(max_length=64)]


def router(node: Node) -> APIRouter:
    """The routes, bound to one node."""
    routes = APIRouter(prefix="/v1/service-levels")

    @routes.get("")
    async def own() -> dict[str, Any]:
        """What this node promises, what its bond holds, and what open orders may cost it."""
        return await node.trade.levels.show_own()

    @routes.post("")
    async def promise(body: Level) -> dict[str, Any]:
        """Promise this beside the offer, for each order; the penalty is the most that one order costs."""
        return await node.trade.levels.promise(body.wanted())

    @routes.post("/off")
    async def take_back() -> dict[str, Any]:
        """Promise nothing any more; open orders keep what they name."""
        return await node.trade.levels.take_back()

    @routes.post("/complaints")
    async def complain(body: Complaint) -> dict[str, Any]:
        """Bring a job before the oracles of its bond; what was broken comes there by itself."""
        await node.trade.levels.pursuit.complain(body.order_id)
        return await node.trade.orders.view(body.order_id)

    @routes.get("/{peer_id}")
    async def show(peer_id: str) -> dict[str, Any]:
        """What a provider promises, and the bond behind it as the chain has it."""
        return await node.trade.levels.show(peer_id[:64])

    return routes
