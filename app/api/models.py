"""Routes of models: check, publish, withdraw, the library, and running a model on one's own rows."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import Field

from openstall.app.api.requests import Body, PathText
from openstall.app.node import Node
from openstall.app.operations import Progress
from openstall.app.services.selling import ListingDraft, package_files
from openstall.market.fields import DAY_S
from openstall.market.money import MAX_MICRO
from openstall.market.records import Card, Metric

LongText = Annotated[str, Field(max_length=4000)]


class Check(Body):
    """A model file, or a flat folder with one model and texts."""

    path: PathText


class ClaimedMetric(Body):
    """A figure that the seller claims."""

    name: Annotated[str, Field(min_length=1, max_length=120)]
    value: Annotated[str, Field(pattern=r"^-?[0-9]{1,18}(\.[0-9]{1,18})?$")]
    data: Annotated[str, Field(max_length=120)] = ""


class CardBody(Body):
    """The model card."""

    intended_use: LongText
    training_data: LongText
    limits: LongText
    metrics: Annotated[list[ClaimedMetric], Field(max_length=32, default_factory=list)]


class Publish(Body):
    """A listing; the price in micro-credits, times in seconds, the arbiter's wallet or null."""

    path: PathText
    title: Annotated[str, Field(min_length=3, max_length=120)]
    summary: LongText
    licence: Annotated[str, Field(min_length=1, max_length=100)]
    price_micro: Annotated[int, Field(ge=1, le=MAX_MICRO)]
    card: CardBody
    review_s: Annotated[int, Field(ge=60, le=90 * DAY_S)] = 3 * DAY_S
    deliver_s: Annotated[int, Field(ge=1, le=30 * DAY_S)] = 3600
    arbiter: Annotated[str, Field(pattern=r"^0x[0-9a-fA-F]{40}$")] | None = None
    mirrors: Annotated[list[Annotated[str, Field(max_length=260)]], Field(max_length=4, default_factory=list)]


class Run(Body):
    """Rows as CSV with a header; `label` names the column to compare with, if there is one."""

    order_id: Annotated[str, Field(max_length=80)]
    rows_path: PathText
    label: Annotated[str, Field(max_length=200)] | None = None


def router(node: Node) -> APIRouter:
    """The routes, bound to one node."""
    routes = APIRouter(prefix="/v1/models")

    @routes.post("/check")
    async def check(body: Check) -> dict[str, Any]:
        """Look into a model inside the sandbox, before anything is published."""

        async def action(progress: Progress) -> dict[str, Any]:
            _files, model = await node.workers.store(package_files, Path(body.path))
            return await node.trade.check.run(model, progress)

        return {"operation_id": node.operations.start("check", f"Check {Path(body.path).name}", action)}

    @routes.post("/publish")
    async def publish(body: Publish) -> dict[str, Any]:
        """Check, encrypt, sign and announce a model."""
        draft = ListingDraft(
            path=Path(body.path),
            title=body.title,
            summary=body.summary,
            licence=body.licence,
            price_micro=body.price_micro,
            card=Card(
                intended_use=body.card.intended_use,
                training_data=body.card.training_data,
                limits=body.card.limits,
                metrics=[Metric(name=m.name, value=m.value, data=m.data) for m in body.card.metrics],
            ),
            arbiter=body.arbiter or "",
            deliver_s=body.deliver_s,
            review_s=body.review_s,
            mirrors=tuple(body.mirrors),
        )
        stock = node.trade.stock
        operation = node.operations.start(
            "publish", f"Publish “{body.title}”", lambda progress: stock.publish(draft, progress)
        )
        return {"operation_id": operation}

    @routes.post("/{cid}/withdraw")
    async def withdraw(cid: str) -> dict[str, Any]:
        """Take one's own listing off the market; open orders go on."""
        await node.trade.stock.withdraw(cid)
        return {"withdrawn": cid}

    @routes.get("/library")
    async def library() -> dict[str, Any]:
        """Packages that were bought and opened here."""
        items = await node.trade.runs.items()
        return {"items": items, "total": len(items)}

    @routes.post("/run")
    async def run(body: Run) -> dict[str, Any]:
        """Run a model of the library on one's own rows, in the sandbox on this machine."""
        runs = node.trade.runs

        async def action(progress: Progress) -> dict[str, Any]:
            return await runs.run(body.order_id, Path(body.rows_path), body.label, progress)

        return {"operation_id": node.operations.start("run", "Run a model on your rows", action)}

    return routes
