"""Routes of a developer: the own card, and the open requests that fit it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter
from pydantic import Field

from openstall.app.api.requests import Body
from openstall.app.node import Node
from openstall.market.requests.bodies import MOST_PLACES


class Card(Body):
    """What you know, which tasks you take, and how many orders now."""

    title: Annotated[str, Field(min_length=3, max_length=120)]
    skills: Annotated[str, Field(max_length=4000)]
    tasks: Annotated[list[Literal["classification", "regression"]], Field(min_length=1, max_length=2)]
    places: Annotated[int, Field(ge=0, le=MOST_PLACES)]


def router(node: Node) -> APIRouter:
    """The routes, bound to one node."""
    routes = APIRouter(prefix="/v1/developer")

    @routes.get("")
    async def show() -> dict[str, Any]:
        """The own card."""
        return await node.trade.developer.card()

    @routes.post("")
    async def set_card(body: Card) -> dict[str, Any]:
        """Publish the own card, or a new one in its place."""
        return await node.trade.developer.set_card(
            title=body.title, skills=body.skills, tasks=body.tasks, places=body.places
        )

    @routes.post("/off")
    async def off() -> dict[str, Any]:
        """Take it back."""
        await node.trade.developer.off()
        return {"off": True}

    @routes.get("/inbox")
    async def inbox() -> dict[str, Any]:
        """Open requests that fit it, best first."""
        return await node.trade.developer.inbox()

    return routes
