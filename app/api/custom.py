"""Routes of sealed bids, and of what is handed in to orders of models."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import Field

from openstall.app.api.requests import Body, PathText
from openstall.app.node import Node
from openstall.app.operations import Progress
from openstall.market.money import MAX_MICRO


class BidBody(Body):
    """A sealed bid in micro-credits."""

    amount_micro: Annotated[int, Field(ge=1, le=MAX_MICRO)]


class EvaluatorBody(Body):
    """Whether this node measures models for others."""

    on: bool


class HandInBody(Body):
    """An ONNX model, or a flat folder with one and texts."""

    path: PathText


class FolderBody(Body):
    """Where a file is written to."""

    folder: PathText


class ReplayBody(Body):
    """A proof that another party saved, in the place of asking the evaluators; a model to check with it."""

    proof: PathText | None = None
    model: PathText | None = None


def router(node: Node) -> APIRouter:
    """The routes, bound to one node."""
    routes = APIRouter(prefix="/v1")

    @routes.get("/requests/{cid}/record")
    async def record(cid: str) -> dict[str, Any]:
        """What its author signed; who takes part reads it also when it has left the catalogue."""
        return await node.trade.custom.entry(cid[:80])

    @routes.get("/requests/{cid}/auction")
    async def auction(cid: str) -> dict[str, Any]:
        """The auction of a request as the chain has it."""
        return await node.trade.custom.auctions.view(cid)

    @routes.post("/requests/{cid}/bid")
    async def bid(cid: str, body: BidBody) -> dict[str, Any]:
        """Make a sealed bid."""
        return await node.trade.custom.auctions.bid(cid, body.amount_micro)

    @routes.get("/evaluator")
    async def evaluator() -> dict[str, Any]:
        """Whether this node measures models where a request names its wallet."""
        return await node.trade.custom.willing.get()

    @routes.post("/evaluator")
    async def evaluate(body: EvaluatorBody) -> dict[str, Any]:
        """Agree to it, or take on nothing new."""
        switch = await node.trade.custom.willing.set(on=body.on)
        node.presence.soon()
        return switch

    @routes.get("/bids")
    async def own_bids() -> dict[str, Any]:
        """The auctions in which this node bids, newest first."""
        items = await node.trade.custom.auctions.items(role="bidder")
        return {"items": items, "total": len(items)}

    _deliveries(routes, node)
    return routes


def _deliveries(routes: APIRouter, node: Node) -> None:
    @routes.post("/orders/{order_id}/hand-in")
    async def hand_in(order_id: str, body: HandInBody) -> dict[str, Any]:
        """Developer: hand a model in."""

        async def action(progress: Progress) -> dict[str, Any]:
            return await node.trade.custom.hand_in.take(order_id, Path(body.path), progress)

        return {"operation_id": node.operations.start("hand-in", "Hand in a model", action)}

    @routes.post("/orders/{order_id}/training")
    async def training(order_id: str, body: FolderBody) -> dict[str, Any]:
        """Developer: fetch the training data of a request that was won."""

        async def action(progress: Progress) -> dict[str, Any]:
            return await node.trade.custom.training.save(order_id, Path(body.folder), progress)

        return {"operation_id": node.operations.start("training", "Fetch the training data", action)}

    @routes.post("/orders/{order_id}/replay")
    async def replay(order_id: str, body: ReplayBody) -> dict[str, Any]:
        """Buyer, developer or arbiter: have rows opened, and let the model answer them again."""
        given, model = (None if path is None else Path(path) for path in (body.proof, body.model))

        async def action(progress: Progress) -> dict[str, Any]:
            return await node.trade.custom.replaying.replay(order_id, progress, given=given, model=model)

        return {"operation_id": node.operations.start("replay", "Check a report again", action)}
