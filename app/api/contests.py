"""Routes of contests: see them, enter a model, practise, fetch the training data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fastapi import APIRouter

from openstall.app.api.custom import FolderBody, HandInBody
from openstall.app.node import Node
from openstall.app.operations import Progress


def router(node: Node) -> APIRouter:
    """The routes, bound to one node."""
    routes = APIRouter(prefix="/v1/contests")

    @routes.get("")
    async def items() -> dict[str, Any]:
        """The contests this node runs, has entered, or judges, newest first."""
        found = await node.trade.custom.contests.items()
        return {"items": found, "total": len(found)}

    @routes.get("/{cid}")
    async def show(cid: str) -> dict[str, Any]:
        """One contest, anybody's, by the cid of its request."""
        return await node.trade.custom.contests.view(cid[:80])

    @routes.post("/{cid}/enter")
    async def enter(cid: str, body: HandInBody) -> dict[str, Any]:
        """Developer: enter a model, with the deposit; once."""

        async def action(progress: Progress) -> dict[str, Any]:
            return await node.trade.custom.contests.enter(cid[:80], Path(body.path), progress)

        return {"operation_id": node.operations.start("contest-enter", "Enter a contest", action)}

    @routes.post("/{cid}/practice")
    async def practise(cid: str, body: HandInBody) -> dict[str, Any]:
        """Developer: have a model measured beforehand; one of few tries."""

        async def action(progress: Progress) -> dict[str, Any]:
            return await node.trade.custom.contests.practise(cid[:80], Path(body.path), progress)

        return {"operation_id": node.operations.start("contest-practice", "Practise", action)}

    @routes.post("/{cid}/training")
    async def training(cid: str, body: FolderBody) -> dict[str, Any]:
        """Developer: fetch the training data of a contest."""

        async def action(progress: Progress) -> dict[str, Any]:
            return await node.trade.custom.contests.save_training(cid[:80], Path(body.folder), progress)

        return {"operation_id": node.operations.start("contest-training", "Fetch the training data", action)}

    return routes
