"""Nodes are killed in every state of an order and started again: nothing is lost, nobody's money is stuck."""

from __future__ import annotations

from typing import Any

import pytest
from stage import PRICE_MICRO, START_MICRO, Market

from openstall.app.demo.dataset import LABEL
from openstall.app.demo.peers import DemoPeer, wait_for
from openstall.market.errors import OpenstallError


@pytest.fixture(scope="module")
def listing(market: Market) -> str:
    """A model on sale; it need not be a good one."""
    train = market.small_data(120)
    params = {"task": "classification", "label": LABEL, "epochs": 2, "seed": 7}
    order_id = market.rent(market.offer(), inputs={"data.csv": str(train)}, params=params)
    market.seller.order_until(
        order_id,
        lambda order: order["state"] == "settled" and bool(order["job"]["artefacts"][0]["path"]),
        120,
    )
    market.seller.post(f"/v1/orders/{order_id}/save", folder=str(market.folder / "weak"))
    return market.publish(market.folder / "weak" / "model.onnx", deliver_s=600)


def reach(peer: DemoPeer, order_id: str, state: str) -> None:
    """Wait until an order of a peer is in a state or has gone past it."""
    order_of = ["proposed", "agreed", "funded", "delivered", "completed", "running", "ended", "settled"]

    def look() -> bool | None:
        now = peer.get(f"/v1/orders/{order_id}")["state"]
        return True if order_of.index(now) >= order_of.index(state) else None

    wait_for(look, 60, f"{peer.name} reaches {state}")


def complete(peer: DemoPeer, order_id: str) -> None:
    """Accept an order; while the chain is away the click says so, and a person clicks again."""

    def click() -> bool | None:
        try:
            peer.post(f"/v1/orders/{order_id}/complete")
        except OpenstallError as error:
            if error.code != "chain_unreachable":
                raise
            return None
        return True

    wait_for(click, 60, f"{peer.name} accepts")


def delivered(order: dict[str, Any]) -> bool:
    return order["state"] == "delivered" and order["verified"] is True


@pytest.mark.parametrize(("state", "who"), [("agreed", "buyer"), ("funded", "provider")])
def test_a_sale_survives_a_kill(market: Market, listing: str, who: str, state: str) -> None:
    """While it moves on; in test_kills it stands still. The provider hosts the chain, and takes it away."""
    before = market.buyer.balance_micro()
    order_id = market.buyer.post("/v1/orders/buy", listing_cid=listing)["order_id"]
    reach(market.buyer, order_id, state)
    peer: DemoPeer = getattr(market, who)
    peer.kill()
    peer.start_again()
    market.buyer.order_until(order_id, delivered, 90)
    complete(market.buyer, order_id)
    market.seller.order_until(order_id, lambda order: order["state"] == "completed", 60)
    assert market.buyer.balance_micro() == before - PRICE_MICRO
    assert market.money() == 3 * START_MICRO


def test_an_order_with_a_seller_who_is_away_lapses_and_costs_nothing(market: Market, listing: str) -> None:
    before = market.buyer.balance_micro()
    market.seller.kill()
    try:
        order_id = market.buyer.post("/v1/orders/buy", listing_cid=listing, pay_within_s=15)["order_id"]
        order = market.buyer.order_until(order_id, lambda o: o["trouble"] is not None, 30)
        assert order["trouble"]["what_next"]
        market.buyer.order_until(order_id, lambda o: o["state"] == "lapsed", 60)
    finally:
        market.seller.start_again()
    assert market.buyer.balance_micro() == before


def test_a_provider_that_restarts_reports_and_settles(market: Market) -> None:
    before = market.seller.balance_micro()
    order_id = market.rent_long(market.offer())
    market.seller.order_until(order_id, lambda o: o["job"]["seconds"] >= 2, 90)
    market.provider.kill()
    market.provider.start_again()
    order = market.seller.order_until(
        order_id, lambda o: o["state"] == "settled" and o["job"]["result"] is not None, 120
    )
    assert order["job"]["result"]["reason"] == "provider_restarted"
    assert market.seller.balance_micro() == before - order["paid_micro"]


def test_a_buyer_that_restarts_goes_on_following_and_paying(market: Market) -> None:
    params = {"task": "classification", "label": LABEL, "epochs": 400, "seed": 1}
    order_id = market.rent(market.offer(), params=params)
    market.seller.order_until(order_id, lambda o: o["job"]["seconds"] >= 1, 90)
    market.seller.kill()
    market.seller.start_again()
    order = market.seller.order_until(
        order_id, lambda o: o["state"] == "settled" and bool(o["job"]["artefacts"][0]["path"]), 120
    )
    assert order["job"]["result"]["state"] == "done"
    assert order["paid_micro"] == order["job"]["owed_micro"]
    lines = market.seller.get(f"/v1/orders/{order_id}/log")["lines"]
    theirs = market.provider.get(f"/v1/orders/{order_id}/log")["lines"]
    assert lines == theirs


def test_what_a_job_did_not_earn_comes_back_on_demand(market: Market) -> None:
    """The way back is one click, and then the withdrawal delay."""
    before = market.seller.balance_micro()
    order_id = market.rent_long(market.offer())
    market.seller.order_until(order_id, lambda o: o["job"]["seconds"] >= 2, 90)
    market.seller.post(f"/v1/orders/{order_id}/refund")
    order = market.seller.order_until(order_id, lambda o: o["state"] == "settled", 120)
    assert market.seller.balance_micro() == before - order["paid_micro"]
    assert market.money() == 3 * START_MICRO
