"""Routes of models made to order: requests, sealed bids, and what is handed in."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import APIRouter
from pydantic import Field

from openstall.app.api.requests import Body
from openstall.app.node import Node
from openstall.app.operations import Progress
from openstall.app.services.custom.requests import Draft
from openstall.market.fields import DAY_S
from openstall.market.money import MAX_MICRO
from openstall.market.requests.demands import Floor

PathText = Annotated[str, Field(min_length=1, max_length=4096)]
Wallet = Annotated[str, Field(pattern=r"^0x[0-9a-fA-F]{40}$")]
Figure = Annotated[str, Field(pattern=r"^(0|[1-9][0-9]{0,15})(\.[0-9]{1,6})?$")]
Span = Annotated[int, Field(ge=60, le=90 * DAY_S)]


class FloorBody(Body):
    """A second demand; `group` is the column of the groups for `fairness`."""

    name: Literal["robustness", "fairness", "latency", "size"]
    limit: Figure
    group: Annotated[str, Field(max_length=200)] = ""


class DraftBody(Body):
    """A request as a person fills it in: amounts in micro-credits, times in seconds.

    `rows` is the table to validate on, `target` its column with the right answers. Without evaluators this
    node's own machine measures; without a quorum more than half of them must agree.
    """

    rows: PathText
    target: Annotated[str, Field(min_length=1, max_length=200)]
    title: Annotated[str, Field(min_length=3, max_length=120)]
    summary: Annotated[str, Field(max_length=4000)] = ""
    metric: Literal["accuracy", "macro_f1", "auc", "rmse", "mae"]
    threshold: Figure
    budget_micro: Annotated[int, Field(ge=1, le=MAX_MICRO)]
    task: Literal["", "classification", "regression"] = ""
    floors: Annotated[list[FloorBody], Field(max_length=4, default_factory=list)]
    training: PathText | None = None
    deposit_micro: Annotated[int, Field(ge=0, le=MAX_MICRO)] = 0
    bids_s: Span = 2 * DAY_S
    opening_s: Span = DAY_S // 2
    deliver_s: Span = 14 * DAY_S
    evaluate_s: Span = DAY_S
    review_s: Span = 2 * DAY_S
    arbiter: Wallet | None = None
    tries: Annotated[int, Field(ge=1, le=16)] = 2
    evaluators: Annotated[list[Wallet], Field(max_length=16, default_factory=list)]
    quorum: Annotated[int, Field(ge=0, le=16)] = 0

    def draft(self) -> Draft:
        """As the service takes it."""
        plain = self.model_dump(exclude={"rows", "training", "floors", "arbiter", "evaluators"})
        return Draft(
            rows=Path(self.rows),
            training=Path(self.training) if self.training else None,
            floors=tuple(Floor(**floor.model_dump()) for floor in self.floors),
            arbiter=self.arbiter or "",
            evaluators=tuple(self.evaluators),
            **plain,
        )


class BidBody(Body):
    """A sealed bid in micro-credits."""

    amount_micro: Annotated[int, Field(ge=1, le=MAX_MICRO)]


class HandInBody(Body):
    """An ONNX model, or a flat folder with one and texts."""

    path: PathText


class FolderBody(Body):
    """Where a file is written to."""

    folder: PathText


def router(node: Node) -> APIRouter:
    """The routes, bound to one node."""
    routes = APIRouter(prefix="/v1")

    @routes.post("/requests/preview")
    async def preview(body: DraftBody) -> dict[str, Any]:
        """What would be signed, in words, and what is odd about it."""
        return await node.trade.custom.requests.preview(body.draft())

    @routes.post("/requests")
    async def create(body: DraftBody) -> dict[str, Any]:
        """Seal the rows, announce the request, pay the budget into its auction."""

        async def action(progress: Progress) -> dict[str, Any]:
            return await node.trade.custom.requests.create(body.draft(), progress)

        return {"operation_id": node.operations.start("request", f"Ask for “{body.title}”", action)}

    @routes.get("/requests")
    async def own_requests() -> dict[str, Any]:
        """This node's own requests with their auctions, newest first."""
        items = await node.trade.custom.auctions.items(role="requester")
        return {"items": items, "total": len(items)}

    @routes.get("/requests/{cid}/auction")
    async def auction(cid: str) -> dict[str, Any]:
        """The auction of a request as the chain has it."""
        return await node.trade.custom.auctions.view(cid)

    @routes.post("/requests/{cid}/bid")
    async def bid(cid: str, body: BidBody) -> dict[str, Any]:
        """Make a sealed bid."""
        return await node.trade.custom.auctions.bid(cid, body.amount_micro)

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
