"""Routes of messages about orders, and of the evidence that is shown about them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import APIRouter
from pydantic import Field

from openstall.app.api.requests import Body, PathText
from openstall.app.node import Node
from openstall.app.services.disputes.checking import EvidenceCheck


class Say(Body):
    """A message to those who read about the order."""

    text: Annotated[str, Field(min_length=1, max_length=4000)]


class SaveEvidence(Body):
    """The new file; an arbiter says whose evidence it wants."""

    path: PathText
    side: Literal["", "buyer", "seller"] = ""


class CheckEvidence(Body):
    """An evidence file on this machine."""

    path: PathText


def router(node: Node) -> APIRouter:
    """The routes, bound to one node."""
    routes = APIRouter(prefix="/v1")

    @routes.get("/orders/{order_id}/talk")
    async def talk(order_id: str) -> dict[str, Any]:
        """What buyer, seller and arbiter have written about an order."""
        return await node.trade.disputes.talk.view(order_id)

    @routes.post("/orders/{order_id}/say")
    async def say(order_id: str, body: Say) -> dict[str, Any]:
        """Write a message; it is sent by itself, also when the other side comes back later."""
        return await node.trade.disputes.talk.say(order_id, body.text)

    @routes.post("/orders/{order_id}/read")
    async def read(order_id: str) -> dict[str, Any]:
        """All messages of the order were seen."""
        await node.trade.disputes.talk.mark_read(order_id)
        return {}

    @routes.get("/orders/{order_id}/evidence")
    async def shown(order_id: str) -> dict[str, Any]:
        """As the arbiter: what each side has shown, and what of it holds."""
        return await node.trade.disputes.gathering.view(order_id)

    @routes.post("/orders/{order_id}/evidence")
    async def evidence(order_id: str, body: SaveEvidence) -> dict[str, Any]:
        """Write the evidence about an order to a new file."""
        return await node.trade.disputes.evidence.save(order_id, Path(body.path), body.side)

    @routes.post("/evidence/check")
    async def check(body: CheckEvidence) -> dict[str, Any]:
        """What of an evidence file holds."""
        alone = EvidenceCheck(facts=None, catalogue=None, workers=node.workers)
        chosen = node.trade.disputes.check if node.trading else alone
        return await chosen.file(Path(body.path))

    return routes
