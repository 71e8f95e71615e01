"""A sale in which a step comes late, twice, or while another one is under way."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import trio
import trio.testing
from ledger_lab import CREDIT
from trade_lab import TradeLab, trade_lab

from openstall.app.services.orders.desk import OpenOrder
from openstall.app.services.sealing import seal_key
from openstall.ledger.escrow import EscrowClient
from openstall.market.errors import ChainError, OpenstallError

KEY = b"k" * 32


async def sale_in_books(lab: TradeLab, **changes: object) -> str:
    package = await lab.seller.file("package", b"sealed package")
    lab.seller.access.make_public(package.blob.cid)
    contract = lab.sale(package.blob, hashlib.sha256(KEY).hexdigest(), **changes)
    return await lab.both(contract)


async def test_a_buyer_who_steps_back_during_the_download_does_not_pay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with trade_lab(tmp_path) as lab:
        order_id = await sale_in_books(lab)
        before = lab.chain.balance(lab.buyer.wallet)
        fetch = type(lab.buyer.unpacking).fetch

        async def while_fetching(self: object, order: OpenOrder) -> None:
            await fetch(self, order)  # type: ignore[arg-type]
            await lab.buyer.actions.cancel(await lab.buyer.desk.load(order_id))

        monkeypatch.setattr(type(lab.buyer.unpacking), "fetch", while_fetching)
        await lab.buyer.sale_buyer.step(await lab.buyer.desk.load(order_id))
        assert (await lab.buyer.desk.load(order_id)).state == "declined"
        assert lab.chain.balance(lab.buyer.wallet) == before


async def test_stepping_back_and_paying_exclude_each_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The button is pressed at the very moment in which the payment is being signed."""
    async with trade_lab(tmp_path) as lab:
        order_id = await sale_in_books(lab)
        before = lab.chain.balance(lab.buyer.wallet)
        signed = type(lab.buyer.transactions)._signed
        pressed = trio.Event()

        async def slow_signing(self: object, *args: object) -> object:
            pressed.set()
            await trio.testing.wait_all_tasks_blocked()
            return await signed(self, *args)  # type: ignore[arg-type]

        monkeypatch.setattr(type(lab.buyer.transactions), "_signed", slow_signing)

        async def press() -> None:
            await pressed.wait()
            with pytest.raises(OpenstallError) as caught:
                await lab.buyer.actions.cancel(await lab.buyer.desk.load(order_id))
            assert caught.value.code == "already_paid"

        async with trio.open_nursery() as nursery:
            nursery.start_soon(press)
            await lab.buyer.sale_buyer.step(await lab.buyer.desk.load(order_id))
        assert (await lab.buyer.desk.load(order_id)).state == "funded"
        assert lab.chain.balance(lab.buyer.wallet) == before - 5 * CREDIT


async def test_a_download_that_outlasts_the_time_to_pay_is_not_paid(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with trade_lab(tmp_path) as lab:
        order_id = await sale_in_books(lab)
        before = lab.chain.balance(lab.buyer.wallet)
        fetch = type(lab.buyer.unpacking).fetch

        async def slowly(self: object, order: OpenOrder) -> None:
            await fetch(self, order)  # type: ignore[arg-type]
            lab.clock.ahead_s += 901

        monkeypatch.setattr(type(lab.buyer.unpacking), "fetch", slowly)
        await lab.buyer.sale_buyer.step(await lab.buyer.desk.load(order_id))
        await lab.buyer.sale_buyer.step(await lab.buyer.desk.load(order_id))
        assert (await lab.buyer.desk.load(order_id)).state == "lapsed"
        assert lab.chain.balance(lab.buyer.wallet) == before


async def test_a_wrong_key_is_disputed_even_if_the_chain_was_away_at_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with trade_lab(tmp_path) as lab:
        order_id = await sale_in_books(lab, arbiter=lab.chain.arbiter.address)
        buyer = lab.buyer
        await buyer.sale_buyer.step(await buyer.desk.load(order_id))
        order = await buyer.desk.load(order_id)
        assert order.state == "funded"
        sealed = seal_key(b"w" * 32, order.contract.sale.box_key)
        await lab.seller.escrow.deliver(await lab.seller.desk.load(order_id), sealed)
        dispute = type(buyer.escrow).dispute

        async def away(*_args: object) -> None:
            raise ChainError("chain_unreachable", "The chain is away.")

        monkeypatch.setattr(type(buyer.escrow), "dispute", away)
        with pytest.raises(OpenstallError):
            await buyer.sale_buyer.step(await buyer.desk.load(order_id))
        monkeypatch.setattr(type(buyer.escrow), "dispute", dispute)
        await buyer.sale_buyer.step(await buyer.desk.load(order_id))
        assert (await buyer.desk.load(order_id)).state == "disputed"
        client = EscrowClient(lab.chain.chain)
        assert client.order(buyer.wallet.address, bytes.fromhex(order_id)).state == "disputed"


async def test_a_payment_that_reaches_the_chain_after_the_time_to_pay_moves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A host who holds the transaction back: the seller has closed the order by then."""
    async with trade_lab(tmp_path) as lab:
        order_id = await sale_in_books(lab)
        order = await lab.buyer.desk.load(order_id)
        before = lab.chain.balance(lab.buyer.wallet)
        held: list[bytes] = []
        broadcast = type(lab.chain.chain).broadcast

        def hold(_self: object, raw: bytes) -> str:
            held.append(raw)
            raise ChainError("chain_unreachable", "The host is away.")

        monkeypatch.setattr(type(lab.chain.chain), "broadcast", hold)
        with pytest.raises(ChainError):
            await lab.buyer.escrow.fund(order)
        monkeypatch.setattr(type(lab.chain.chain), "broadcast", broadcast)
        lab.clock.ahead_s += 1_000
        lab.next_block()
        receipt = lab.chain.chain.wait_final(lab.chain.chain.broadcast(held[0]), 30)
        assert not receipt.ok
        assert lab.chain.balance(lab.buyer.wallet) == before
        with pytest.raises(ChainError):
            await lab.buyer.sale_buyer.step(order)
        await lab.buyer.sale_buyer.step(await lab.buyer.desk.load(order_id))
        assert (await lab.buyer.desk.load(order_id)).state == "lapsed"


async def test_a_call_that_waited_for_the_chain_goes_out_and_a_silent_arbiter_holds_nothing_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with trade_lab(tmp_path) as lab:
        order_id = await sale_in_books(lab, arbiter=lab.chain.arbiter.address)
        buyer = lab.buyer
        before = lab.chain.balance(buyer.wallet)
        await buyer.sale_buyer.step(await buyer.desk.load(order_id))
        order = await buyer.desk.load(order_id)
        await lab.seller.escrow.deliver(
            await lab.seller.desk.load(order_id), seal_key(KEY, order.contract.sale.box_key)
        )
        order, _view = await buyer.watch.catch_up(order)

        def silent(*_call: object) -> object:
            raise ChainError("chain_unreachable", "The chain is away.")

        with monkeypatch.context() as patch:
            patch.setattr(lab.chain.chain, "_transport", silent)
            await buyer.actions.dispute(order, "It is not a model.")
        await buyer.sale_buyer.step(await buyer.desk.load(order_id))
        order = await buyer.desk.load(order_id)
        assert order.state == "disputed"
        assert order.deadline_at is not None
        lab.clock.ahead_s += order.deadline_at + 2 - lab.clock.now()
        lab.next_block()
        await buyer.sale_buyer.step(order)
        assert (await buyer.desk.load(order_id)).state == "ruled"
        assert buyer.desk.orders.events(order_id)[-1].event == "settle_silent"
        assert lab.chain.balance(buyer.wallet) == before  # as both had signed for a silent arbiter
