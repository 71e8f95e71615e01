"""Routes of the provider's switch: put this machine on offer, take it off again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import Field

from openstall.app.api.requests import Body
from openstall.app.node import Node
from openstall.app.services.offer_terms import OfferTerms
from openstall.compute_agent.specs import GIB
from openstall.market.fields import DAY_S
from openstall.market.job_kinds import KINDS, KindOfJob
from openstall.market.money import MAX_MICRO


class Sell(Body):
    """What strangers may use; the price in micro-credits per second, sizes in bytes, times in seconds."""

    price_per_s_micro: Annotated[int, Field(ge=1, le=MAX_MICRO)]
    max_job_s: Annotated[int, Field(ge=1, le=30 * DAY_S)]
    memory_bytes: Annotated[int, Field(ge=GIB // 2)]
    threads: Annotated[int, Field(ge=1, le=256)]
    kinds: Annotated[list[KindOfJob], Field(min_length=1, max_length=len(KINDS))]
    ttl_s: Annotated[int, Field(ge=60, le=30 * DAY_S)] = 6 * 3600
    disk_bytes: Annotated[int, Field(ge=2**24)] = GIB
    jobs_at_once: Annotated[int, Field(ge=1, le=64)] = 1
    queue: Annotated[int, Field(ge=0, le=256)] = 0
    gpus: bool = False
    gpu_memory_bytes: Annotated[int, Field(ge=0)] = 0
    gpu_scripts: bool = False
    withdraw_delay_s: Annotated[int, Field(ge=60, le=30 * DAY_S)] = 3600


class Stop(Body):
    """Whether running jobs are ended too."""

    now: bool = False


class Rules(Body):
    """The whole of the house rules; see `market/house.py`."""

    rules: dict[str, Any]


class Files(Body):
    """Where the earnings are written to; a file must not exist yet."""

    csv: Annotated[str, Field(min_length=1, max_length=4096)] | None = None
    pdf: Annotated[str, Field(min_length=1, max_length=4096)] | None = None


def router(node: Node) -> APIRouter:
    """The routes, bound to one node."""
    routes = APIRouter(prefix="/v1/compute")

    @routes.post("/sell")
    async def sell(body: Sell) -> dict[str, Any]:
        """Check the sandbox and announce the offer."""
        terms = OfferTerms(**{**body.model_dump(), "kinds": tuple(body.kinds)})
        cid = await node.trade.renting.start(terms)
        floor = node.house.floor_price_micro(await node.house.rules())
        return {"cid": cid, "floor_price_micro": floor, "below_cost": body.price_per_s_micro < (floor or 0)}

    @routes.post("/stop")
    async def stop(body: Stop) -> dict[str, Any]:
        """Take the offer back; running jobs go on to their end, or are ended now."""
        await node.trade.renting.stop()
        ended = await node.trade.guests.end_all() if body.now else 0
        return {"selling": False, "jobs_ended": ended}

    @routes.get("/house")
    async def house() -> dict[str, Any]:
        """The house rules, what the sensors say, and what follows."""
        return await node.house.as_dict()

    @routes.post("/house")
    async def set_rules(body: Rules) -> dict[str, Any]:
        """Replace the house rules; they hold at once."""
        if node.trading:
            await node.trade.renting.set_house_rules(body.rules)
        else:
            await node.house.set_rules(body.rules)
        return await node.house.as_dict()

    @routes.post("/pause")
    async def pause() -> dict[str, Any]:
        """Have the machine back now; running jobs wait."""
        returned_ms = await node.house.pause()
        return {**await node.house.as_dict(), "returned_ms": returned_ms}

    @routes.post("/resume")
    async def resume() -> dict[str, Any]:
        """Take a pause back."""
        await node.house.resume()
        return await node.house.as_dict()

    @routes.get("/earnings")
    async def earnings() -> dict[str, Any]:
        """Earnings minus electricity, per device and day."""
        return await node.trade.earnings.as_dict()

    @routes.post("/earnings/save")
    async def save(body: Files) -> dict[str, Any]:
        """Write them as CSV, as PDF, or both."""
        paths = await node.trade.earnings.save(
            csv_path=Path(body.csv) if body.csv else None, pdf_path=Path(body.pdf) if body.pdf else None
        )
        return {"items": paths, "total": len(paths)}

    return routes
