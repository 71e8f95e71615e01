"""A new block wakes the orders whose money it moves, and leaves the others alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
import trio
import trio.testing
from trade_lab import step, trade_lab

from openstall.app.services.orders import chain_wakes, engine
from openstall.app.services.orders.chain_wakes import ChainWakes
from openstall.app.services.orders.desk import OpenOrder, OrderDesk
from openstall.market.errors import ChainError
from openstall.market.fields import BlobRef

BLOB = BlobRef(cid="b" + "a" * 58, size=10, sha256="ab" * 32)


class Looks:
    """Counts the looks at each order, and does nothing."""

    def __init__(self) -> None:
        self.seen: Counter[str] = Counter()

    async def step(self, order: OpenOrder) -> None:
        self.seen[order.order_id] += 1


class DeskMeanwhile:
    """The desk, where something happens while an order is read."""

    def __init__(self, desk: OrderDesk, happens: Callable[[], None]) -> None:
        self.desk = desk
        self.happens = happens

    async def load(self, order_id: str) -> OpenOrder:
        self.happens()
        return await self.desk.load(order_id)


@pytest.mark.parametrize("trouble", ["refused", "long away"])
async def test_blocks_whose_logs_cannot_be_had_wake_every_order_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trouble: str
) -> None:
    monkeypatch.setattr(engine, "POLL_S", 600.0)  # nobody looks by itself
    async with trade_lab(tmp_path) as lab:
        seller, looks = lab.seller, Looks()
        jobs = [await lab.both(lab.job([await lab.buyer.file(f"{n}.csv", b"1\n")])) for n in range(2)]
        seller.engine.handlers = {("compute", "seller"): looks}
        wakes = ChainWakes(
            chain=seller.channel.chain, desk=seller.desk, engine=seller.engine, workers=seller.workers
        )
        asked = []

        def refuse(_self: ChainWakes, first: int, _last: int) -> set[str]:
            asked.append(first)
            raise ChainError("answer_too_large", "Too much.")

        async def looked(least: dict[str, int]) -> None:
            with trio.fail_after(20):
                while any(looks.seen[one] < count for one, count in least.items()):
                    await trio.testing.wait_all_tasks_blocked(0.02)

        async with trio.open_nursery() as nursery:
            await nursery.start(seller.engine.run)
            nursery.start_soon(wakes.run)
            await looked(dict.fromkeys(jobs, 2))
            monkeypatch.setattr(ChainWakes, "_topics", refuse)
            if trouble == "long away":
                monkeypatch.setattr(chain_wakes, "MAX_LOG_RANGE", 0)
            await step(lab.buyer, jobs[0])
            wakes.new_block()
            await looked(dict.fromkeys(jobs, 3))
            assert len(asked) == (trouble == "refused")
            monkeypatch.undo()
            await step(lab.buyer, jobs[1])
            wakes.new_block()
            await looked({jobs[1]: 4})
            assert looks.seen[jobs[0]] == 3
            nursery.cancel_scope.cancel()


async def test_an_order_that_begins_while_others_are_read_is_woken_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "POLL_S", 600.0)  # nobody looks by itself
    async with trade_lab(tmp_path) as lab:
        seller, looks = lab.seller, Looks()
        first = await lab.both(lab.job([await lab.buyer.file("1.csv", b"1\n")]))
        seller.engine.handlers = {("compute", "seller"): looks}
        late: list[str] = []
        wakes = ChainWakes(
            chain=seller.channel.chain,
            desk=DeskMeanwhile(seller.desk, lambda: [seller.engine.watch(one) for one in late]),  # type: ignore[arg-type]
            engine=seller.engine,
            workers=seller.workers,
        )
        async with trio.open_nursery() as nursery:
            await nursery.start(seller.engine.run)
            nursery.start_soon(wakes.run)
            with trio.fail_after(20):
                while looks.seen[first] < 2:
                    await trio.testing.wait_all_tasks_blocked(0.02)
            late.append(await lab.both(lab.job([await lab.buyer.file("2.csv", b"2\n")])))
            await step(lab.buyer, first)
            wakes.new_block()
            with trio.fail_after(20):
                while looks.seen[first] < 3 or not looks.seen[late[0]]:
                    await trio.testing.wait_all_tasks_blocked(0.02)
            seen = looks.seen[late[0]]
            await step(lab.buyer, late[0])
            wakes.new_block()
            with trio.fail_after(20):
                while looks.seen[late[0]] == seen:
                    await trio.testing.wait_all_tasks_blocked(0.02)
            nursery.cancel_scope.cancel()


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
