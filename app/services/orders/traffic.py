"""What jobs brought in and sent out today, against the owner's cap on the network."""

from __future__ import annotations

import base64
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from openstall.app.services.orders.desk import OpenOrder, OrderDesk
from openstall.app.threads import Workers
from openstall.market.errors import Refused
from openstall.market.house import HouseRules
from openstall.market.orders.documents import Contract
from openstall.market.orders.results import read_report
from openstall.store.orders import Orders


@dataclass(slots=True, kw_only=True)
class Traffic:
    """Counts from the order book: inputs by what was signed, results by what was reported."""

    desk: OrderDesk
    orders: Orders
    rules: Callable[[], Awaitable[HouseRules]]
    workers: Workers

    async def admit(self, contract: Contract) -> None:
        """Let a job's inputs in.

        Raises:
            Refused: with them, the day's traffic would be above the owner's cap.
        """
        cap = (await self.rules()).network_bytes_day_cap
        if cap is None:
            return
        coming = sum(item.blob.size for item in contract.compute.inputs)
        if await self.today_bytes() + coming > cap:
            raise Refused(
                "network_cap",
                "This machine has no room for the job's data today.",
                "Try again tomorrow, or choose another offer.",
            )

    async def today_bytes(self) -> int:
        """Since midnight on the owner's clock."""
        now = datetime.fromtimestamp(self.desk.now(), tz=UTC).astimezone()
        midnight = now.replace(hour=0, minute=0, second=0, microsecond=0).timestamp()
        total = 0
        for order_id in await self.workers.store(lambda: self.orders.list_ids(role="seller", kind="compute")):
            order = await self.desk.load(order_id)
            if order.created_at < midnight:
                break  # they come newest first
            total += _bytes_of(order)
        return total


def _bytes_of(order: OpenOrder) -> int:
    total = 0
    if order.state not in ("proposed", "agreed", "declined", "lapsed"):
        total = sum(item.blob.size for item in order.contract.compute.inputs)
    if order.data.get("report"):
        report = read_report(base64.b64decode(order.data["report"]), order.contract).report
        total += sum(item.blob.size for item in report.outputs)
    return total
