"""A new block wakes the orders whose money it moves, and leaves the others alone."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import trio
import trio.testing
from trade_lab import step, trade_lab

from openstall.app.services.orders.chain_wakes import ChainWakes
from openstall.app.services.orders.desk import OpenOrder
from openstall.market.fields import BlobRef

BLOB = BlobRef(cid="b" + "a" * 58, size=10, sha256="ab" * 32)


class Looks:
    """Counts the looks at each order, and does nothing."""

    def __init__(self) -> None:
        self.seen: Counter[str] = Counter()

    async def step(self, order: OpenOrder) -> None:
        self.seen[order.order_id] += 1


async def test_a_payment_wakes_its_own_order_only(tmp_path: Path) -> None:
    async with trade_lab(tmp_path) as lab:
        seller, looks = lab.seller, Looks()
        jobs = [await lab.both(lab.job([await lab.buyer.file(f"{n}.csv", b"1\n")])) for n in range(2)]
        sale = await lab.both(lab.sale(BLOB, "ab" * 32))
        seller.engine.handlers = {("compute", "seller"): looks, ("sale", "seller"): looks}
        wakes = ChainWakes(
            chain=seller.channel.chain, desk=seller.desk, engine=seller.engine, workers=seller.workers
        )

        async def paid(order_id: str) -> Counter[str]:
            """Which orders are looked at when one of them is paid."""
            before = looks.seen.copy()
            order = await lab.buyer.desk.load(order_id)
            await (lab.buyer.escrow.fund(order) if order.kind == "sale" else step(lab.buyer, order_id))
            wakes.new_block()
            with trio.fail_after(20):
                while looks.seen == before:
                    await trio.testing.wait_all_tasks_blocked(0.02)
            return looks.seen - before

        async with trio.open_nursery() as nursery:
            await nursery.start(seller.engine.run)
            nursery.start_soon(wakes.run)
            with trio.fail_after(20):
                while any(looks.seen[one] < 2 for one in (*jobs, sale)):  # its own, and that of the start
                    await trio.testing.wait_all_tasks_blocked(0.02)
            for order_id in (jobs[0], sale):
                assert await paid(order_id) == {order_id: 1}
            nursery.cancel_scope.cancel()
