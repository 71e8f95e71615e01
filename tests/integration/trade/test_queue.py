"""Paid jobs wait for a place: who offers more is ahead, else who paid first; none is lost, the line ends."""

from __future__ import annotations

from typing import Any

from stage import START_MICRO, Market

from openstall.app.demo.dataset import LABEL
from openstall.app.demo.peers import DemoPeer, wait_for

QUICK = {"task": "classification", "label": LABEL, "epochs": 2, "seed": 7}


def moment(order: dict[str, Any], state: str) -> int:
    return next(step["at"] for step in order["timeline"] if step["state"] == state)


def waits_as(peer: DemoPeer, order_id: str, words: str) -> None:
    """Until the buyer is told this."""
    peer.order_until(
        order_id,
        lambda o: o["state"] == "funded" and bool(o["progress"]) and o["progress"]["stage"].startswith(words),
        60,
    )


def test_jobs_wait_their_turn_and_the_line_has_an_end(market: Market) -> None:
    seller, offer = market.seller, market.offer(jobs_at_once=1, queue=2)
    first = market.rent_long(offer)
    seller.order_until(first, lambda o: o["state"] == "running", 60)
    data = {"data.csv": str(market.small_data(60))}
    plain = market.rent(offer, params=QUICK, inputs=data)
    waits_as(seller, plain, "Next in line")
    ahead = market.rent(offer, params=QUICK, inputs=data, priority_per_s_micro=10_000)
    waits_as(seller, ahead, "Next in line")
    waits_as(seller, plain, "Waiting for a place on the provider's machine: 1 before you")
    refused = market.rent(offer, params=QUICK)
    wait_for(lambda: seller.get(f"/v1/orders/{refused}")["state"] == "declined" or None, 60, "a full line")
    assert seller.get(f"/v1/orders/{refused}")["outcome"]["reason"] == "machine_busy"

    seller.post(f"/v1/orders/{first}/cancel")
    ended = [seller.order_until(one, lambda o: o["state"] == "settled", 120) for one in (first, ahead, plain)]
    assert [one["job"]["result"]["state"] for one in ended] == ["cancelled", "done", "done"]
    assert moment(ended[1], "ended") <= moment(ended[2], "running")
    job = ended[1]["job"]
    assert (job["price_per_s_micro"], job["priority_per_s_micro"]) == (20_000, 10_000)
    assert ended[1]["paid_micro"] == job["seconds"] * 20_000
    assert market.money() == 3 * START_MICRO
