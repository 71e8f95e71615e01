"""What this node holds of an order that somebody signed, put together for whoever may have it."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Any

from openstall.app.services.custom.hand_in import HANDED_IN
from openstall.app.services.custom.judged import verdict_as
from openstall.app.services.custom.receiving import DELIVERY
from openstall.app.services.orders.channel_desk import ChannelDesk
from openstall.app.services.orders.desk import OpenOrder
from openstall.app.services.orders.transcripts import TranscriptDesk
from openstall.app.threads import Workers
from openstall.market import canonical
from openstall.market.orders.agree import watchers
from openstall.market.orders.papers import MOST_MESSAGES, DeliveryPaper, Papers, VerdictPaper, write_papers
from openstall.market.orders.transcript import of_author
from openstall.store.disputes import Messages

_PARTIES = ("buyer", "seller")


@dataclass(frozen=True, slots=True, kw_only=True)
class PapersDesk:
    """Collects."""

    transcripts: TranscriptDesk
    channel: ChannelDesk
    messages: Messages
    workers: Workers

    async def of(self, order: OpenOrder, reader: str, wallet: str = "") -> bytes:
        """All that a reader in this role may have.

        What parties wrote each other is for parties alone, what they said of a dispute for its arbiter too;
        and an evaluator gets no verdict but its own: it shall measure, not copy.
        """
        contract = order.contract
        said = await self.transcripts.of(contract) if reader != "evaluator" else []
        voucher = await self.channel.held(order) if order.kind == "compute" else None
        papers = Papers(
            order=canonical.decode(contract.raw),
            buyer_signature=order.buyer_signature,
            seller_signature=order.seller_signature,
            buyer_entries=[one.as_dict() for one in of_author(said, contract.order.buyer)],
            seller_entries=[one.as_dict() for one in of_author(said, contract.order.seller)],
            tick=_signed(order, "signed_tick"),
            report=_signed(order, "report"),
            voucher_micro=voucher[0] if voucher else 0,
            voucher_signature=voucher[1] if voucher else "",
            deliveries=_deliveries(order) if reader in _PARTIES else [],
            verdicts=_verdicts(order, wallet if reader == "evaluator" else ""),
            messages=await self._messages(order) if reader in _PARTIES else [],
        )
        return await self.workers.work(write_papers, papers)

    async def _messages(self, order: OpenOrder) -> list[dict[str, Any]]:
        rows = await self.workers.store(self.messages.of_order, order.order_id)
        return [{"message": row.doc, "signature": row.signature} for row in rows[:MOST_MESSAGES]]


def _signed(order: OpenOrder, name: str) -> dict[str, Any]:
    """A signed object as the books keep it, in base64 of its wire form."""
    kept = order.data.get(name)
    found: dict[str, Any] = canonical.decode(base64.b64decode(kept)) if kept else {}
    return found


def _deliveries(order: OpenOrder) -> list[DeliveryPaper]:
    """Of the tries that the chain knows of; a model that waits for its turn is nobody's business."""
    newest = int(order.data.get("attempt", 0))
    kept = order.data.get(HANDED_IN, {})
    found = [
        DeliveryPaper(attempt=int(number), doc=kept[number]["doc"], salt=kept[number]["salt"])
        for number in sorted(kept, key=int)
        if int(number) <= newest
    ]
    brought = order.data.get(DELIVERY)
    if brought is not None and not found and newest:
        found = [DeliveryPaper(attempt=newest, doc=brought["doc"], salt=brought.get("salt", ""))]
    return found


def _verdicts(order: OpenOrder, of: str) -> list[VerdictPaper]:
    """On the newest try; of one evaluator, or of all."""
    attempt = int(order.data.get("attempt", 0))
    wallets = [of] if of else watchers(order.contract)
    entries = [order.data.get(verdict_as(attempt, wallet)) for wallet in wallets]
    return [
        VerdictPaper(attempt=attempt, statement=one["statement"], signature=one["signature"])
        for one in entries
        if one is not None
    ]
