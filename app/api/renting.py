"""Routes of the provider's switch: put this machine on offer, take it off again."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter
from pydantic import Field

from openstall.app.api.requests import Body
from openstall.app.node import Node
from openstall.app.services.renting import OfferTerms
from openstall.compute_agent.specs import GIB
from openstall.market.money import MAX_MICRO
from openstall.market.records import DAY_S


class Sell(Body):
    """What strangers may use; the price in micro-credits per second, sizes in bytes, times in seconds."""

    price_per_s_micro: Annotated[int, Field(ge=1, le=MAX_MICRO)]
    max_job_s: Annotated[int, Field(ge=1, le=30 * DAY_S)]
    memory_bytes: Annotated[int, Field(ge=GIB // 2)]
    threads: Annotated[int, Field(ge=1, le=256)]
    kinds: Annotated[list[Literal["infer", "train"]], Field(min_length=1, max_length=2)]
    ttl_s: Annotated[int, Field(ge=60, le=30 * DAY_S)] = 6 * 3600
    disk_bytes: Annotated[int, Field(ge=2**24)] = GIB
    jobs_at_once: Annotated[int, Field(ge=1, le=64)] = 1
    withdraw_delay_s: Annotated[int, Field(ge=60, le=30 * DAY_S)] = 3600


def router(node: Node) -> APIRouter:
    """The routes, bound to one node."""
    routes = APIRouter(prefix="/v1/compute")

    @routes.post("/sell")
    async def sell(body: Sell) -> dict[str, Any]:
        """Check the sandbox and announce the offer."""
        rules = OfferTerms(**{**body.model_dump(), "kinds": tuple(body.kinds)})
        return {"cid": await node.trade.renting.start(rules)}

    @routes.post("/stop")
    async def stop() -> dict[str, Any]:
        """Take the offer back; running jobs go on to their end."""
        await node.trade.renting.stop()
        return {"selling": False}

    return routes
