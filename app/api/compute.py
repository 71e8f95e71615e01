"""Routes of this machine as a provider: what it has, whether it is safe, the runtime."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import Any

from fastapi import APIRouter

from openstall.app.api.requests import Body
from openstall.app.node import Node
from openstall.app.services.renting import OFFER_KEY
from openstall.market.errors import ChainError, NotFound


class Install(Body):
    """Which workload runtime: the usual one, or the one for graphics cards."""

    gpu: bool = False


def router(node: Node) -> APIRouter:
    """The routes, bound to one node."""
    routes = APIRouter(prefix="/v1")

    @routes.get("/compute")
    async def show() -> dict[str, Any]:
        """Inventory, doctor, runtime, the offer and its jobs."""
        return {**await node.compute.as_dict(), **await _renting(node)}

    @routes.get("/compute/demand")
    async def demand() -> dict[str, Any]:
        """The group's prices, where our offer stands, what to ask, and why jobs went elsewhere."""
        return await node.trade.demand.as_dict()

    @routes.get("/compute/demand/replay")
    async def replay() -> dict[str, Any]:
        """Why jobs went elsewhere, concluded again from what was kept then."""
        return await node.trade.demand.replay()

    @routes.post("/compute/doctor")
    async def doctor() -> dict[str, Any]:
        """Check the sandbox with real jobs."""
        return {"operation_id": node.operations.start("doctor", "Check this machine", node.compute.doctor)}

    @routes.post("/runtime/install")
    async def install(body: Install) -> dict[str, Any]:
        """Download the workload runtime."""
        work = partial(node.compute.install, gpu=body.gpu)
        return {"operation_id": node.operations.start("install", "Install the runtime", work)}

    return routes


async def _renting(node: Node) -> dict[str, Any]:
    """The provider's side: its offer in the catalogue, the jobs of others, what they have earned it."""
    offer = None
    if node.group.joined:
        with suppress(NotFound):
            offer = await node.catalogue.own("offer", OFFER_KEY)
    jobs: list[dict[str, Any]] = []
    earned_micro = network_today_bytes = 0
    gpu_scripts = False
    if node.trading:
        sold = await node.trade.orders.items(role="seller", open_only=False)
        terms = await node.trade.renting.rules()
        gpu_scripts = terms is not None and terms.gpu_scripts
        jobs = [order for order in sold if order["kind"] == "compute"]
        with suppress(ChainError):
            earned_micro = await node.wallet.earned_by_jobs_micro()
        if (await node.house.rules()).network_bytes_day_cap is not None:
            network_today_bytes = await node.trade.traffic.today_bytes()
    return {
        "offer": offer,
        "gpu_scripts": gpu_scripts,
        "selling": node.selling,
        "jobs": jobs,
        "earned_micro": earned_micro,
        "network_today_bytes": network_today_bytes,
    }
