"""The developer's models for an order: checked, encrypted and kept until their turn comes."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import trio

from openstall.app.operations import Progress
from openstall.app.services.custom.sealed_model import SealedModel, delivery_in, seal_model
from openstall.app.services.orders.desk import OpenOrder, OrderDesk
from openstall.app.services.orders.engine import OrderEngine
from openstall.app.services.sealing import seal_key
from openstall.app.services.selling import Stock
from openstall.market.errors import Conflict, NotFound
from openstall.market.requests.delivery import Delivery

HANDED_IN = "handed_in"
"""In an order's private data: the deliveries by the number of the try, each with the salt of its key."""


@dataclass(slots=True, kw_only=True)
class HandIn:
    """Takes models in, and releases their keys."""

    desk: OrderDesk
    engine: OrderEngine
    stock: Stock
    seed: bytes
    _one_at_a_time: trio.Lock = field(default_factory=trio.Lock)

    async def take(self, order_id: str, path: Path, progress: Progress) -> dict[str, Any]:
        """Check and encrypt a model; it is submitted as soon as the order lets it. Returns its hash.

        Raises:
            Conflict: nothing can be handed in to this order now.
            Refused: the package holds what may not be delivered, or the check found an error.
            SandboxError: there is no sandbox to check the model in.
        """
        async with self._one_at_a_time:
            order = await self.desk.load(order_id)
            attempt = self._next_try(order)
            model = await seal_model(self.stock, self.seed, order.contract.custom.request, path, progress)
            order = await self.desk.load(order_id)
            if self._next_try(order) != attempt:
                raise Conflict("too_late", "The order has moved on meanwhile. Nothing was handed in.")
            kept = {**order.data.get(HANDED_IN, {}), str(attempt): model.as_note()}
            await self.desk.patch(order_id, **{HANDED_IN: kept})
            self.stock.access.make_public(model.delivery.blob.cid)
        self.engine.watch(order_id)
        return {"order_id": order_id, "attempt": attempt, "model_hash": model.delivery.model_hash.hex()}

    def waiting(self, order: OpenOrder, attempt: int) -> Delivery | None:
        """The delivery of a try, if there is one."""
        kept = order.data.get(HANDED_IN, {}).get(str(attempt))
        return None if kept is None else delivery_in(kept)

    def salt(self, order: OpenOrder, attempt: int) -> str:
        """The public salt of the key of a try that is here."""
        return str(order.data[HANDED_IN][str(attempt)]["salt"])

    def key(self, order: OpenOrder, attempt: int) -> bytes:
        """The key of a try.

        Raises:
            NotFound: nothing was handed in for it from this home.
        """
        kept = order.data.get(HANDED_IN, {}).get(str(attempt))
        if kept is None:
            raise NotFound(
                "no_key",
                "This home does not hold the model that was handed in.",
                "Use “cancel” to give the buyer the price back.",
            )
        return SealedModel.of_note(self.seed, kept).key

    async def sealed_key(self, order: OpenOrder) -> bytes:
        """The key of the model that passed, for this buyer only."""
        return seal_key(self.key(order, int(order.data["attempt"])), order.contract.custom.box_key)

    def _next_try(self, order: OpenOrder) -> int:
        """The number of the try that a model can be handed in for now."""
        attempt = int(order.data.get("attempt", 0)) + 1
        fits = order.kind == "custom" and order.role == "seller" and order.state in ("funded", "failed")
        if not fits:
            raise Conflict(
                "wrong_state", f"No model can be handed in while the order is “{order.state}”.", ""
            )
        if attempt > order.contract.custom.tries or self.desk.now() > order.contract.custom.deliver_by:
            raise Conflict("no_tries_left", "No try is left, or the time to deliver is over.")
        if self.waiting(order, attempt) is not None:
            raise Conflict("handed_in", "A model for this try was handed in already.")
        return attempt


def delivered_blobs(order: OpenOrder) -> list[str]:
    """The blobs of everything that was handed in to an order from here."""
    return [one["doc"]["blob"]["cid"] for one in order.data.get(HANDED_IN, {}).values()]
