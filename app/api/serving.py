"""Routes of a served model: ask it, or open an endpoint for programs that know the OpenAI API."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import Field

from openstall.app.api.requests import Body
from openstall.app.node import Node
from openstall.app.operations import Progress
from openstall.app.services.averaging import MOST_PARTIES
from openstall.compute_agent.serving import as_question

OrderId = Annotated[str, Field(max_length=64)]


class Open(Body):
    """The port on 127.0.0.1; 0 takes any that is free."""

    port: Annotated[int, Field(ge=0, le=65535)] = 0


class Average(Body):
    """The orders of one round, the weights it started from (none in a first round), a new folder."""

    orders: Annotated[
        list[Annotated[str, Field(max_length=64)]], Field(min_length=1, max_length=MOST_PARTIES)
    ]
    weights: Annotated[str, Field(min_length=1, max_length=4096)] | None = None
    folder: Annotated[str, Field(min_length=1, max_length=4096)]


class Ask(Body):
    """A question: `rows`, or `prompt` with what belongs to it; see docs/buyer.md."""

    question: dict[str, Any]


def router(node: Node) -> APIRouter:
    """The routes, bound to one node."""
    routes = APIRouter(prefix="/v1/orders/{order_id}")
    whole = APIRouter()
    whole.include_router(_averaging(node))

    @routes.post("/ask")
    async def ask(order_id: str, body: Ask) -> dict[str, Any]:
        """Ask the job of an order; the whole answer comes at once."""
        return await node.trade.serving.lines.ask(order_id, as_question(body.question))

    @routes.post("/endpoint")
    async def opened(order_id: str, body: Open) -> dict[str, Any]:
        """Open an endpoint on this computer; it closes by itself when the job has ended."""
        return await node.trade.serving.endpoints.open(order_id, body.port)

    @routes.get("/endpoint")
    async def shown(order_id: str) -> dict[str, Any]:
        """The open endpoint of an order."""
        return node.trade.serving.endpoints.show(order_id)

    @routes.post("/endpoint/close")
    async def closed(order_id: str) -> dict[str, Any]:
        """Close it; the job goes on."""
        await node.trade.serving.endpoints.close(order_id)
        return {"order_id": order_id, "open": False}

    whole.include_router(routes)
    return whole


def _averaging(node: Node) -> APIRouter:
    routes = APIRouter(prefix="/v1/rounds")

    @routes.post("/average")
    async def average(body: Average) -> dict[str, Any]:
        """Put a round of federated averaging together."""
        weights = Path(body.weights) if body.weights else None
        averaging = node.trade.averaging

        async def action(progress: Progress) -> dict[str, Any]:
            return await averaging.run(body.orders, weights, Path(body.folder), progress)

        return {"operation_id": node.operations.start("average", "Average a round", action)}

    return routes
