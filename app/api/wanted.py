"""Routes of requests: look at a table, ask for a model, take the request back, see who could build it."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from pydantic import Field

from openstall.app.api.requests import Body, PathText
from openstall.app.node import Node
from openstall.app.operations import Progress
from openstall.app.services.requests.draft import Terms, as_floor
from openstall.app.services.requests.looking import Choice
from openstall.app.services.requests.service import RowsFile
from openstall.market.errors import InvalidRecord
from openstall.market.fields import DAY_S
from openstall.market.mechanisms.choosing import ASSUMED_BIDDERS, MOST_BIDDERS, Goal, recommend
from openstall.market.money import MAX_MICRO

Column = Annotated[str, Field(min_length=1, max_length=200)]
Decimal = Annotated[str, Field(pattern=r"^[0-9]{1,16}(\.[0-9]{1,6})?$")]
Wallet = Annotated[str, Field(pattern=r"^0x[0-9a-fA-F]{40}$")]
Seconds = Annotated[int, Field(ge=60, le=90 * DAY_S)]
Bps = Annotated[int, Field(ge=1, le=10_000)]
Price = Annotated[int, Field(ge=1, le=MAX_MICRO)]
Bidders = Annotated[int, Query(ge=1, le=MOST_BIDDERS)]


class FloorBody(Body):
    """A second demand; `group` is the column of the groups, for fairness."""

    name: Literal["robustness", "fairness", "latency", "size"]
    limit: Decimal
    group: Annotated[str, Field(max_length=200)] = ""


class TermsBody(Body):
    """What is decided beside the table; money in micro-credits, times in seconds from now on.

    Without a quorum more than half of the evaluators must agree. In a contest `weights_bps` are the prizes by
    rank; without them the pool is shared in proportion to quality.
    """

    title: Annotated[str, Field(min_length=3, max_length=120)]
    summary: Annotated[str, Field(max_length=4000)] = ""
    licence: Annotated[str, Field(min_length=1, max_length=100)]
    budget_micro: Price
    deposit_micro: Price
    bid_s: Seconds = 3 * DAY_S
    reveal_s: Seconds = DAY_S
    deliver_s: Seconds = 14 * DAY_S
    evaluate_s: Seconds = DAY_S
    review_s: Seconds = 3 * DAY_S
    arbiter: Wallet | None = None
    tries: Annotated[int, Field(ge=1, le=16)] = 3
    evaluators: Annotated[list[Wallet], Field(max_length=16, default_factory=list)]
    quorum: Annotated[int, Field(ge=1, le=16)] | None = None
    mechanism: Literal["second_price", "contest"] = "second_price"
    weights_bps: Annotated[list[Bps], Field(max_length=32, default_factory=list)]


class Rows(Body):
    """A table, the column of the answers, and how a model is measured; an empty task is guessed."""

    path: PathText
    target: Column
    task: Literal["", "classification", "regression"] = ""
    ignore: Annotated[list[Column], Field(max_length=1_024, default_factory=list)]
    encoding: Annotated[str, Field(max_length=40)] = ""
    metric: Literal["", "accuracy", "macro_f1", "auc", "rmse", "mae"] = ""
    threshold: Decimal | None = None
    floors: Annotated[list[FloorBody], Field(max_length=4, default_factory=list)]


class Preview(Rows):
    """With terms, what would be signed is told as well; without a target only what the columns hold."""

    target: Annotated[str, Field(max_length=200)] = ""
    terms: TermsBody | None = None
    training_path: PathText | None = None


class Create(Rows):
    """`file_sha256` is what the preview said; another file is not signed for."""

    terms: TermsBody
    file_sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    training_path: PathText | None = None


NO_AUCTION = {"stage": "", "order_id": None}
"""Of a request whose auction or contest is not begun."""


def router(node: Node) -> APIRouter:
    """The routes, bound to one node."""
    routes = APIRouter(prefix="/v1/requests")

    @routes.post("/preview")
    async def preview(body: Preview) -> dict[str, Any]:
        """Read the table; nothing is kept, nothing is signed."""
        file = _file(body)
        terms = _terms(body, body.terms) if body.terms is not None else None
        training = Path(body.training_path) if body.training_path else None
        service = node.trade.requests

        async def action(progress: Progress) -> dict[str, Any]:
            progress("Reading your rows")
            return await service.preview(file, terms, training)

        title = f"Look at {file.path.name}"
        return {"operation_id": node.operations.start("request-preview", title, action)}

    @routes.post("")
    async def create(body: Create) -> dict[str, Any]:
        """Seal the rows, sign the request, publish it."""
        file, terms = _file(body), _terms(body, body.terms)
        training = Path(body.training_path) if body.training_path else None
        service = node.trade.requests

        async def action(progress: Progress) -> dict[str, Any]:
            return await service.create(
                file, terms, seen=body.file_sha256, training=training, progress=progress
            )

        title = f"Ask for “{terms.title}”"
        return {"operation_id": node.operations.start("request", title, action)}

    @routes.get("")
    async def items() -> dict[str, Any]:
        """Own requests, newest first."""
        found = await node.trade.requests.items()
        custom = node.trade.custom
        stages = await custom.auctions.stages() | await custom.contests.stages()
        items = [{**item, **stages.get(item["cid"], NO_AUCTION)} for item in found]
        return {"items": items, "total": len(items)}

    @routes.get("/mechanisms")  # before the route that takes any word as a request
    async def mechanisms(goal: Goal, bidders: Bidders = ASSUMED_BIDDERS) -> dict[str, Any]:
        """Which mechanism fits a goal if so many developers take part, why, and the working."""
        return asdict(await node.workers.work(recommend, goal, bidders))

    @routes.get("/{request_id}")
    async def show(request_id: str) -> dict[str, Any]:
        """One of them, by its id or its cid."""
        return await node.trade.requests.show(request_id[:80])

    @routes.post("/{request_id}/withdraw")
    async def withdraw(request_id: str) -> dict[str, Any]:
        """Take it back, once its auction ended without an order."""
        return await node.trade.requests.withdraw(request_id[:80])

    @routes.get("/{cid}/developers")
    async def developers(cid: str) -> dict[str, Any]:
        """Who could build it, best first; anybody's request, by its cid."""
        return await node.trade.developer.developers_for(cid[:80])

    return routes


def _file(body: Rows) -> RowsFile:
    groups = [floor.group for floor in body.floors if floor.name == "fairness"]
    choice = Choice(
        target=body.target,
        task=body.task,
        ignore=tuple(body.ignore),
        metric=body.metric,
        threshold=body.threshold or "",
        group=groups[0] if groups else "",
    )
    return RowsFile(path=Path(body.path), choice=choice, encoding=body.encoding)


def _terms(body: Rows, terms: TermsBody) -> Terms:
    if not body.metric or body.threshold is None:
        raise InvalidRecord(
            "no_threshold", "The request says no metric and threshold.", "Say when a model is good enough."
        )
    return Terms(
        title=terms.title,
        summary=terms.summary,
        licence=terms.licence,
        metric=body.metric,
        threshold=body.threshold,
        floors=tuple(as_floor(floor.name, floor.limit, floor.group) for floor in body.floors),
        budget_micro=terms.budget_micro,
        deposit_micro=terms.deposit_micro,
        bid_s=terms.bid_s,
        reveal_s=terms.reveal_s,
        deliver_s=terms.deliver_s,
        evaluate_s=terms.evaluate_s,
        review_s=terms.review_s,
        arbiter=terms.arbiter or "",
        tries=terms.tries,
        evaluators=tuple(terms.evaluators),
        quorum=terms.quorum or 0,
        mechanism=terms.mechanism,
        weights_bps=tuple(terms.weights_bps),
    )
