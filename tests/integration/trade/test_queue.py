"""Paid jobs wait for a place: whoever paid first starts first, none is lost, and the line has an end."""

from __future__ import annotations

from typing import Any

from stage import START_MICRO, Market

from openstall.app.demo.dataset import LABEL
from openstall.app.demo.peers import wait_for

QUICK = {"task": "classification", "label": LABEL, "epochs": 2, "seed": 7}
LONG = {**QUICK, "epochs": 10_000}


def moment(order: dict[str, Any], state: str) -> int:
    return next(step["at"] for step in order["timeline"] if step["state"] == state)


def test_jobs_wait_their_turn_and_the_line_has_an_end(market: Market) -> None:
    seller, offer = market.seller, market.offer(jobs_at_once=1, queue=2)
    first = market.rent(offer, params=LONG)
    seller.order_until(first, lambda o: o["state"] == "running", 60)
    waiting = []
    for _ in range(2):
        order_id = market.rent(offer, params=QUICK, inputs={"data.csv": str(market.small_data(60))})
        seller.order_until(order_id, lambda o: o["state"] == "funded" and o["progress"], 60)
        waiting.append(order_id)
    stages = [seller.get(f"/v1/orders/{one}")["progress"]["stage"] for one in waiting]
    assert stages[0].startswith("Next in line")
    assert stages[1].endswith("1 paid before you")
    refused = market.rent(offer, params=QUICK)
    wait_for(lambda: seller.get(f"/v1/orders/{refused}")["state"] == "declined" or None, 60, "a full line")
    assert seller.get(f"/v1/orders/{refused}")["outcome"]["reason"] == "machine_busy"

    seller.post(f"/v1/orders/{first}/cancel")
    ended = [seller.order_until(one, lambda o: o["state"] == "settled", 120) for one in [first, *waiting]]
    assert [one["job"]["result"]["state"] for one in ended] == ["cancelled", "done", "done"]
    assert moment(ended[1], "ended") <= moment(ended[2], "running")
    assert market.money() == 3 * START_MICRO
