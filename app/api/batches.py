"""Routes of batches: one model on many tables."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import Field

from openstall.app.api.requests import Body, PathText
from openstall.app.node import Node
from openstall.app.services.batches.plan import MOST_AT_ONCE, MOST_PARTS, MOST_TRIES, BatchRequest
from openstall.market.money import MAX_MICRO

Cid = Annotated[str, Field(max_length=80)]


class Start(Body):
    """One table is cut into parts of `rows_per_part` rows; several are a part each. The cap is for all of it.

    `offers` narrows it to their providers; none: whoever takes infer jobs, at `max_price_micro` per second at
    most. `folder` is where the results go: a new or an empty one.
    """

    model: PathText
    files: Annotated[list[PathText], Field(min_length=1, max_length=MOST_PARTS)]
    folder: PathText
    cap_micro: Annotated[int, Field(ge=1, le=MAX_MICRO)]
    max_s: Annotated[int, Field(ge=1, le=7 * 86_400)] = 600
    rows_per_part: Annotated[int, Field(ge=0, le=10_000_000)] = 0
    label: Annotated[str, Field(max_length=200)] = ""
    offers: Annotated[list[Cid], Field(max_length=50, default_factory=list)]
    max_price_micro: Annotated[int, Field(ge=0, le=MAX_MICRO)] = 0
    at_once: Annotated[int, Field(ge=1, le=MOST_AT_ONCE)] = 2
    tries: Annotated[int, Field(ge=1, le=MOST_TRIES)] = 3


def router(node: Node) -> APIRouter:
    """The routes, bound to one node."""
    routes = APIRouter(prefix="/v1/batches")

    @routes.post("")
    async def start(body: Start) -> dict[str, Any]:
        """Take a batch in; it goes on by itself, also after a restart."""
        paths = {
            "model": Path(body.model),
            "files": [Path(path) for path in body.files],
            "folder": Path(body.folder),
        }
        request = BatchRequest(**{**body.model_dump(), **paths})
        return {"batch_id": await node.trade.batches.start(request)}

    @routes.get("")
    async def listed() -> dict[str, Any]:
        """All batches, newest first."""
        items = await node.trade.batches.items()
        return {"items": items, "total": len(items)}

    @routes.get("/{batch_id}")
    async def one(batch_id: str) -> dict[str, Any]:
        """One batch with its parts."""
        return await node.trade.batches.view(batch_id)

    @routes.post("/{batch_id}/cancel")
    async def cancel(batch_id: str) -> dict[str, Any]:
        """Order nothing more, and stop what runs; the seconds that ran are paid."""
        return await node.trade.batches.cancel(batch_id)

    return routes
