"""A job whose provider has failed goes on with another: from its last checkpoint, under the same cap.

The buyer asks for it when ordering. The first order keeps its own way back of the money; the next one
may spend only what the first provider cannot claim any more, so that nothing is paid twice.
"""

from __future__ import annotations

from dataclasses import dataclass

from openstall.app.logging import get_logger
from openstall.app.services.catalogue import Catalogue
from openstall.app.services.orders.channel_desk import ChannelDesk
from openstall.app.services.orders.desk import OpenOrder, OrderDesk
from openstall.app.services.orders.placing import Placing
from openstall.market.errors import NotFound, Refused
from openstall.market.orders.failover import BAD_CHECKPOINT, Candidate, cap_left, choose, is_providers_fault
from openstall.market.records import Offer

_LOST = ("declined", "lapsed")
_AT_WORK = ("funded", "running")
MOST_OFFERS = 200
NOBODY_ELSE = "no_other_provider"

log = get_logger("openstall.jobs")


@dataclass(slots=True, kw_only=True)
class Failover:
    """Looks at the orders in which this node is the buyer of a job."""

    desk: OrderDesk
    placing: Placing
    channel: ChannelDesk
    catalogue: Catalogue

    async def look(self, order: OpenOrder) -> OpenOrder:
        """Move the job on if its provider has failed; the order as it then stands.

        Raises:
            Refused: no other offer will do now; it is looked for again.
            MoneyError: the wallet cannot set the rest of the cap aside yet; tried again.
        """
        if not self._has_failed(order):
            return order
        if self.desk.now() > order.contract.compute.settle_by:
            await self.desk.patch(order.order_id, tries_left=0)
            return await self.desk.load(order.order_id)
        known = await self._continued(order.order_id)
        following = known or await self._go_on(order)
        await self.desk.patch(order.order_id, continued_by=following)
        log.info("job goes on elsewhere", order=order.order_id, following=following)
        return await self.desk.load(order.order_id)

    def _has_failed(self, order: OpenOrder) -> bool:
        data = order.data
        left = data.get("cancel_requested") and not data.get("fault")
        if int(data.get("tries_left", 0)) < 1 or order.moved_on or left:
            return False
        if data.get("report"):
            return is_providers_fault(str(data.get("result")), str(data.get("reason")))
        if order.state in _LOST or (data.get("fault") and order.state in _AT_WORK):
            return True
        if order.state == "proposed":
            return self.desk.now() >= order.created_at + int(data["patience_s"])
        silent_since = data.get("silent_since")
        return (
            order.state in _AT_WORK
            and silent_since is not None
            and self.desk.now() >= int(silent_since) + int(data["patience_s"])
        )

    async def _continued(self, order_id: str) -> str | None:
        """The order that goes on with this one, where a crash came between the two entries in the books."""
        for other in await self.desk.bought():
            if other.data.get("continues") == order_id:
                return other.order_id
        return None

    async def _go_on(self, order: OpenOrder) -> str:
        terms = order.contract.compute
        cap_micro = cap_left(terms, await self.channel.highest(order))
        tried = set(order.data.get("tried", [])) | {self.placing.me.peer_id}
        if order.data.get("reason") != BAD_CHECKPOINT:  # the fault of whoever wrote it
            tried.add(order.other)
        found = choose(await self.offers(), terms, tried=tried, cap_micro=cap_micro)
        if found is None:
            raise Refused(
                NOBODY_ELSE,
                "The provider has failed, and no other offer is as large at the same price or less.",
                "It is looked for again. You can also cancel, and order elsewhere yourself.",
            )
        if not self._has_failed(await self.desk.load(order.order_id)):
            raise Refused(NOBODY_ELSE, "The job is not tried with another provider any more.")
        return await self.placing.go_on(order, found.cid, cap_micro=cap_micro, tried=sorted(tried))

    async def offers(self) -> list[Candidate]:
        """The live offers of the group."""
        page = await self.catalogue.find(types=("offer",), limit=MOST_OFFERS)
        found = []
        for item in page["items"]:
            try:
                record = await self.catalogue.live_record(item["cid"])
            except NotFound:
                continue  # it has expired in this moment
            if isinstance(record.body, Offer):
                found.append(
                    Candidate(
                        cid=record.cid,
                        author=record.record.author,
                        reachable=item["reachable"],
                        offer=record.body,
                    )
                )
        return found
