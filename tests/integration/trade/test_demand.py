"""A provider sees the jobs that others got, why it did not get them, and where its price stands."""

from __future__ import annotations

from typing import Any

from stage import RULES, Market

from openstall.app.demo.dataset import LABEL
from openstall.app.demo.peers import wait_for

QUICK = {"task": "classification", "label": LABEL, "epochs": 2, "seed": 7}


def lost(market: Market, count: int) -> list[dict[str, Any]]:
    """The notes of the peer that wanted the job, once there are so many."""

    def look() -> list[dict[str, Any]] | None:
        items: list[dict[str, Any]] = market.buyer.get("/v1/compute/demand")["lost"]["items"]
        return items if len(items) >= count else None

    found: list[dict[str, Any]] = wait_for(look, 60, "the note of a lost job")
    return found


def order(market: Market, offer: str) -> str:
    order_id = market.rent(offer, inputs={"data.csv": str(market.small_data(60))}, params=QUICK)
    market.seller.order_until(order_id, lambda o: o["state"] == "settled", 120)
    return order_id


def test_a_job_that_went_elsewhere_says_why_and_what_would_have_won_it(market: Market) -> None:
    """The buyer of models rents its machine out too, and asks more than the provider."""
    jealous = market.buyer
    offer = market.offer(price_per_s_micro=10_000, threads=2)
    market.seen_by(jealous, offer)
    order(market, offer)
    assert [reason["rule"] for reason in lost(market, 1)[0]["reasons"]] == ["not_selling"]

    jealous.post("/v1/compute/house", rules={})
    mine = jealous.post("/v1/compute/sell", **{**RULES, "price_per_s_micro": 12_000})["cid"]
    market.seen_by(market.seller, mine)
    order(market, offer)
    job = lost(market, 2)[0]
    assert [reason["rule"] for reason in job["reasons"]] == ["machine", "price"]
    assert job["reasons"][1]["change"] == "Ask 0.01 or less."
    assert job["seen"]["chosen"]["price_per_s_micro"] == 10_000
    assert job["chosen"].lower() == market.provider.wallet.lower()
    found = jealous.get("/v1/compute/demand")
    assert found["market"] == {"offers": 2, "p10_micro": 10_000, "median_micro": 10_000, "p90_micro": 12_000}
    assert found["standing"] == {"place": 2, "rivals": 1, "first_micro": 9_999}
    assert found["suggestion"] is None

    jealous.post("/v1/compute/pause")
    order(market, offer)
    paused = lost(market, 3)[0]["reasons"][0]
    assert (paused["rule"], paused["words"]) == ("house", "Your rules held jobs back: you paused it.")
    jealous.post("/v1/compute/resume")
    replayed = jealous.get("/v1/compute/demand/replay")
    assert (replayed["same"], replayed["total"]) == (3, 3)
    assert [item["again"] for item in replayed["items"]] == [job["reasons"] for job in lost(market, 3)]


def test_an_order_that_was_turned_away_is_noted_with_its_reason(market: Market) -> None:
    offer = market.offer(price_per_s_micro=9_000)
    market.provider.post("/v1/compute/pause")
    order_id = market.rent(offer, params=QUICK)
    market.seller.order_until(order_id, lambda o: o["state"] == "declined", 60)
    noted = market.provider.get("/v1/compute/demand")["lost"]["items"][0]
    assert (noted["key"], noted["reasons"][0]["rule"]) == (order_id, "house_closed")
    replayed = market.provider.get("/v1/compute/demand/replay")
    assert replayed["items"][0]["again"] == noted["reasons"]
    market.provider.post("/v1/compute/resume")
