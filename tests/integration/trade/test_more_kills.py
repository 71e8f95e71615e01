"""Kills in the states of a job and of a dispute: each party goes on, and no credit is lost or stuck."""

from __future__ import annotations

import pytest
from stage import CREDIT, START_MICRO, Market

from openstall.app.demo.dataset import LABEL
from openstall.app.demo.peers import DemoPeer, wait_for

ORDER_OF = ["proposed", "agreed", "funded", "running", "ended", "settled"]
CAP_MICRO = 2 * CREDIT


def reach(peer: DemoPeer, order_id: str, state: str) -> None:
    """Wait until a job's order is in a state or has gone past it."""

    def look() -> bool | None:
        now = peer.get(f"/v1/orders/{order_id}")["state"]
        return True if ORDER_OF.index(now) >= ORDER_OF.index(state) else None

    wait_for(look, 60, f"{peer.name} reaches {state}")


def killed(market: Market, who: str) -> None:
    """End a node as a power cut would, and start it again until it trades."""
    peer: DemoPeer = getattr(market, who)
    peer.kill()
    peer.start_again()
    wait_for(lambda: peer.get("/v1/status")["trading"] or None, 60, f"{who} trades again")


@pytest.mark.parametrize("who", ["seller", "provider"])
@pytest.mark.parametrize("state", ["agreed", "funded", "ended"])
def test_a_job_survives_a_kill(market: Market, who: str, state: str) -> None:
    """The seller of models is the buyer of the job; the provider is the chain's host too."""
    before = market.seller.balance_micro()
    params = {"task": "classification", "label": LABEL, "epochs": 2, "seed": 7}
    order_id = market.rent(market.offer(), params=params, cap_micro=CAP_MICRO)
    reach(market.seller, order_id, state)
    killed(market, who)
    order = market.seller.order_until(order_id, lambda o: o["state"] == "settled", 150)
    market.provider.order_until(order_id, lambda o: o["state"] == "settled", 60)
    assert order["paid_micro"] <= CAP_MICRO
    assert market.seller.balance_micro() == before - order["paid_micro"]
    assert market.money() == 3 * START_MICRO


@pytest.fixture(scope="module")
def listing(market: Market) -> str:
    """A model on sale; the provider is its arbiter."""
    params = {"task": "classification", "label": LABEL, "epochs": 2, "seed": 7}
    order_id = market.rent(market.offer(), params=params)
    market.seller.order_until(
        order_id, lambda o: o["state"] == "settled" and bool(o["job"]["artefacts"][0]["path"]), 120
    )
    market.seller.post(f"/v1/orders/{order_id}/save", folder=str(market.folder / "weak"))
    return market.publish(market.folder / "weak" / "model.onnx", deliver_s=600, review_s=3600)


@pytest.mark.parametrize("who", ["buyer", "seller", "provider"])
def test_a_dispute_survives_a_kill(market: Market, listing: str, who: str) -> None:
    """The provider is the arbiter, and the chain's host."""
    order_id = market.buyer.post("/v1/orders/buy", listing_cid=listing)["order_id"]
    market.buyer.order_until(order_id, lambda o: o["state"] == "delivered" and o["verified"], 60)
    market.provider.order_until(order_id, lambda o: o["state"] == "delivered", 30)
    market.buyer.post(f"/v1/orders/{order_id}/dispute", reason="Not what the card says.")
    killed(market, who)
    market.provider.order_until(order_id, lambda o: "rule" in o["actions"], 60)
    market.provider.post(f"/v1/orders/{order_id}/rule", buyer_bps=10_000)
    for peer in (market.buyer, market.seller):
        peer.order_until(order_id, lambda o: o["state"] == "ruled", 60)
    assert market.money() == 3 * START_MICRO
