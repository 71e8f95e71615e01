"""What this node's own books say of selling compute: what a second costs, and what buyers have bought."""

from __future__ import annotations

from dataclasses import dataclass

from openstall.app.services.house import House
from openstall.app.services.orders.desk import OrderDesk
from openstall.app.threads import Workers
from openstall.market.mechanisms.compute_prices import Sold
from openstall.store.orders import Orders


@dataclass(slots=True, kw_only=True)
class OwnBooks:
    """What prices are worked out from."""

    desk: OrderDesk
    orders: Orders
    house: House
    workers: Workers

    async def cost_per_s_micro(self) -> int:
        """What a second of work costs in electricity; 0 where that is not known."""
        return self.house.floor_price_micro(await self.house.rules()) or 0

    async def jobs_sold(self) -> list[Sold]:
        """What buyers did at our price."""
        ids = await self.workers.store(lambda: self.orders.list_ids(role="seller", kind="compute"))
        jobs = [await self.desk.load(order_id) for order_id in ids]
        return [
            Sold(
                seconds=int(job.data["seconds"]),
                price_per_s_micro=terms.price_per_s_micro - terms.priority_per_s_micro,
            )
            for job, terms in ((job, job.contract.compute) for job in jobs)
            if job.final and int(job.data.get("seconds", 0)) > 0
        ]
