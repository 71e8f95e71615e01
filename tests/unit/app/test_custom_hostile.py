"""What a party, an evaluator or a stranger with a changed client gains in a model made to order."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import msgspec
import pytest
from custom_lab import EVALUATE_S, CustomLab, Maker, custom_lab
from ledger_lab import CREDIT

from openstall.market.errors import OpenstallError, PeerError, Refused
from openstall.market.orders.agree import ARBITER_S
from openstall.market.orders.documents import sign_contract, write_contract

PRICE = 30 * CREDIT


async def test_a_verdict_that_is_told_again_and_again_does_not_keep_it_from_the_chain(tmp_path: Path) -> None:
    async with custom_lab(tmp_path) as lab:
        order_id = await lab.submitted(40)
        await lab.measured(order_id)
        one = lab.evaluators[0]
        order = await one.desk.load(order_id)
        own = order.data[f"verdict 1 {one.wallet.address.lower()}"]
        raw, signature = base64.b64decode(own["statement"]), bytes.fromhex(own["signature"])
        await one.custom.talk.verdict(order, lab.ada.host.peer_id, raw, signature)
        await lab.ada.step(order_id)
        await lab.see(order_id)
        assert await lab.states(order_id) == {"passed"}


async def test_an_auction_has_one_order(tmp_path: Path) -> None:
    async with custom_lab(tmp_path) as lab:
        order_id = await lab.funded()
        order = await lab.order(order_id)
        terms = order.contract.order.terms | {"box_key": "09" + "00" * 31}
        other = write_contract(msgspec.structs.replace(order.contract.order, nonce="00" * 16, terms=dict(terms)))
        message = {
            "do": "propose",
            "order": msgspec.to_builtins(other.order),
            "buyer_signature": sign_contract(other, lab.buyer.seed),
        }
        with pytest.raises(Refused) as caught:
            await lab.buyer.negotiation._ask(lab.ada.host.peer_id, message)
        assert caught.value.code == "other_order"
        assert await lab.ada.desk.find(other.order_id) is None


async def test_a_winner_that_never_signs_is_not_paid_for_it(tmp_path: Path) -> None:
    """It moves the price itself, hands in a hash of nothing, and calls an arbiter who has never heard of it."""
    async with custom_lab(tmp_path) as lab:
        order_id = await lab.won(await lab.ask(), ada=20 * CREDIT, ben=30 * CREDIT)
        lab.ada.host.stop_serving = None
        order = await lab.order(order_id)

        async def refuse(_peer: str, _contract: Any, _signature: str) -> str:
            raise Refused("not_now", "No.")

        lab.ada.negotiation._consider = refuse
        with pytest.raises(OpenstallError):
            await lab.buyer.step(order_id)
        models = lab.ada.custom.models
        await models.award(order)
        await models.submit(order, bytes([7]) * 32, 1)
        with pytest.raises(OpenstallError):
            await lab.buyer.step(order_id)
        print(await lab.states(order_id))
        assert await lab.arbiter.desk.find(order_id) is not None
