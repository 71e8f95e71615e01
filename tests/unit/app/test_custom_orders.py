"""Orders for models made to order: what each node does by itself, and what is refused."""

from __future__ import annotations

from pathlib import Path

from custom_lab import REVIEW_S, custom_lab
from ledger_lab import CREDIT

PRICE = 30 * CREDIT
"""The second bid, which is what the winner of a lab's auction is paid."""


async def test_a_model_that_passes_is_handed_over_and_paid_by_itself(tmp_path: Path) -> None:
    async with custom_lab(tmp_path) as lab:
        order_id = await lab.submitted(37)
        await lab.measured(order_id)
        await lab.buyer.step(order_id)
        await lab.ada.step(order_id)
        order = await lab.buyer.step(order_id)
        assert order.state == "delivered"
        assert order.data["verified"] is True
        lab.pass_to(lab.now() + REVIEW_S)
        await lab.ada.step(order_id)
        await lab.see(order_id)
        assert await lab.states(order_id) == {"completed"}
        assert (lab.buyer.gain, lab.ada.gain, lab.ben.gain) == (-PRICE, PRICE, 0)
        lab.check_conserved()
