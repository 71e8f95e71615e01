"""A job's books made again from what was signed: vouchers, ticks of the meter, the report."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Any

import msgspec

from openstall.app.services.orders.blob_access import BlobAccess
from openstall.app.services.orders.channel_desk import ChannelDesk
from openstall.app.services.orders.desk import OpenOrder, OrderDesk
from openstall.app.services.orders.grants import grant_again
from openstall.app.services.orders.job_provider import JobProvider
from openstall.market import canonical
from openstall.market.metering import read_tick, start_of_job
from openstall.market.orders.papers import Papers
from openstall.market.orders.results import read_report
from openstall.market.orders.transcript import SignedEntry


@dataclass(frozen=True, slots=True, kw_only=True)
class JobPapers:
    """Both sides of a job; nothing is signed here, and no sum is ever lowered."""

    desk: OrderDesk
    channel: ChannelDesk
    provider: JobProvider
    access: BlobAccess

    async def take(self, order: OpenOrder, papers: Papers) -> list[str]:
        """Keep what is higher or newer than what is here; what was kept, by name.

        Raises:
            InvalidOrder: a voucher, tick or report is not what its author could have signed.
        """
        found = []
        if papers.voucher_signature:
            before = await self.channel.highest(order)
            after = await self.channel.accept(order, papers.voucher_micro, papers.voucher_signature)
            found += ["voucher"] if after > before else []
        if papers.tick and await self._take_tick(order, papers.tick):
            found.append("tick")
        order = await self.desk.load(order.order_id)
        running = order.order_id in self.provider.jobs
        if papers.report and not order.data.get("report") and not running:
            found.append("report")
            await self._take_report(order, papers.report)
        # What the other side may fetch follows from the books: they have only now become what they were.
        await grant_again(await self.desk.load(order.order_id), access=self.access, channel=self.channel)
        return found

    async def _take_tick(self, order: OpenOrder, value: dict[str, Any]) -> bool:
        """The newest tick: a provider's own; of a buyer only one that its own vouchers have answered."""
        raw, contract = canonical.encode(value), order.contract
        tick = read_tick(raw, contract, last=None, elapsed_s=contract.compute.max_s)
        paid = await self.channel.highest(order)
        running = order.order_id in self.provider.jobs
        if running or tick.seconds <= int(order.data.get("seconds", 0)):
            return False
        if order.role == "buyer" and tick.owed_micro > paid:
            return False  # it comes again, and is compared with the clock, while the job is followed
        kept: dict[str, Any] = {"seconds": tick.seconds, "owed_micro": tick.owed_micro}
        encoded = base64.b64encode(raw).decode()
        kept["signed_tick"] = encoded
        kept["tick"] = msgspec.to_builtins(tick) if order.role == "buyer" else encoded
        await self.desk.patch(order.order_id, **kept)
        return True

    async def _take_report(self, order: OpenOrder, value: dict[str, Any]) -> None:
        """It is entered as the end of the job by who settles the order; here it is kept."""
        raw = canonical.encode(value)
        report = read_report(raw, order.contract).report
        kept: dict[str, Any] = {
            "report": base64.b64encode(raw).decode(),
            "seconds": report.seconds,
            "owed_micro": report.owed_micro,
        }
        if order.role == "buyer":
            kept |= {"result": report.state, "reason": report.reason}
        else:
            kept["artefacts"] = [item.blob.cid for item in report.outputs]
        await self.desk.patch(order.order_id, **kept)

    async def started(self, order: OpenOrder, told: SignedEntry | None) -> dict[str, Any]:
        """What the books note of the start of a job that is entered late."""
        now = self.desk.now()
        started_at = start_of_job(
            told=told.entry.at if told is not None else now,
            promised_micro=await self.channel.highest(order),
            price_per_s_micro=order.contract.compute.price_per_s_micro,
            now=now,
        )
        return {"started_at": started_at}
