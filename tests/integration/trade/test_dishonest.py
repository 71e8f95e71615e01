"""Peers with modified clients: whatever they do, the other side loses nothing that it did not agree to."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from stage import RULES, START_MICRO, Market, open_market, trick

from openstall.app.demo.dataset import LABEL
from openstall.app.demo.peers import wait_for

QUICK = {"task": "classification", "label": LABEL, "epochs": 2, "seed": 7}


@contextmanager
def market_with_model(folder: Path, seller: str) -> Iterator[tuple[Market, str]]:
    """A market with a dishonest seller who has a model on sale."""
    with open_market(folder, seller=trick(seller)) as market:
        order_id = market.rent(market.offer(), inputs={"data.csv": str(market.small_data(120))}, params=QUICK)
        market.seller.order_until(
            order_id, lambda o: o["state"] == "settled" and bool(o["job"]["artefacts"][0]["path"]), 120
        )
        market.seller.post(f"/v1/orders/{order_id}/save", folder=str(folder / "model"))
        yield market, market.publish(folder / "model" / "model.onnx", review_s=3600)


def test_a_seller_who_never_delivers_is_refunded_by_the_clock(tmp_path: Path) -> None:
    with market_with_model(tmp_path, "never_deliver") as (market, listing):
        before = market.buyer.balance_micro()
        order_id = market.buyer.post("/v1/orders/buy", listing_cid=listing, pay_within_s=15)["order_id"]
        market.buyer.order_until(order_id, lambda o: o["state"] == "funded", 60)
        order = market.buyer.order_until(order_id, lambda o: o["state"] == "refunded", 90)
        assert any(step["actor"] == "clock" for step in order["timeline"])
        assert market.buyer.balance_micro() == before
        assert market.money() == 3 * START_MICRO


def test_a_wrong_key_goes_to_the_arbiter_by_itself(tmp_path: Path) -> None:
    with market_with_model(tmp_path, "wrong_key") as (market, listing):
        before = market.buyer.balance_micro()
        order_id = market.buyer.post("/v1/orders/buy", listing_cid=listing)["order_id"]
        order = market.buyer.order_until(order_id, lambda o: o["state"] == "disputed", 60)
        assert order["verified"] is False
        assert order["fault"]["code"] == "wrong_key"
        market.provider.order_until(order_id, lambda o: o["state"] == "disputed", 30)
        market.provider.post(f"/v1/orders/{order_id}/rule", buyer_bps=10_000)
        market.buyer.order_until(order_id, lambda o: o["state"] == "ruled", 30)
        assert market.buyer.balance_micro() >= before - before // 1000
        assert market.money() == 3 * START_MICRO


@pytest.mark.slow
def test_a_spoilt_checkpoint_costs_the_work_but_not_the_job(tmp_path: Path) -> None:
    """The provider who gave it out vanishes; the next refuses it, and begins anew."""
    with open_market(tmp_path, buyer=trick("spoilt_checkpoint")) as market:
        buyer = market.seller
        cid = market.buyer.post("/v1/compute/sell", **RULES)["cid"]
        offer = market.seen_by(buyer, cid)
        market.offer()
        params = {**QUICK, "epochs": 3_000, "checkpoint_s": 0}
        first = market.rent(offer, params=params, tries=3, patience_s=10)
        wait_for(lambda: buyer.get(f"/v1/orders/{first}")["job"]["checkpoint"], 90, "a checkpoint")
        market.buyer.kill()
        orders = [first]
        for _ in range(2):
            wait_for(lambda: buyer.get(f"/v1/orders/{orders[-1]}")["continued_by"], 90, "another provider")
            orders.append(buyer.get(f"/v1/orders/{orders[-1]}")["continued_by"])
        middle = buyer.order_until(orders[1], lambda o: o["final"], 90)
        assert (middle["job"]["result"]["reason"], middle["paid_micro"]) == ("bad_checkpoint", 0)
        last = buyer.order_until(orders[2], lambda o: o["state"] == "settled", 180)
        assert last["job"]["result"]["state"] == "done"
        assert last["contract"]["seller"] == middle["contract"]["seller"] == market.provider.peer_id


@pytest.mark.parametrize(("name", "code"), [("fast_meter", "meter_ahead"), ("dear_report", "bad_report")])
def test_a_provider_who_overcharges_is_not_paid_for_it(tmp_path: Path, name: str, code: str) -> None:
    with open_market(tmp_path, provider=trick(name)) as market:
        before = market.seller.balance_micro()
        params = {**QUICK, "epochs": 400}
        order_id = market.rent(market.offer(price_per_s_micro=1_000), params=params, cap_micro=200_000)
        order = market.seller.order_until(order_id, lambda o: o["fault"] is not None or o["final"], 90)
        assert order["fault"] is not None, code
        market.seller.order_until(order_id, lambda o: o["final"], 150)
        assert before - market.seller.balance_micro() <= 60_000
        assert market.money() == 3 * START_MICRO
