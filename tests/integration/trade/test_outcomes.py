"""How an order ended is said first: in its words, in the list, and by the exit status of `order wait`."""

from __future__ import annotations

import json
from typing import Any

import pytest
from stage import PRICE_MICRO, Market, restart, trick, typed

from openstall.app.demo.dataset import LABEL
from openstall.app.demo.peers import DemoPeer

SHORT = {"task": "classification", "label": LABEL, "epochs": 2, "seed": 7}


def row_of(peer: DemoPeer, order_id: str) -> dict[str, Any]:
    """The order as it stands in the list."""
    items = peer.get("/v1/orders")["items"]
    return next(item for item in items if item["order_id"] == order_id)


@pytest.fixture(scope="module")
def job(market: Market) -> str:
    """A job that went well; its order id."""
    return market.rent(market.offer(), params=SHORT)


def test_a_job_that_is_done_ends_well(market: Market, job: str) -> None:
    done = typed(market.seller, "--json", "order", "wait", job)
    order = json.loads(done.stdout)
    assert order["outcome"]["state"] == "done"
    assert order["state_words"].startswith("Finished: ")
    assert row_of(market.seller, job)["outcome"] == order["outcome"]


def test_a_job_that_failed_says_so_before_its_money(market: Market) -> None:
    order_id = market.rent(market.offer(), params={**SHORT, "label": "no such column"})
    done = typed(market.seller, "--json", "order", "wait", order_id, status=1)
    error = json.loads(done.stderr)["error"]
    assert error["code"] == "job_failed"
    for peer in (market.seller, market.provider):
        order = peer.order_until(order_id, lambda o: o["state"] == "settled" and o["outcome"] is not None, 60)
        assert order["outcome"]["state"] == "failed"
        assert "no such column" in order["outcome"]["words"]
        assert order["state_words"].startswith("The job failed: ")
        assert order["outcome"]["words"].rstrip(".") in order["state_words"]
        assert "Finished" not in order["state_words"]
        assert row_of(peer, order_id)["state_words"] == order["state_words"]
    assert error["message"] == market.seller.get(f"/v1/orders/{order_id}")["state_words"]
    table = typed(market.seller, "order", "list").stdout.splitlines()
    assert "failed" in next(line for line in table if order_id in line)


def test_an_order_that_was_declined_says_why_where_its_state_is(market: Market) -> None:
    offer = market.offer()
    restart(market.provider, trick("decline"))
    try:
        order_id = market.rent(offer, params=SHORT)
        market.seller.order_until(order_id, lambda o: o["state"] == "declined", 60)
        row = row_of(market.seller, order_id)
        assert row["state_words"] == "Not agreed: This stall is closed today. No money moved."
        assert row["outcome"]["reason"] == "closed"
        done = typed(market.seller, "order", "wait", order_id, status=1)
        assert "This stall is closed today." in done.stderr
    finally:
        restart(market.provider)


def test_a_purchase_shows_its_terms_first_and_its_price_at_last(market: Market, job: str) -> None:
    market.seller.order_until(job, lambda o: bool(o["job"]["artefacts"][0]["path"]), 60)
    market.seller.post(f"/v1/orders/{job}/save", folder=str(market.folder / "weak"))
    listing = market.publish(market.folder / "weak" / "model.onnx", review_s=3600)
    terms = market.buyer.get(f"/v1/catalogue/{listing}")["arbitration"]
    shown = typed(market.buyer, "model", "buy", listing).stdout
    assert "2 % of the price: 0.50 credits, taken only if the arbiter rules." in shown
    assert "Without a ruling within 7 days of the dispute, the whole price returns to the buyer" in shown
    order_id = row_of(market.buyer, market.buyer.get("/v1/orders")["items"][0]["order_id"])["order_id"]
    assert shown.index("arbiter's fee") < shown.index(order_id)
    order = market.buyer.order_until(order_id, lambda o: o["state"] == "delivered" and o["verified"], 60)
    assert order["paid_micro"] == 0
    assert {name: order["terms"][key] for name, key in SIGNED.items()} == {
        name: terms[name] for name in SIGNED
    }
    market.buyer.post(f"/v1/orders/{order_id}/complete")
    for peer in (market.buyer, market.seller):
        order = peer.order_until(order_id, lambda o: o["state"] == "completed", 60)
        assert order["paid_micro"] == PRICE_MICRO
    typed(market.buyer, "order", "wait", order_id)


SIGNED = {"fee_bps": "arbiter_fee_bps", "silent_buyer_bps": "silent_buyer_bps", "answer_s": "arbiter_s"}
"""The terms of arbitration as the catalogue shows them, and as both sides sign them."""
