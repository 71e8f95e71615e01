"""An order's logs are read from the block before which nothing of it can be, and none of them is missed."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from trade_lab import TradeLab, trade_lab

from openstall.app.services.orders import first_block
from openstall.ledger.chain import Chain


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The first block of every question for logs."""
    starts: list[int] = []
    logs = Chain.logs

    def listen(self: Chain, address: str, topics: list[Any], **span: int) -> list[dict[str, Any]]:
        starts.append(span["from_block"])
        return logs(self, address, topics, **span)

    monkeypatch.setattr(Chain, "logs", listen)
    return starts


async def a_sale(lab: TradeLab) -> str:
    package = await lab.seller.file("package", b"sealed package")
    lab.seller.access.make_public(package.blob.cid)
    return await lab.both(lab.sale(package.blob, hashlib.sha256(b"k" * 32).hexdigest()))


async def a_job(lab: TradeLab) -> str:
    return await lab.both(lab.job([await lab.buyer.file("rows.csv", b"1\n")]))


@pytest.mark.parametrize("make", [a_sale, a_job])
async def test_a_later_order_is_not_read_from_the_beginning(
    tmp_path: Path, asked: list[int], monkeypatch: pytest.MonkeyPatch, make: Any
) -> None:
    monkeypatch.setattr(first_block, "LAG_BLOCKS", 2)  # else the chain of the test had to be longer
    async with trade_lab(tmp_path) as lab:
        for _ in range(4):
            lab.next_block()
        order_id = await make(lab)
        height = lab.chain.chain.head().number
        pay = lab.buyer.sale_buyer if make is a_sale else lab.buyer.buyer
        await pay.step(await lab.buyer.desk.load(order_id))
        order = await lab.buyer.desk.load(order_id)
        assert (order.state, first_block.first_block(order)) == ("funded", height - 1 - 2)
        assert asked
        assert set(asked) == {height - 3}


async def test_an_order_that_was_paid_before_the_first_look_is_read_from_the_beginning(
    tmp_path: Path, asked: list[int]
) -> None:
    """The node ended between payment and note, the row is older than notes, or the payer was first."""
    async with trade_lab(tmp_path) as lab:
        order_id = await a_sale(lab)
        await lab.buyer.escrow.fund(await lab.buyer.desk.load(order_id))
        await lab.buyer.desk.patch(order_id, from_block=None)
        for side in (lab.buyer, lab.seller):
            asked.clear()
            view = await side.escrow.look(await side.desk.load(order_id))
            assert [seen.event for seen in view.steps] == ["fund"]
            assert asked == [0]
            assert "from_block" not in (await side.desk.load(order_id)).data


async def test_a_note_is_kept_by_later_looks(tmp_path: Path) -> None:
    async with trade_lab(tmp_path) as lab:
        order_id = await a_sale(lab)
        await lab.seller.escrow.look(await lab.seller.desk.load(order_id))
        noted = first_block.first_block(await lab.seller.desk.load(order_id))
        lab.next_block()
        await lab.seller.escrow.look(await lab.seller.desk.load(order_id))
        assert first_block.first_block(await lab.seller.desk.load(order_id)) == noted


async def test_the_note_lies_before_every_block_that_may_still_be_replaced(tmp_path: Path) -> None:
    async with trade_lab(tmp_path) as lab:
        for _ in range(first_block.LAG_BLOCKS):
            lab.next_block()
        order = await lab.buyer.desk.load(await a_sale(lab))
        params = replace(lab.chain.chain.params, confirmations=3)
        slow = Chain(params, lab.chain.host.handle, clock=lab.clock)
        found = first_block.mark(slow, order)
        assert found == slow.head().number - 3 - first_block.LAG_BLOCKS
