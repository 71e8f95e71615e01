"""The books of a model made to order made again: verdicts of evaluators, and what was handed in."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import msgspec

from openstall.app.services.custom import wire
from openstall.app.services.custom.evaluating import Evaluating
from openstall.app.services.custom.hand_in import HANDED_IN, HandIn
from openstall.app.services.custom.receiving import DELIVERY
from openstall.app.services.keys import package_key
from openstall.app.services.orders.desk import OpenOrder, OrderDesk
from openstall.market.errors import InvalidOrder
from openstall.market.orders.papers import DeliveryPaper, Papers
from openstall.market.requests.delivery import Delivery, read_delivery


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelPapers:
    """Of every role; nothing is measured or signed here."""

    desk: OrderDesk
    evaluating: Evaluating
    hand_in: HandIn

    async def take(self, order: OpenOrder, papers: Papers) -> list[str]:
        """Keep what is not here; what was kept, by name.

        To be called when the books have caught up with the chain, which names what was handed in.

        Raises:
            InvalidOrder: a delivery is not what the chain names.
        """
        found = []
        if order.role == "seller" and await self._take_deliveries(order, papers.deliveries):
            found.append("delivery")
        if order.role == "buyer" and await self._note_delivery(order, papers.deliveries):
            found.append("shown")
        before = _verdicts(await self.desk.load(order.order_id))
        for verdict in papers.verdicts:
            ask = wire.Ask(
                do="verdict",
                order_id=order.order_id,
                attempt=verdict.attempt,
                statement=verdict.statement,
                signature=verdict.signature,
            )
            try:
                await self.evaluating.take(await self.desk.load(order.order_id), ask)
            except InvalidOrder as error:
                if error.code != "not_now":  # it is here, or the chain has others
                    raise
        if _verdicts(await self.desk.load(order.order_id)) > before:
            found.append("verdict")
        return found

    async def _take_deliveries(self, order: OpenOrder, papers: list[DeliveryPaper]) -> bool:
        """The developer's own: the salt is public, and with this home's secret it makes the key again."""
        kept = dict(order.data.get(HANDED_IN, {}))
        before = len(kept)
        for paper in papers:
            if str(paper.attempt) in kept or not paper.salt:
                continue
            try:
                delivery = msgspec.convert(paper.doc, Delivery)
            except msgspec.ValidationError as error:
                raise InvalidOrder("bad_delivery", "The delivery does not fit its schema.") from error
            key = package_key(self.hand_in.seed, paper.salt)
            named = order.data.get("model_hash") if paper.attempt == order.data.get("attempt") else None
            if hashlib.sha256(key).hexdigest() != delivery.key_sha256 or named not in (
                None,
                delivery.model_hash.hex(),
            ):
                raise InvalidOrder("other_delivery", "That is not what this home has handed in.")
            kept[str(paper.attempt)] = {"doc": paper.doc, "salt": paper.salt}
            self.hand_in.stock.access.make_public(delivery.blob.cid)
        if len(kept) > before:
            await self.desk.patch(order.order_id, **{HANDED_IN: kept})
        return len(kept) > before

    async def _note_delivery(self, order: OpenOrder, papers: list[DeliveryPaper]) -> bool:
        """The buyer's note of what was handed in for the present try."""
        known, named = order.data.get(DELIVERY), order.data.get("model_hash")
        if named is None or (known is not None and known["model_hash"] == named):
            return False
        for paper in papers:
            if paper.attempt == order.data["attempt"]:
                found = read_delivery(
                    paper.doc,
                    request=order.contract.custom.request,
                    model_hash=bytes.fromhex(named),
                )
                kept = {"doc": found.as_dict(), "model_hash": named, "salt": paper.salt}
                await self.desk.patch(order.order_id, **{DELIVERY: kept})
                return True
        return False


def _verdicts(order: OpenOrder) -> int:
    return sum(name.startswith("verdict ") for name in order.data)
